"""Lookup of one run, the wait for its end, and the error that its outcome means.

Used by `runs`, `run`, `api call` and the commands that change several runs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from iogate.cli.runs.run_display import LiveDisplay
from iogate.cli.session import Session
from iogate.errors import NotFound, Refused, RunFailed, StillRunning, for_operators
from iogate.store.keys import ENDED

if TYPE_CHECKING:
    from iogate.store.runs.operations import RunView
    from iogate.store.store import Store

DISPLAY_POLL_S = 0.3
"""Interval at which a live display is refreshed."""
MAX_WAIT_S = 30.0
"""Longest wait per request to the store, without a live display."""


async def find_run(store: Store, uid: str) -> RunView:
    """Return a run by its uid.

    Raises:
        NotFound: the run does not exist, or its retention is over.
    """
    view = await store.runs.show(uid) if is_uid(uid) else None
    if view is None:
        raise run_not_found(uid)
    return view


async def wait_for_end(session: Session, store: Store, uid: str, timeout_s: float | None) -> RunView:
    """Wait until a run ends or the timeout passes; return its last state.

    A live display shows its tasks meanwhile. Raises NotFound as `find_run` does.
    """
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
            cause = error.get("detail" if run["status"] == "cancelled" else "message")
            if output and cause:
                cause = for_operators(cause, error)
            raise RunFailed(f"run {run['uid']} {end_phrase(run['status'])}" + (f": {cause}" if cause else ""))
        case still:
            unit = "s" if limit and limit.isdigit() else ""
            raise StillRunning(f"run {run['uid']} is still {still} after {limit}{unit}")


class Reasons(TypedDict):
    """Arguments of `run_json`: why a run is not in the queue."""

    limited: bool
    held: bool


async def reasons_to_wait(store: Store, view: RunView) -> Reasons:
    """Tell whether a run waits for the limit `running` of its API, or on hold, and not for a worker."""
    if view.state not in {"backlog", "woken"}:
        return {"limited": False, "held": False}
    live = await store.revisions.live_for(view.api)
    api = (await store.revisions.load(live[0])).apis.get(view.api) if live is not None else None
    return {
        "limited": api is not None and api.limits.running is not None,
        "held": view.state == "backlog" and view.api in await store.gates.holding(),
    }


def end_phrase(status_: str) -> str:
    return "was cancelled" if status_ == "cancelled" else status_


def already_ended(uid: str, status_: str) -> Refused:
    return Refused(f"run {uid} has ended already: it {end_phrase(status_)}")


def run_json(
    view: RunView, *, limited: bool = False, held: bool = False, children: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a run as HTTP shows it, with parent, children, trace and the output of a failed process."""
    import msgspec

    from iogate import trace_context
    from iogate.store.runs import presentation

    decoded: dict[str, Any] = msgspec.json.decode(
        msgspec.json.encode(presentation.describe(view, limited=limited, held=held, operator=True))
    )
    trace = {"traceId": found} if (found := trace_context.trace_id(view.trace)) else {}
    return decoded | {"parent": view.parent, "children": list(children)} | trace


def is_uid(text: str) -> bool:
    return text.isascii() and text.isdigit()


def run_not_found(uid: str) -> NotFound:
    return NotFound(f"no run {uid}", hint="ended runs are deleted after the retention of their API")
