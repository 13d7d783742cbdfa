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
    from iogate.store.runs.operations import RunView
    from iogate.store.store import Store

DISPLAY_POLL_S = 0.3
"""Interval at which a live display is refreshed."""
MAX_WAIT_S = 30.0
"""Longest wait per request to the store, without a live display."""


async def wait_for_end(session: Session, store: Store, uid: str, timeout_s: float | None) -> RunView:
    """Wait until a run ends or the timeout passes; return its last state.

    A live display shows its tasks meanwhile. Raises NotFound as `find_run` does.
    """
    from iogate.operators.runs.run_details import find_run, reasons_to_wait, run_json

    view = await find_run(store, uid)
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with LiveDisplay(session.screen) as watching:
        while view.status not in ENDED:
            if watching.active:
                watching.show(run_json(view, **await reasons_to_wait(store, view)))
            pause_s = DISPLAY_POLL_S if watching.active else MAX_WAIT_S
            if deadline is not None:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    break
                pause_s = min(pause_s, left_s)
            view = await store.runs.wait(uid, pause_s) or view
    return view


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
