"""The wait for the end of a run, and the error that its outcome means.

Used by `runs`, `run` and `api call`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from iogate.cli.runs.run_display import LiveDisplay
from iogate.cli.session import Session
from iogate.errors import RunFailed, StillRunning, for_operators
from iogate.store.keys import ENDED

if TYPE_CHECKING:
    from iogate.cli.system.system import Runs

DISPLAY_POLL_S = 0.3
"""Interval at which a live display is refreshed."""
MAX_WAIT_S = 30.0
"""Longest wait per request, without a live display."""


async def wait_for_end(session: Session, runs: Runs, uid: str, timeout_s: float | None) -> dict[str, Any]:
    """Wait until a run ends or the timeout passes; return the run with its outcome, or as it is then.

    A live display shows its tasks meanwhile. Raises NotFound if there is no such run.
    """
    run = await runs.wait(uid, 0)
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with LiveDisplay(session.screen) as watching:
        while run["status"] not in ENDED:
            watching.show(run)
            pause_s = DISPLAY_POLL_S if watching.active else MAX_WAIT_S
            if deadline is not None:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    break
                pause_s = min(pause_s, left_s)
            run = await runs.wait(uid, pause_s)
    return await runs.show(uid)


def raise_for_outcome(run: dict[str, Any], limit: str | None, *, output: bool = False) -> None:
    """Raise an error unless the run has completed.

    `output`: include details for operators, such as the output of a process, since nothing else shows them.

    Raises:
        RunFailed: the run faulted or was cancelled.
        StillRunning: the run has not ended.
    """
    match run["status"]:
        case "completed":
            return
        case "faulted" | "cancelled":
            error = run.get("error") or {}
            from iogate.operators.runs.run_details import end_phrase

            cause = error.get("detail" if run["status"] == "cancelled" else "message")
            if output and cause:
                cause = for_operators(cause, error)
            raise RunFailed(f"run {run['uid']} {end_phrase(run['status'])}" + (f": {cause}" if cause else ""))
        case still:
            unit = "s" if limit and limit.isdigit() else ""
            raise StillRunning(f"run {run['uid']} is still {still} after {limit}{unit}")
