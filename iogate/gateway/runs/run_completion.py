"""Waiting for the end of a run, and the response of `/sync`.

Used by `call_handler`, `caller_routes` and routes of operators. Invariant: a wait ends at its limit, when the
process drains, or when the caller in whose request it waits has disconnected.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from iogate.errors import Unreachable
from iogate.gateway.http.body import wait_until_left
from iogate.gateway.http.large_responses import is_large
from iogate.gateway.http.responses import HTTPError, Response, json_response
from iogate.gateway.runs.run_reader import SMALL, read_data
from iogate.store.runs import presentation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from iogate.gateway.http.request import Request
    from iogate.gateway.state import GatewayState
    from iogate.store.runs.operations import RunView
    from iogate.store.store import Store


async def until_end(
    state: GatewayState,
    store: Store,
    uid: str,
    limit_s: float,
    *,
    request: Request | None = None,
    only_results: bool = False,
) -> RunView | None:
    """Wait for the end of a run or the limit, and return the run.

    Return None if the process is about to end, or if the caller of `request`, whose body was read, has
    disconnected. The view has no data of more than SMALL bytes, and with `only_results` no input. Raises
    Unreachable if the store cannot be reached.
    """
    waiting = store.runs.wait(uid, limit_s, most=SMALL, only_results=only_results)
    waited = asyncio.ensure_future(waiting)
    tasks: list[asyncio.Future[Any]] = [waited, asyncio.ensure_future(state.draining.wait())]
    if request is not None:
        tasks.append(asyncio.ensure_future(wait_until_left(request)))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return waited.result() if waited.done() else None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def sync_response(
    state: GatewayState,
    store: Store,
    uid: str,
    limit_s: float,
    headers: Iterable[tuple[bytes, bytes]],
    request: Request,
) -> Response | None:
    """Return the response of `/sync` to a call if its run has ended; None if the call gets a 202."""
    sending = state.large_responses.preparation(request.scope)
    try:
        run = await until_end(state, store, uid, limit_s, request=request, only_results=True)
        if run is not None:
            run = await read_data(store, run, sending, only_results=True)
        # After a failover that loses this end, the run could end differently.
        await store.confirm()
        response = None if run is None else _of_end(run, uid, headers)
        if response is None or not is_large(response):
            return response
        return response if state.large_responses.admits(len(response.content), sending) else None
    except Unreachable:
        # The run is stored, so the 202 is correct.
        return None
    except HTTPError:
        # The caller gets the result by the location in the 202, when others have read theirs.
        return None
    finally:
        sending.release()


def _of_end(run: RunView, uid: str, headers: Iterable[tuple[bytes, bytes]]) -> Response | None:
    """Return the response of `/sync` for a run; None if it has not ended."""
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
