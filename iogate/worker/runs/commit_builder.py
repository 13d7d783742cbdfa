"""Builder of the commit of a run, which stores its state, journal and events atomically.

Used by `run`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from iogate.engine.commands import Emit
from iogate.engine.state.run_state import State, WaitingFor
from iogate.store.revisions.due_schedules import LIVE_REVISION
from iogate.store.runs.commits import Child, Commit, Move
from iogate.store.state_codec import NOTHING, Delta, encode, encode_data
from iogate.worker.events.fault_runs import fault_run
from iogate.worker.events.lifecycle import LifecycleEvents
from iogate.worker.events.sinks import OutgoingEvent
from iogate.worker.runs.journal import encode_entries
from iogate.worker.secrets.redaction import Redaction

if TYPE_CHECKING:
    from iogate.compiler.revision import FaultHandler
    from iogate.store.runs.claims import Claim
    from iogate.store.state_codec import Codec
    from iogate.worker.events.sinks import Sinks
    from iogate.worker.runs.journal import Outgoing


class CommittedRun(Protocol):
    """The parts of a run that a commit stores."""

    claim: Claim
    state: State
    codec: Codec
    sinks: Sinks
    outgoing: Outgoing
    handler: FaultHandler | None
    seq: int
    refused: bool
    deadline_ms: int | None

    @property
    def uid(self) -> str: ...


def build(run: CommittedRun, move: Move, due_ms: int | None, redaction: Redaction) -> tuple[State, Commit]:
    """Build the next commit of a run; return it behind the state as stored, with its error redacted.

    Raises TooDeep for data nested too deeply, ValueError or TypeError for what JSON cannot hold.
    """
    state, claim, sinks = run.state, run.claim, run.sinks
    notes, rows = run.outgoing.history()
    ended = move == "end"
    error: Any = None
    if ended and state.error is not None:
        error = redaction.scrub(dict(state.error))
        # `retry` finds the failed task by the instance of the stored error.
        state = replace(state, error={**error, "instance": state.error.get("instance")})
    before = run.codec.stored.status if run.codec.stored is not None else "pending"
    delta = _delta(run, state, ended=ended)
    emits = run.outgoing.emits
    emitted = [OutgoingEvent(type=e.event["type"], data=_event(e), lifecycle=False) for e in emits]
    lifecycle: list[OutgoingEvent] = []
    # The standing run of a schedule starts other runs; it has no lifecycle events of its own.
    standing = claim.revision == LIVE_REVISION
    if sinks.lifecycle and not standing:
        lifecycle_events = LifecycleEvents(run.uid, claim.workflow, statuses=sinks.statuses)
        step = f"{claim.attempt}/{run.seq + 1}"
        lifecycle = lifecycle_events.build(notes, step, redaction, before=before, after=state.status)
    children = [child for child in run.outgoing.children if _starts(state, child, ended=ended)]
    handles_fault = ended and state.status == "faulted" and run.handler is not None and not run.refused
    if handles_fault:
        children.append(_fault_run(run, state))
    return state, Commit(
        uid=run.uid,
        token=claim.token,
        seq=run.seq + 1,
        move=move,
        status=state.status,
        due_ms=due_ms,
        waiting_for=None if ended else _waiting(state.waiting_for),
        head=delta.head,
        frames=delta.frames,
        frames_gone=delta.frames_gone,
        digests=dict(delta.digests),
        parent="" if claim.forged else claim.parent,
        values=delta.values,
        values_gone=delta.values_gone,
        tasks=rows,
        journal=encode_entries(notes, redaction),
        recorded=run.outgoing.recorded,
        output=encode_data(state.output, "the output of the workflow")
        if ended and state.status == "completed"
        else None,
        error=None if error is None else encode(error),
        has_parent=claim.depth > 0,
        deadline_ms=run.deadline_ms,
        inbox_done=state.inbox_done,
        wants=delta.wants,
        wants_gone=delta.wants_gone,
        children=children,
        handles_fault=handles_fault,
        scheduled=standing,
        children_gone=delta.children_gone,
        emits=[event.data for event in emitted],
        once=[place for place, emit in enumerate(emits) if _is_published_once(run, emit)],
        outbox=sinks.outbox([*lifecycle, *emitted]) if sinks.all else {},
    )


def _fault_run(run: CommittedRun, state: State) -> Child:
    """Return the run by `on_fault` that is a part of the commit of a fault."""
    claim = run.claim
    assert run.handler is not None
    return fault_run(
        run.handler,
        uid=run.uid,
        api=claim.api,
        workflow=claim.workflow,
        revision=claim.revision,
        caller=claim.caller,
        error=state.error or {},
        data=claim.input,
    )


def _delta(run: CommittedRun, state: State, *, ended: bool) -> Delta:
    """Return the changes of the state for a commit; a run that ends keeps its state only for `retry`.

    If this worker could not load the stored state, it stays as it is: another release may read it.
    """
    if not ended:
        return run.codec.delta(state)
    not_loaded = run.claim.seq > 0 and run.codec.stored is None
    if state.status != "faulted" or run.refused or not_loaded:
        return NOTHING
    # The store clears subscriptions and children of a run that has ended.
    return replace(run.codec.delta(state), wants={}, wants_gone=(), children_gone=())


def _is_published_once(run: CommittedRun, emit: Emit) -> bool:
    """Tell whether an event of a commit need not be deduplicated; a sink may publish its events again."""
    return emit.generated and not run.sinks.emitted(emit.event["type"])


def _starts(state: State, child: Child, *, ended: bool) -> bool:
    """Tell whether the commit to build still starts a child: its branch may have lost since."""
    if not child.awaits:
        return True
    frame = state.frames.get(child.frame)
    return not ended and frame is not None and frame.phase == "child"


def _event(emit: Emit) -> bytes:
    return encode_data(emit.event, f"the event {emit.event['type']}")


def _waiting(wait: WaitingFor | None) -> bytes | None:
    """Encode the cause of a run's wait for the commit, for readers of the run."""
    if wait is None:
        return None
    return encode({"kind": wait.kind, "task": wait.task, "until_ms": wait.until_ms})
