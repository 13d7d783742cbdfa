"""Loader, which creates a run from a claim: its program, its facts, and its stored state.

Used by `executor`. Invariant: a taken run is in `waiting` or among the runs of `executor`, never in both. A
run that cannot be loaded has a fault and affects no other run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from iogate.compiler.program import Program
from iogate.compiler.revision import FaultHandler, Record
from iogate.store.runs.claims import Claim
from iogate.store.state_codec import decode
from iogate.worker.events.fault_runs import NOT_AUTHENTIC
from iogate.worker.events.sinks import Sinks
from iogate.worker.pool.crash_report import TaskRecorder
from iogate.worker.ports import Clock
from iogate.worker.recording.modes import RecordModes
from iogate.worker.runs.faults import RunFault, fault_from
from iogate.worker.runs.inbox import deliver
from iogate.worker.runs.programs import Programs, Unloadable
from iogate.worker.runs.run import Run

if TYPE_CHECKING:
    from iogate.worker.run_spans import RunSpans


class Loader:
    """Loader of the runs of one worker."""

    def __init__(
        self,
        programs: Programs,
        sinks: Sinks,
        clock: Clock,
        *,
        modes: RecordModes | None,
        record_progress: Callable[[bytes], None] | None,
        spans: RunSpans | None = None,
    ) -> None:
        """Without `modes`, no task is recorded; without `spans`, no run has spans.

        A solitary worker passes `record_progress`, which keeps a line for crash recovery.
        """
        self._programs = programs
        self._sinks = sinks
        self._clock = clock
        self._modes = modes
        self._record_progress = record_progress
        self._spans = spans
        self.waiting: dict[str, Claim] = {}
        """Claims that wait for their program, by uid."""

    def fetch(self, claim: Claim, begin: Callable[[], None]) -> None:
        """Keep a claim in the loader until its revision and program are there; `begin` looks for it again.

        `begin` is called if the worker still wants the run then.
        """
        self.waiting[claim.uid] = claim

        def cached() -> None:
            if self.waiting.get(claim.uid) is claim:
                del self.waiting[claim.uid]
                begin()

        if self._modes is not None and self._mode_of(claim) is None:
            self._modes.fetch(claim.revision, cached)
        else:
            self._programs.fetch(claim.program, cached)

    def load(self, claim: Claim, held_until: float) -> tuple[Run, RunFault | None] | None:
        """Create the run of a claim with its input, state and inbox; return None if `fetch` must load more.

        The fault is that of a run that is forged, or whose program or state cannot be loaded.
        """
        # The program that a forged run names is not loaded.
        found = Unloadable(reason="") if claim.forged else self._programs.get(claim.program)
        record = self._mode_of(claim)
        if found is None or record is None:
            return None
        program = None if isinstance(found, Unloadable) else found
        if self._spans is not None:
            claim = self._spans.begin(claim)
        run = Run(
            claim=claim,
            program=program,
            held_until=held_until,
            now=self._clock.monotonic(),
            sinks=self._sinks,
            record=record,
            recorder=self._make_recorder(claim, program),
        )
        run.start_on_fault(self._handler_of(claim))
        if claim.forged:
            return run, RunFault(
                "authentication",
                f"{claim.forged} was not written by a process that has the link_key, or was changed since: "
                "the run was not executed",
                NOT_AUTHENTIC,
            )
        if isinstance(found, Unloadable):
            return run, RunFault("configuration", found.reason)
        try:
            _restore(run)
        except Exception as error:  # noqa: BLE001 - a defect of iogate faults one run, not the worker
            return run, fault_from(run, "the stored state cannot be loaded", error)
        if claim.inbox:
            deliver(run, claim.inbox)
        if claim.cancelled:
            run.cancel(claim.reason)
        return run, None

    def _mode_of(self, claim: Claim) -> Record | None:
        """Return which tasks of a run to load are recorded; None if the revision is not loaded."""
        if self._modes is None or claim.forged:
            return "none"
        return self._modes.get(claim.revision, claim.api)

    def _handler_of(self, claim: Claim) -> FaultHandler | None:
        """Return the workflow that a fault of the loaded run starts; children and forged runs have none."""
        if self._modes is None or claim.depth or claim.forged:
            return None
        return self._modes.handler(claim.revision, claim.api)

    def _make_recorder(self, claim: Claim, program: Program | None) -> TaskRecorder | None:
        if self._record_progress is None or program is None:
            return None
        return TaskRecorder(claim.uid, program, self._record_progress)


def _restore(run: Run) -> None:
    """Decode input and state of a run to load from its claim.

    Raises ValueError or TypeError for data that this release cannot read.
    """
    claim = run.claim
    value = decode(claim.input)
    state = None
    if claim.head is not None:
        state = run.codec.load(claim.head, claim.frames, claim.values)
    elif claim.seq:
        # A new start would repeat its effects.
        raise ValueError("its frames are gone")
    run.restore(value, state)
