"""Recorder of tasks: a journal entry for people, and the result as replays need it.

Called by `executor` after a slice and by `effects` after an effect, if `record` of the API asks for it.
Invariants: no entry contains a known secret or a credential; a journal entry shows at most SHOWN bytes of the
input and as many of the output; large data is not even read completely; recording never fails a run.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from iogate.engine.advance import Advance
from iogate.engine.commands import (
    Arrived,
    ChildEnded,
    Effect,
    Emit,
    EngineEvent,
    Note,
    Perform,
    Performed,
    StartChild,
)
from iogate.engine.errors import RaisedError
from iogate.engine.state.frame_tree import attempt_of, reference_of
from iogate.errors import WorkflowError
from iogate.worker.recording.recorded_tasks import RESULT_BYTES, RecordedTask, encode
from iogate.worker.recording.request_descriptions import describe, redact_data, redact_request, shown
from iogate.worker.secrets.redaction import Redaction

if TYPE_CHECKING:
    from iogate.worker.runs.run import Run

log = logging.getLogger(__name__)

SHOWN: Final = 2_048
"""Bytes of the JSON of an input or output in the journal."""
_RECORDED: Final = "task.recorded"
_ITERATION: Final = re.compile(r"/(for|foreach)/\d+/do(?=/)")
_ALWAYS: Final = ("call", "run", "method", "url", "workflow", "image", "type", "status", "title", "detail")
"""Members that are kept of a large request, event or error."""
_encode = msgspec.json.Encoder().encode


class _Kept(NamedTuple):
    """Redacted data."""

    value: Any
    redacted: bool
    omitted: int
    """Not 0 if the data is too large."""


def record_effect(
    run: Run, perform: Perform, performed: Performed, redaction: Redaction, *, began_ms: int, at_ms: int
) -> None:
    """Record the result of an effect that has ended."""
    try:
        _record_effect(run, perform, performed, redaction, began_ms=began_ms, at_ms=at_ms)
    except Exception as error:  # noqa: BLE001 - such as data that is nested too deeply
        _log_failure(run, perform.reference, error)


def record_slice(
    run: Run, happened: Sequence[EngineEvent], advanced: Advance, redaction: Redaction, at_ms: int
) -> None:
    """Record the events and children of a slice, and its failed tasks, before the run takes it over."""
    try:
        _record_slice(run, happened, advanced, redaction, at_ms)
    except Exception as error:  # noqa: BLE001 - as above
        _log_failure(run, "a step", error)


def _log_failure(run: Run, what: str, error: Exception) -> None:
    extra = {"action": "recording.failed", "uid": run.uid}
    kind = type(error).__name__
    log.warning("run %s: %s could not be recorded: %s", run.uid, what, kind, extra=extra)


def _record_effect(
    run: Run, perform: Perform, performed: Performed, redaction: Redaction, *, began_ms: int, at_ms: int
) -> None:
    error = None if performed.error is None else performed.error.to_json()
    kept = _keep(performed.output if error is None else error, redaction)
    request = _request(perform.effect, redaction)
    attempt = _attempt(run, perform.frame)
    _note(
        run, perform.reference, at_ms, given=request, result=kept, failed=error is not None, attempt=attempt
    )
    if run.record == "all" and perform.await_result:
        _store(
            run,
            RecordedTask(
                kind="effect",
                reference=perform.reference,
                began=began_ms,
                at=at_ms,
                output=kept.value if error is None else None,
                error=None if error is None else kept.value,
                raised=isinstance(performed.error, RaisedError),
                definite=performed.definite,
                redacted=kept.redacted,
                omitted=kept.omitted,
            ),
        )


def _record_slice(
    run: Run, happened: Sequence[EngineEvent], advanced: Advance, redaction: Redaction, at_ms: int
) -> None:
    frames = run.state.frames
    answered: set[str] = set()
    for event in happened:
        match event:
            case Performed(error=WorkflowError()) if event.frame in frames:
                # `record_effect` has recorded the request with the error.
                answered.add(reference_of(frames, frames[event.frame]))
            case Arrived() if run.record == "all" and event.frame in frames:
                reference = reference_of(frames, frames[event.frame])
                _record_event(run, reference, event, redaction, at_ms)
            case ChildEnded() if event.frame in frames:
                reference = reference_of(frames, frames[event.frame])
                answered.add(reference)
                if run.record == "all" or event.status != "completed":
                    began_ms = frames[event.frame].started_ms
                    _record_child(run, reference, event, redaction, began_ms=began_ms, at_ms=at_ms)
            case _:
                pass
    for fault in advanced.faulted:
        if fault.reference not in answered:
            given, error = _keep(fault.input, redaction), _keep(fault.error, redaction)
            _note(run, fault.reference, at_ms, given=given, result=error, failed=True, attempt=fault.attempt)
    if run.record != "all":
        return
    for end in advanced.completed:
        given, output = _keep(end.input, redaction), _keep(end.output, redaction)
        _note(run, end.reference, at_ms, given=given, result=output, attempt=end.attempt)
    for emit in advanced.emits:
        _note(run, emit.reference, at_ms, given=_request(emit, redaction))
    for start in advanced.children:
        frame = advanced.state.frames.get(start.frame)
        attempt = 1 if frame is None else attempt_of(advanced.state.frames, frame)
        _note(run, start.reference, at_ms, given=_request(start, redaction), attempt=attempt)


def _record_event(run: Run, reference: str, event: Arrived, redaction: Redaction, at_ms: int) -> None:
    kept = _keep(dict(event.event), redaction)
    _note(run, reference, at_ms, result=kept, attempt=_attempt(run, event.frame))
    _store(
        run,
        RecordedTask(
            kind="event",
            reference=reference,
            began=at_ms,
            at=at_ms,
            output=kept.value,
            redacted=kept.redacted,
            omitted=kept.omitted,
        ),
    )


def _record_child(
    run: Run, reference: str, ended: ChildEnded, redaction: Redaction, *, began_ms: int, at_ms: int
) -> None:
    completed = ended.status == "completed"
    kept = _keep(ended.output if completed else dict(ended.error or {}), redaction)
    attempt = _attempt(run, ended.frame)
    _note(run, reference, at_ms, result=kept, failed=not completed, attempt=attempt)
    if run.record == "all":
        _store(
            run,
            RecordedTask(
                kind="child",
                reference=reference,
                began=began_ms,
                at=at_ms,
                output=kept.value if completed else None,
                error=None if completed else kept.value,
                status=ended.status,
                started=ended.started,
                redacted=kept.redacted,
                omitted=kept.omitted,
            ),
        )


def _attempt(run: Run, frame: int) -> int:
    """Return the attempt to record with a task, of the `try` around its frame; 1 if the frame is gone."""
    frames = run.state.frames
    return attempt_of(frames, frames[frame]) if frame in frames else 1


def _store(run: Run, task: RecordedTask) -> None:
    run.outgoing.keep(encode(task))


def _request(asked: Effect | StartChild | Emit, redaction: Redaction) -> _Kept:
    described = describe(asked)
    if not _is_large(described):
        return _Kept(shown(redact_request(described, redaction)), redacted=False, omitted=0)
    few = _few(described)
    kept = None if few is None else redact_request(few, redaction)
    return _Kept(kept, redacted=False, omitted=RESULT_BYTES + 1)


def _keep(value: Any, redaction: Redaction) -> _Kept:
    """Redact data to record; of large data, whose redaction would block the worker, keep a few members."""
    if not _is_large(value):
        kept = redact_data(value, redaction)
        return _Kept(kept, redacted=kept != value, omitted=0)
    few = _few(value) if isinstance(value, Mapping) else None
    return _Kept(redact_data(few, redaction), redacted=False, omitted=RESULT_BYTES + 1)


def _few(value: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the members of large data that are recorded nevertheless; None if they are large themselves."""
    few = {name: value[name] for name in _ALWAYS if name in value}
    return None if _is_large(few) else few


