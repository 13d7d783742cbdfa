"""Work on batches: the next runs of a batch that is due, one after the other.

Used by each worker, and by a command on a store without workers. Invariants: before each run, the store
confirms that nobody has stopped the batch and that it still belongs to this process; each change has the id
of the batch, so that a repetition after a crash changes nothing twice; a full or unreachable store ends the
step, and no run is given up for it. A step has at most `CHUNK` runs, and retried runs wait for workers in a
bounded number, so that the new runs of their API are not delayed for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from iogate.errors import IogateError, Refused, Unreachable
from iogate.operators.batches.batch_selection import KINDS
from iogate.operators.batches.batches import record_end, summary
from iogate.operators.roles import Actor, Role
from iogate.operators.runs import run_actions
from iogate.operators.runs.run_retry import Retrier
from iogate.security.redaction_patterns import redact_text
from iogate.store.connection.failures import CommandFailed
from iogate.store.operators.batches import Messages, Refusal, Results, Taken

if TYPE_CHECKING:
    from iogate.store.operators.batches import BatchRun
    from iogate.store.store import Store

log = logging.getLogger(__name__)

SHARE: Final = 0.5
"""Share of the time in which a batch is worked on; the rest belongs to the runs of the worker."""
WAITING_MOST: Final = 50
"""Number of waiting runs of an API ahead of its new runs, beyond which a batch adds no more."""
FULL_S: Final = 0.25
"""Pause after a step in which all runs had to wait for the queue of their API."""
AWAY_S: Final = 5.0
"""Pause after a step that the store has ended."""
SAMPLES: Final = 10
"""Refusals and remarks of a batch that are kept."""
RETRIERS: Final = 4
"""Batches whose loaded programs are kept."""


@dataclass(kw_only=True)
class _Step:
    """Results of a step so far."""

    taken: Taken
    left: list[BatchRun]
    """Runs that the step has not come to, the next one first."""
    postponed: list[BatchRun] = field(default_factory=list)
    """Runs whose API has no room in the queue."""
    changed: int = 0
    unchanged: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    refused: int = 0
    remarks: list[str] = field(default_factory=list)
    waiting: str = ""

    def results(self, pause_s: float) -> Results:
        """Return the results of a step of a batch for the store, with the samples of earlier steps."""
        before = self.taken.messages
        has_progress = bool(self.changed or self.unchanged or self.refused)
        return Results(
            changed=self.changed,
            unchanged=self.unchanged,
            refused=self.refused,
            messages=Messages(
                refusals=(*before.refusals, *self.refusals)[:SAMPLES],
                remarks=(*before.remarks, *map(redact_text, self.remarks))[:SAMPLES],
                waiting="" if has_progress else self.waiting,
            ),
            left=[*self.postponed, *self.left],
            goes_last=not has_progress and not self.left,
            pause_s=pause_s,
        )


class BatchExecutor:
    """Executor of batches in one process; `owner` is its unique name."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._retriers: dict[str, Retrier] = {}

    async def step(self) -> float | None:
        """Execute a step of a batch: change its next runs; return the seconds until one may be due, or None.

        Raises Unreachable or CommandFailed if the store cannot be used.
        """
        taken, due_s = await self._store.batches.take(self._owner)
        if taken is None:
            return due_s
        began = time.monotonic()
        step = _Step(taken=taken, left=list(taken.runs))
        pause_s = 0.0
        try:
            await self._change(step)
            pause_s = (time.monotonic() - began) * (1 / SHARE - 1)
            if not (step.changed or step.unchanged or step.refused):
                pause_s = max(pause_s, FULL_S)
        except (Unreachable, CommandFailed) as error:
            step.waiting, pause_s = str(error), AWAY_S
        except asyncio.CancelledError:
            # The process ends: another one goes on at once.
            with contextlib.suppress(Unreachable, CommandFailed):
                await self._store.batches.settle(taken, step.results(0.0))
            raise
        state = await self._store.batches.settle(taken, step.results(pause_s))
        if state in ("done", "stopped"):
            await self._record_end(taken.id)
        return pause_s if state == "running" else 0.0

    async def _change(self, step: _Step) -> None:
        """Change the runs of a step of a batch until the batch is stopped, or the step loses its lease."""
        taken, batches = step.taken, self._store.batches
        kind = KINDS[taken.request.action]
        room: dict[str, int] = {}
        if kind.wakes:
            counts = await batches.waiting(list({run.api for run in taken.runs if run.api}))
            room = {api: WAITING_MOST - count for api, count in counts.items()}
        if taken.request.action == "retry":
            self._retrier(taken).now_ms = await self._store.timer_now_ms()
        while step.left:
            run = step.left[0]
            if run.api in room and room[run.api] <= 0:
                step.waiting = f"API {run.api} has no room in its queue"
                step.postponed.append(step.left.pop(0))
                continue
            if not await batches.renew(taken):
                return
            is_changed = await self._one(step, run)
            step.left.pop(0)
            if is_changed:
                step.changed += 1
                if run.api in room:
                    room[run.api] -= 1

    async def _one(self, step: _Step, run: BatchRun) -> bool:
        """Change one run of a batch; return whether it is changed now.

        Raises Unreachable or CommandFailed.
        """
        try:
            is_changed = await self._act(step, run)
        except Unreachable:
            raise
        except IogateError as error:
            self._refuse(step, run, error.message)
            return False
        except (CommandFailed, asyncio.CancelledError):
            raise
        except Exception:
            log.exception(
                "batch %s: run %s cannot be changed",
                step.taken.id,
                run.uid,
                extra={"action": "batch.run_failed", "batch": step.taken.id, "uid": run.uid},
            )
            self._refuse(step, run, f"run {run.uid}: internal error; the log of worker {self._owner} has it")
            return False
        if not is_changed:
            step.unchanged += 1
        return is_changed

    def _refuse(self, step: _Step, run: BatchRun, message: str) -> None:
        step.refused += 1
        step.refusals.append(Refusal(uid=run.uid, message=redact_text(message)))

    async def _act(self, step: _Step, run: BatchRun) -> bool:
        """Execute the action of a batch on one run; return False if the run is as wanted already.

        Raises IogateError if the change is refused.
        """
        taken, store, request = step.taken, self._store, step.taken.request
        found: dict[str, Any]
        match request.action:
            case "retry":
                retrier = self._retrier(taken)
                retrier.remarks.clear()
                await retrier.retry(run.uid, run.attempt)
                step.remarks += retrier.remarks
                return True
            case "cancel":
                try:
                    found = await run_actions.cancel(
                        store, run.uid, actor=_actor(taken), reason=request.reason, operation=taken.id
                    )
                except Refused:
                    # A run that a filter has matched may have ended since.
                    if not request.filter:
                        raise
                    return False
            case "suspend":
                found = await run_actions.suspend(store, run.uid, operation=taken.id)
            case "resume":
                found = await run_actions.resume(store, run.uid, operation=taken.id)
        return bool(found["outcome"] != "unchanged")

    def _retrier(self, taken: Taken) -> Retrier:
        """Return the cached retrier of a batch, with its loaded programs; create it if there is none."""
        retrier = self._retriers.get(taken.id)
        if retrier is None:
            while len(self._retriers) >= RETRIERS:
                del self._retriers[next(iter(self._retriers))]
            retrier = self._retriers[taken.id] = Retrier(
                store=self._store,
                pointer=taken.request.pointer,
                current=taken.request.current,
                by=taken.request.actor,
                reason=taken.request.reason,
                now_ms=0,
                operation=taken.id,
            )
        return retrier

    async def _record_end(self, id_: str) -> None:
        """Log the results of a batch that is done or stopped, and record them in the activity."""
        self._retriers.pop(id_, None)
        batch = await self._store.batches.show(id_)
        if batch is None:
            return
        action = "batch.stopped" if batch.state == "stopped" else "batch.done"
        log.info("%s", summary(batch), extra={"action": action, "batch": id_})
        await record_end(self._store, batch)


def _actor(taken: Taken) -> Actor:
    request = taken.request
    return Actor(name=request.actor, role=Role.of(request.role), via=_way(request.via), origin=request.origin)


def _way(text: str) -> Any:
    """Return the way of the author of a batch, which an earlier or later release may have written."""
    return text
