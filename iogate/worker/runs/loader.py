"""Loader, which creates a run from a claim: its program, its facts, and its stored state.

Used by `executor`. Invariant: a taken run is in `waiting` or among the runs of `executor`, never in both. A
run that cannot be loaded raises `RunFault` and affects no other run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from iogate.compiler.program import Program
from iogate.store.runs.claims import Claim
from iogate.worker.events.sinks import Sinks
from iogate.worker.pool.crash_report import TaskRecorder
from iogate.worker.runs.codec import TooDeep, decode
from iogate.worker.runs.inbox import deliver
from iogate.worker.runs.programs import Programs, Unloadable
from iogate.worker.runs.run import Run
from iogate.worker.secrets.secret_store import SecretStore

log = logging.getLogger(__name__)


class RunFault(Exception):
    """Reason to fault a run outside its workflow; `kind` is an error type of the standard."""

    def __init__(self, kind: str, detail: str, title: str | None = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.title = title


class Loader:
    """Loader of the runs of one worker."""

    def __init__(
        self,
        programs: Programs,
        secrets: SecretStore,
        sinks: Sinks,
        *,
        record_progress: Callable[[bytes], None] | None,
    ) -> None:
        """A solitary worker passes `record_progress`, which keeps a line for crash recovery."""
        self._programs = programs
        self._secrets = secrets
        self._sinks = sinks
        self._record_progress = record_progress
        self._loop = asyncio.get_running_loop()
        self.waiting: dict[str, Claim] = {}
        """Claims that wait for their program, by uid."""

    def run(self, claim: Claim, held_until: float, again: Callable[[Claim, float], None]) -> Run | None:
        """Create the run of a claim; if its program must be loaded first, return None, then call `again`."""
        # The program that a forged run names is not loaded.
        loaded = Unloadable(reason="") if claim.forged else self._programs.get(claim.program)
        if loaded is None:
            self.waiting[claim.uid] = claim
            self._programs.fetch(claim.program, lambda: self._arrived(claim, held_until, again))
            return None
        program = None if isinstance(loaded, Unloadable) else loaded
        return Run(
            claim=claim,
            program=program,
            environment=self._secrets.environment(() if program is None else program.secrets),
            held_until=held_until,
            now=self._loop.time(),
            sinks=self._sinks,
            recorder=self._make_recorder(claim, program),
        )

    def restore(self, run: Run) -> None:
        """Restore input, state and inbox of the run from its claim.

        Raises RunFault if the run is forged, or its program or state cannot be loaded.
        """
        claim = run.claim
        if claim.forged:
            raise RunFault(
                "authentication",
                f"{claim.forged} was not written by a process that has the link_key, or was changed since: "
                "the run was not executed",
                "Run is not authentic",
            )
        program = self._programs.get(claim.program)
        if isinstance(program, Unloadable):
            raise RunFault("configuration", program.reason)
        try:
            value = decode(claim.input)
            state = None
            if claim.head is not None:
                state = run.codec.load(claim.head, claim.frames, claim.values)
            elif claim.seq:
                # A new start would repeat its effects.
                raise ValueError("its frames are gone")  # noqa: TRY301 - handled like invalid state
        except Exception as error:
            # A defect of iogate faults one run, not the worker.
            raise fault_from(run, "the stored state cannot be loaded", error) from error
        run.restore(value, state)
        deliver(run, claim.inbox)
        if claim.cancelled:
            run.cancel(claim.reason)

    def _make_recorder(self, claim: Claim, program: Program | None) -> TaskRecorder | None:
        if self._record_progress is None or program is None:
            return None
        return TaskRecorder(claim.uid, program, self._record_progress)

    def _arrived(self, claim: Claim, held_until: float, again: Callable[[Claim, float], None]) -> None:
        if self.waiting.pop(claim.uid, None) is not None:
            again(claim, held_until)


def fault_from(run: Run, failure: str, error: Exception) -> RunFault:
    """Return the fault of a run whose step failed; log a defect of iogate with its traceback."""
    if isinstance(error, TooDeep):
        return RunFault("runtime", str(error), error.title)
    log.error(
        "run %s: %s",
        run.uid,
        failure,
        exc_info=error,
        extra={"action": "run.broken", "uid": run.uid},
    )
    return RunFault("runtime", f"internal error: {failure}: {type(error).__name__}: {error}")