def _is_large(value: Any) -> bool:
    """Tell whether data to record has more than RESULT_BYTES as JSON, without a look at the rest of it."""
    left = RESULT_BYTES
    waiting = [value]
    while waiting and left >= 0:
        item = waiting.pop()
        if isinstance(item, str | bytes):
            left -= len(item)
        elif isinstance(item, Mapping):
            left -= 4 * len(item) + sum(map(len, item)) if len(item) <= left else len(item) + 1
            if left >= 0:
                waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            left -= len(item) + 1
            if left >= 0:
                waiting.extend(item)
        else:
            left -= 1
    return left < 0


def _note(
    run: Run,
    reference: str,
    at_ms: int,
    *,
    given: _Kept | None = None,
    result: _Kept | None = None,
    failed: bool = False,
    attempt: int = 1,
) -> None:
    pointer = static_pointer(reference)
    detail: dict[str, Any] = {} if reference == pointer else {"iteration": reference}
    if attempt > 1:
        detail["attempt"] = attempt
    if run.claim.attempt > 1:
        detail["runAttempt"] = run.claim.attempt
    truncated: dict[str, int] = {}
    for side, kept in (("input", given), ("error" if failed else "output", result)):
        if kept is None:
            continue
        text = _encode(kept.value)
        if kept.omitted:
            truncated[side] = kept.omitted
        elif len(text) > SHOWN:
            truncated[side] = len(text)
        if len(text) > SHOWN:
            detail[side] = text[:SHOWN].decode(errors="ignore")
        elif kept.value is not None or not kept.omitted:
            detail[side] = kept.value
    if truncated:
        detail["truncated"] = truncated
    name = pointer.rpartition("/")[2]
    run.outgoing.note([Note(kind=_RECORDED, at_ms=at_ms, reference=pointer, name=name, detail=detail)])


def static_pointer(reference: str) -> str:
    """Return the pointer of a task to record, in its definition, without iterations and calls."""
    for part in ("/use/functions/", "/use/extensions/"):
        before, found, after = reference.rpartition(part)
        reference = found + after if found else before + after
    return _ITERATION.sub(r"/\1/do", reference)
