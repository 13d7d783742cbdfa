"""Effects of the runs of a worker, each in an asyncio task.

Used by `executor`, which starts an effect only after the commit that records it was applied. Invariant: the
outcome of an effect reaches its run at most once, and never after the run has cancelled the effect.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from iogate.effects.dispatcher import EffectContext
from iogate.effects.processes.process_output import EVERY_S, ProcessOutput
from iogate.engine.commands import Note, Perform, Performed, RunContainer, RunProcess
from iogate.errors import WorkflowError
from iogate.worker.ports import Clock, Effects, Secrets
from iogate.worker.recording.recorder import record_effect
from iogate.worker.runs.run import Run

if TYPE_CHECKING:
    from iogate.worker.run_spans import RunSpans

log = logging.getLogger(__name__)


class EffectRunner:
    """Runner of effects; calls `performed` for a run with an outcome, `released` after a detached effect."""

    def __init__(
        self,
        effects: Effects,
        secrets: Secrets,
        clock: Clock,
        *,
        performed: Callable[[Run], None],
        released: Callable[[], None],
        spans: RunSpans | None = None,
    ) -> None:
        self._effects = effects
        self._secrets = secrets
        self._performed = performed
        self._released = released
        self._clock = clock
        self._spans = spans
        self._detached: set[asyncio.Task[None]] = set()
        self._under_way: set[asyncio.Task[None]] = set()

    @property
    def detached(self) -> int:
        """Number of effects under way that no run waits for."""
        return len(self._detached)

    def start(self, run: Run, perform: Perform) -> None:
        """Start an effect of a run in an asyncio task."""
        task = asyncio.create_task(self._perform(run, perform))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        if perform.await_result:
            run.effect_started(perform.frame, task)
        else:
            self._detached.add(task)
            task.add_done_callback(self._ended)

    def cancel_detached(self) -> None:
        """Cancel the effects that no run waits for."""
        for task in self._detached:
            task.cancel()

    async def end(self) -> None:
        """Cancel every effect and wait until its process is gone."""
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._detached.discard(task)
        self._released()

    async def _perform(self, run: Run, perform: Perform) -> None:
        claim, began_ms = run.claim, self._clock.now_ms()
        output = looking = None
        if perform.await_result and isinstance(perform.effect, RunProcess | RunContainer):
            output = ProcessOutput(lambda: self._secrets.redaction)
            looking = asyncio.create_task(self._show_output(run, perform, output))
        span = None if self._spans is None else self._spans.effect(claim, perform)
        performed = None
        context = EffectContext(
            uid=claim.uid,
            attempt=claim.attempt,
            program=claim.program,
            trace=claim.trace if span is None else span.context,
            span=span,
            wrote=None if output is None else output.wrote,
        )
        try:
            found = await self._effects.perform(perform, run=context)
            performed = self._secrets.redaction.outcome(perform, found)
        except Exception as error:
            log.exception(
                "run %s: performing %s failed",
                run.uid,
                perform.reference,
                extra={"action": "effect.broken", "uid": run.uid},
            )
            detail = f"internal error while performing the task: {type(error).__name__}"
            performed = Performed(frame=perform.frame, error=WorkflowError("runtime", detail=detail))
        finally:
            if looking is not None:
                looking.cancel()
            if output is not None:
                self._note_output(run, perform, output, ended=True)
            if self._spans is not None and span is not None:
                self._spans.finish(span, performed)
        redaction = self._secrets.redaction
        ended = run.effect_ended(perform.frame, asyncio.current_task(), performed)
        recorded = run.record == "all" or (performed.error is not None and run.record != "none")
        if recorded and (ended or not (perform.await_result or run.gone)):
            record_effect(run, perform, performed, redaction, began_ms=began_ms, at_ms=self._clock.now_ms())
        if ended:
            self._performed(run)

    async def _show_output(self, run: Run, perform: Perform, output: ProcessOutput) -> None:
        """Write the output of an effect's process to the journal periodically, until cancelled."""
        while not run.gone:
            await asyncio.sleep(EVERY_S)
            if self._note_output(run, perform, output):
                self._performed(run)

    def _note_output(self, run: Run, perform: Perform, output: ProcessOutput, *, ended: bool = False) -> bool:
        """Write due output of an effect's process to the journal; tell whether there was any."""
        details = output.take(ended=ended)
        if details and not run.gone:
            name = perform.reference.rpartition("/")[2]
            run.note_output(
                [
                    Note(
                        kind="process.output",
                        at_ms=self._clock.now_ms(),
                        reference=perform.reference,
                        name=name,
                        detail=detail,
                    )
                    for detail in details
                ]
            )
        return bool(details)
