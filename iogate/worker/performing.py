"""What goes on outside for the runs of a worker: a task for each effect, until it ends or is given up.

Used by `drive`, which starts an effect only once the commit that records it was applied. Invariant: the
outcome of an effect reaches its run at most once, and none that the run has given up does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from iogate.effects.perform import EffectContext, Effects
from iogate.engine.commands import Perform, Performed
from iogate.errors import WorkflowError
from iogate.worker.active import Run
from iogate.worker.vault import Vault

log = logging.getLogger(__name__)


class Performing:
    """`performed(run)`: an outcome is in its inbox; `released`: what no run waited for has ended."""

    def __init__(
        self,
        effects: Effects,
        vault: Vault,
        *,
        performed: Callable[[Run], None],
        released: Callable[[], None],
    ) -> None:
        self._effects = effects
        self._vault = vault
        self._performed = performed
        self._released = released
        self._detached: set[asyncio.Task[None]] = set()

    @property
    def unawaited(self) -> int:
        """How much goes on that no run waits for."""
        return len(self._detached)

    def start(self, run: Run, perform: Perform) -> None:
        """Begin an effect."""
        task = asyncio.create_task(self._perform(run, perform))
        if perform.await_result:
            run.effects[perform.frame] = task
        else:
            self._detached.add(task)
            task.add_done_callback(self._ended)

    def cancel_detached(self) -> None:
        """End what no run waits for."""
        for task in self._detached:
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._detached.discard(task)
        self._released()

    async def _perform(self, run: Run, perform: Perform) -> None:
        claim = run.claim
        context = EffectContext(uid=claim.uid, attempt=claim.attempt, program=claim.program)
        try:
            performed = await self._effects.perform(perform, run=context)
        except Exception as error:
            log.exception(
                "run %s: performing %s failed",
                run.uid,
                perform.reference,
                extra={"action": "effect.broken", "uid": run.uid},
            )
            detail = f"internal error while performing the task: {type(error).__name__}"
            performed = Performed(frame=perform.frame, error=WorkflowError("runtime", detail=detail))
        if run.gone or run.effects.get(perform.frame) is not asyncio.current_task():
            return
        del run.effects[perform.frame]
        run.inbox.append(self._vault.redaction.outcome(perform, performed))
        run.dirty = True
        self._performed(run)


def cancel_given_up(run: Run) -> None:
    """Cancel effects whose task the engine has left: its time is over, or the run has ended."""
    for key in run.effects.keys() - run.state.under_way:
        run.effects.pop(key).cancel()


def can_wait(run: Run) -> bool:
    """Whether nothing goes on outside, and what would begin may as well begin in another worker."""
    return not run.effects and not any(perform.at_most_once for perform in run.performs)
