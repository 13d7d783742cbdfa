"""Waits for the end of a run on behalf of a caller.

Invariant: nobody waits longer than asked, and a process that ends lets everyone go first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from iogate.errors import Unreachable
from iogate.gateway.http.responses import Response, json_response
from iogate.store.runs import presentation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from iogate.gateway.live import Live
    from iogate.store.runs.operations import RunView
    from iogate.store.store import Store


async def until_end(live: Live, store: Store, uid: str, limit_s: float) -> RunView | None:
    """The run at its end or at the limit, whichever is first; None when the process is about to end."""
    drained = asyncio.ensure_future(live.draining.wait())
    waited = asyncio.ensure_future(store.runs.wait(uid, limit_s))
    try:
        await asyncio.wait({drained, waited}, return_when=asyncio.FIRST_COMPLETED)
        return waited.result() if waited.done() else None
    finally:
        for task in (drained, waited):
            task.cancel()
        await asyncio.gather(drained, waited, return_exceptions=True)


async def sync_response(
    live: Live, store: Store, uid: str, limit_s: float, headers: Iterable[tuple[bytes, bytes]]
) -> Response | None:
    """The end of a run as `/sync` answers it; None when it has not ended, which is a 202."""
    try:
        run = await until_end(live, store, uid, limit_s)
        # An end that a failover loses would be another one the next time.
        await store.confirm()
    except Unreachable:
        # The run is stored: that is what the 202 says.
        return None
    if run is None:
        return None
    match run.status:
        case "completed":
            value: dict[str, Any] = {
                "code": 0,
                "msg": "",
                "data": presentation.raw_json(run.output),
                "uid": uid,
            }
            return json_response(value, 200, headers)
        case "faulted" | "cancelled":
            error = presentation.error(run) or {}
            value = {
                "code": error["status"],
                "msg": error["message"],
                "data": None,
                "uid": uid,
                "error": error,
            }
            return json_response(value, 500 if run.status == "faulted" else 409, headers)
        case _:
            return None
