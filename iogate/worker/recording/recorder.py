"""Recorder of tasks: a journal entry for people, and the result as replays need it.

Called by `executor` after a slice and by `effects` after an effect, if `record` of the API asks for it.
Invariants: no entry contains a known secret or a credential; a journal entry shows at most SHOWN bytes of the
input and as many of the output; recording never fails a run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from iogate.engine.advance import Advance
from iogate.engine.commands import Arrived, ChildEnded, EngineEvent, Note, Perform, Performed
from iogate.engine.errors import RaisedError
from iogate.engine.state.frame_tree import reference_of
from iogate.engine.state.run_state import State
from iogate.worker.recording.entries import RecordedTask, encode
from iogate.worker.recording.requests import describe, redact_data, redact_request, shown
from iogate.worker.secrets.redaction import Redaction

if TYPE_CHECKING:
    from iogate.worker.runs.run import Run

SHOWN: Final = 2_048
"""Bytes of the JSON of an input or output in the journal."""
_RECORDED: Final = "task.recorded"
_ITERATION: Final = re.compile(r"/(for|foreach)/\d+/do(?=/)")
_encode = msgspec.json.Encoder().encode


def record_effect(
    run: Run, perform: Perform, performed: Performed, redaction: Redaction, *, began_ms: int, at_ms: int
) -> None:
    """Record an effect that has ended."""
    request = redact_request(describe(perform.effect), redaction)
    error = None if performed.error is None else performed.error.to_json()
    result = performed.output if error is None else error
    kept = redact_data(result, redaction)
    _note(run, perform.reference, at_ms, request=request, output=kept, failed=error is not None)
    if run.record == "all" and perform.await_result:
        run.outgoing.keep(
            encode(
                RecordedTask(
                    kind="effect",
                    reference=perform.reference,
                    began=began_ms,
                    at=at_ms,
                    output=kept if error is None else None,
                    error=None if error is None else kept,
                    raised=isinstance(performed.error, RaisedError),
                    definite=performed.definite,
                    redacted=kept != result,
                )
            )
        )


def record_slice(
    run: Run, happened: Sequence[EngineEvent], advanced: Advance, redaction: Redaction, at_ms: int
) -> None:
    """Record the events that a slice got and emits, and its children, before the run takes it over."""
    before = run.state
    for event in happened:
        match event:
            case Arrived() if run.record == "all" and event.frame in before.frames:
                _record_event(run, before, event, redaction, at_ms)
            case ChildEnded() if event.frame in before.frames:
                if run.record == "all" or event.status != "completed":
                    _record_child(run, before, event, redaction, at_ms)
            case _:
                pass
    if run.record != "all":
        return
    for emit in advanced.emits:
        request = redact_request(describe(emit), redaction)
        _note(run, emit.reference, at_ms, request=request)
    for start in advanced.children:
        request = redact_request(describe(start), redaction)
        _note(run, start.reference, at_ms, request=request)


def _record_event(run: Run, before: State, event: Arrived, redaction: Redaction, at_ms: int) -> None:
    kept = redact_data(dict(event.event), redaction)
    reference = reference_of(before.frames, before.frames[event.frame])
    _note(run, reference, at_ms, output=kept)
    run.outgoing.keep(
        encode(
            RecordedTask(
                kind="event",
                reference=reference,
                began=at_ms,
                at=at_ms,
                output=kept,
                redacted=kept != event.event,
            )
        )
    )


def _record_child(run: Run, before: State, ended: ChildEnded, redaction: Redaction, at_ms: int) -> None:
    frame = before.frames[ended.frame]
    reference = reference_of(before.frames, frame)
    completed = ended.status == "completed"
    result = ended.output if completed else dict(ended.error or {})
    kept = redact_data(result, redaction)
    _note(run, reference, at_ms, output=kept, failed=not completed)
    if run.record == "all":
        run.outgoing.keep(
            encode(
                RecordedTask(
                    kind="child",
                    reference=reference,
                    began=frame.started_ms,
                    at=at_ms,
                    output=kept if completed else None,
                    error=None if completed else kept,
                    status=ended.status,
                    started=ended.started,
                    redacted=kept != result,
                )
            )
        )


def _note(
    run: Run,
    reference: str,
    at_ms: int,
    *,
    request: Mapping[str, Any] | None = None,
    output: Any = ...,
    failed: bool = False,
) -> None:
    pointer = static_pointer(reference)
    detail: dict[str, Any] = {} if reference == pointer else {"iteration": reference}
    truncated: dict[str, int] = {}
    sides: list[tuple[str, Any]] = [] if request is None else [("input", shown(request))]
    if output is not ...:
        sides.append(("error" if failed else "output", output))
    for side, value in sides:
        text = _encode(value)
        if len(text) <= SHOWN:
            detail[side] = value
        else:
            detail[side] = text[:SHOWN].decode(errors="ignore")
            truncated[side] = len(text)
    if truncated:
        detail["truncated"] = truncated
    name = pointer.rpartition("/")[2]
    run.outgoing.note([Note(kind=_RECORDED, at_ms=at_ms, reference=pointer, name=name, detail=detail)])


def static_pointer(reference: str) -> str:
    """Return the pointer of a task in its definition, without the iterations and calls that led to it."""
    for part in ("/use/functions/", "/use/extensions/"):
        before, found, after = reference.rpartition(part)
        reference = found + after if found else before + after
    return _ITERATION.sub(r"/\1/do", reference)
