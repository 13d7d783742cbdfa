"""Detached work of `iogate run`: waits for runs and processes that no task awaited, and reports failures.

Used by `run_command`, since its store and worker end with the command. Invariant: work that is cut off is
reported on stderr.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from iogate.cli.render import Screen, write_stderr
from iogate.errors import for_operators
from iogate.messages import counted
from iogate.store.keys import ENDED
from iogate.timing.backoff import Backoff

if TYPE_CHECKING:
    from iogate.store.store import Store
    from iogate.worker.runs.executor import Executor

LINGER_S: Final = 10.0
"""Longest time that the command waits after its run has ended."""
QUIET_S: Final = 1.0
"""Time after which a note explains the wait."""
MIN_POLL_S: Final = 0.001
MAX_POLL_S: Final = 0.1
MAX_LISTED: Final = 5
"""Most runs that are reported one by one."""
SHOWN_ACTIONS: Final = frozenset({"effect.unawaited", "run.unawaited"})
"""Actions of log records about unawaited work."""


async def wait_for_detached(
    screen: Screen, store: Store, executor: Executor, uid: str, limit_s: float
) -> None:
    """Wait at most `limit_s` for detached runs; then report failures and unfinished work.

    Raises:
        KeyboardInterrupt: Ctrl-C ended the remaining work.
    """
    began = time.monotonic()
    poll, noted = Backoff(MIN_POLL_S, MAX_POLL_S), False
    while True:
        runs = await _count_unfinished(store)
        # Checked last: work that the end of a run starts exists before the run is gone.
        if not runs and executor.idle:
            if executor.draining:
                raise KeyboardInterrupt
            break
        passed_s = time.monotonic() - began
        work = _describe(runs, executor)
        if passed_s >= limit_s:
            if work:
                screen.warn(f"stopped with this command: {work} that no task waited for")
            break
        if work and not noted and passed_s >= QUIET_S:
            noted = True
            screen.note(f"waiting for {work} that no task waited for; Ctrl-C stops it")
        await asyncio.sleep(min(poll.next_s(), limit_s - passed_s))
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
    """Report faulted runs that no task awaited, since their errors reach no task."""
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
    """Print the worker's errors, and failures of detached work, instead of logging them."""
    logger = logging.getLogger("iogate")
    before = logger.level, logger.handlers, logger.propagate
    logger.setLevel(logging.WARNING)
    # Replace all other handlers, so that nothing is printed twice.
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
