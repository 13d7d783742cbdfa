"""What a run started and did not wait for: waited for once the run has ended, and told of where it fails.

Used by `run_command`, whose store and worker go with the command. Invariant: what is cut off then is said on
stderr.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from iogate.cli.messages import counted
from iogate.cli.render import Screen, write_stderr
from iogate.cli.runs.run_display import ENDED
from iogate.errors import for_operators

if TYPE_CHECKING:
    from iogate.store.store import Store
    from iogate.worker.runs.executor import Executor

LINGER_S: Final = 10.0
"""How long the command outlives its run at most."""
QUIET_S: Final = 1.0
"""Whoever waits longer is told for what."""
MIN_POLL_S: Final = 0.001
MAX_POLL_S: Final = 0.1
MAX_LISTED: Final = 5
"""Runs that are told of one by one."""
SHOWN_ACTIONS: Final = frozenset({"effect.unawaited", "child.unawaited"})
"""Actions in the log that are about this."""


async def wait_for_detached(
    screen: Screen, store: Store, executor: Executor, uid: str, limit_s: float
) -> None:
    """Wait for what the run brought about, so long at most; then say what fails, and what ends unfinished."""
    began = time.monotonic()
    look_s, told = MIN_POLL_S, False
    while True:
        runs = await _count_unfinished(store)
        # Asked last: what the end of a run starts is there before the run has gone.
        if not runs and executor.idle:
            if executor.draining:
                # Ctrl-C ended what was still at work: that is no end of its own.
                raise KeyboardInterrupt
            break
        passed_s = time.monotonic() - began
        what = _describe(runs, executor)
        if passed_s >= limit_s:
            if what:
                screen.warn(f"still at work, and ended with this command: {what} that no task waited for")
            break
        if what and not told and passed_s >= QUIET_S:
            told = True
            screen.note(f"waiting for {what} that no task waited for; Ctrl-C ends it")
        await asyncio.sleep(min(look_s, limit_s - passed_s))
        look_s = min(look_s * 2, MAX_POLL_S)
    await _report_faulted(screen, store, uid)


async def _count_unfinished(store: Store) -> int:
    counts = await store.runs.counts()
    return sum(count for status, count in counts.items() if status not in ENDED)


def _describe(runs: int, executor: Executor) -> str:
    processes = executor.detached_effects
    parts = [counted(processes, "process", "processes")] if processes else []
    parts += [counted(runs, "run")] if runs else []
    return " and ".join(parts)


async def _report_faulted(screen: Screen, store: Store, uid: str) -> None:
    """Runs of workflows that nobody waited for: their errors reach no task."""
    from iogate.store.runs import presentation

    faulted = await store.runs.list(statuses=("faulted",), limit=1_000)
    alone = [each for each in reversed(faulted) if each.uid != uid and each.parent is None]
    for each in alone[:MAX_LISTED]:
        view = await store.runs.show(each.uid)
        error = (None if view is None else presentation.error(view, operator=True)) or {}
        message = for_operators(str(error.get("message")), error)
        screen.note(f"{each.workflow} was not awaited and faulted: {message}")
    if len(alone) > MAX_LISTED:
        screen.note(f"{counted(len(alone) - MAX_LISTED, 'more run')} that no task waited for faulted")


@contextmanager
def log_to_screen(screen: Screen) -> Iterator[None]:
    """The worker of one run tells of errors, and of what failed that no task waited for."""
    logger = logging.getLogger("iogate")
    before = logger.level, logger.handlers, logger.propagate
    logger.setLevel(logging.WARNING)
    # Nowhere else: what is a remark here is a line of a log there.
    logger.handlers, logger.propagate = [_ScreenHandler(screen)], False
    try:
        yield
    finally:
        level, logger.handlers, logger.propagate = before
        logger.setLevel(level)


class _ScreenHandler(logging.Handler):
    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            write_stderr(self.format(record))
        elif getattr(record, "action", None) in SHOWN_ACTIONS:
            self._screen.note(record.getMessage())
