"""Routes of runs for callers: show, wait, follow, cancel.

A run is visible with credentials of the API that started it, or with its signed link, which cancels the run
only if the caller had asked for such a link. `OperatorApi` responds to operators. Invariant: other callers
learn nothing, not even whether the run exists; without credentials, a run of an API that needs none shows
only its status and times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import litestar
from litestar import HttpMethod, Response, post, route
from litestar.response import Stream

from iogate.errors import Unreachable
from iogate.gateway.authentication import authenticator, equal_work
from iogate.gateway.http.large_responses import PACED
from iogate.gateway.http.litestar_responses import to_litestar
from iogate.gateway.http.origins import CROSS_ORIGIN, is_navigation
from iogate.gateway.http.request import from_scope
from iogate.gateway.http.responses import (
    NO_REVISION,
    NO_RUN,
    STORE_DOWN,
    ErrorResponse,
    HTTPError,
    invalid,
    json_response,
)
from iogate.gateway.runs import run_completion, run_reader
from iogate.store.runs import presentation

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from iogate.gateway.authentication.run_links import Scope
    from iogate.gateway.http.large_responses import Sending
    from iogate.gateway.http.request import Request
    from iogate.gateway.operators.operator_api import OperatorApi
    from iogate.gateway.state import GatewayState
    from iogate.store.runs.operations import RunView

WAIT_MOST_S = 60
_READ = [HttpMethod.GET, HttpMethod.HEAD]
_UID = re.compile(r"[0-9]{1,19}", re.ASCII)
_BAD_LINK = ErrorResponse(401, "requestError.unauthorized", "The link is invalid or has expired")
_READ_ONLY = ErrorResponse(
    403,
    "requestError.forbidden",
    "This link only reads the run: a call with the header Prefer: link=cancel gets one that cancels it, and "
    "the credentials of the API do, too",
)
_BAD_WAIT = f"The query parameter wait must be a whole number of seconds from 0 to {WAIT_MOST_S}"


@dataclass(frozen=True, kw_only=True)
class Access:
    """A request for a run, the run, and the caller's permissions for it."""

    request: Request
    run: RunView
    """Without its data if they are large."""
    whole: bool
    link: Scope | None = None
    """Scope of the signed link in the request."""


def handlers(state: GatewayState, operators: OperatorApi | None) -> list[HTTPRouteHandler]:
    """Return the routes of runs for one port; `operators` responds to operators on a port that they share."""

    @route("/v1/runs/{uid:str}", http_method=_READ)
    async def show(request: litestar.Request[Any, Any, Any]) -> Response[Any]:
        if (found := await _of_operator(operators, "runs.show", request)) is not None:
            return found
        uid = str(request.path_params["uid"])
        access = await _authorize(state, operators, request, uid)
        run = access.run
        if (limit_s := _wait_s(request)) and not run.ended:
            run = await _wait(state, access.request, uid, limit_s) or run
        if not access.whole:
            return to_litestar(json_response(presentation.public_status(run)))
        scope: Any = request.scope
        sending: Sending = scope[PACED].sending
        run = await _with_data(state, run, sending)
        shown = None
        if run.input:
            async with sending.preparing():
                shown = await state.validation.redacted(run.input, access.request)
        return to_litestar(
            json_response(
                presentation.describe(
                    run, limited=_limited(state, run), held=_held(state, run), shown_input=shown
                )
            )
        )

    @route("/v1/runs/{uid:str}/events", http_method=_READ)
    async def follow(request: litestar.Request[Any, Any, Any]) -> Response[Any]:
        """Respond with the event stream of a run. Raises HTTPError: a 401, 403, 404, 429 or 503."""
        if (found := await _of_operator(operators, "runs.events", request)) is not None:
            return found
        async with state.streams.opening:
            uid = str(request.path_params["uid"])
            access = await _authorize(state, operators, request, uid)
            if not access.whole:
                raise HTTPError(NO_RUN)
            if state.store is None:
                raise HTTPError(STORE_DOWN)
            headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
            if request.method == "HEAD":
                # A stream without a body would stay open as long as one with a body.
                return Response(b"", media_type="text/event-stream", headers=headers)
            after = request.headers.get("last-event-id", "")
            scope: Any = request.scope
            events = await state.streams.open(
                state.store,
                uid,
                after=int(after) if _UID.fullmatch(after) else 0,
                address=access.request.address,
                draining=state.draining,
                paced=scope[PACED],
            )
            return Stream(events, media_type="text/event-stream", headers=headers)

    @post("/v1/runs/{uid:str}/cancel", status_code=202)
    async def cancel(request: litestar.Request[Any, Any, Any]) -> Response[Any]:
        """Cancel a run for its caller, or for an operator. Raises HTTPError: 401, 403, 404, 409, 503."""
        if (found := await _of_operator(operators, "runs.cancel", request)) is not None:
            return found
        uid = str(request.path_params["uid"])
        access = await _authorize(state, operators, request, uid)
        if not access.whole:
            raise HTTPError(NO_RUN)
        run = access.run
        if access.link == "read" and not await _may_cancel(state, access):
            raise HTTPError(_READ_ONLY)
        if run.status in ("completed", "faulted"):
            raise HTTPError(
                ErrorResponse(409, "requestError.conflict", f"The run has ended: it is {run.status}")
            )
        if run.status != "cancelled":
            async with state.reach() as store:
                await store.runs.cancel(uid, "its caller asked for it")
        return to_litestar(json_response({"uid": uid}, 202))

    found: list[Any] = [show, follow, cancel]
    return found


async def _of_operator(
    operators: OperatorApi | None, name: str, request: litestar.Request[Any, Any, Any]
) -> Response[Any] | None:
    """Return the response to a request of an operator, None if it is a caller's, or has a signed link."""
    if operators is None or "sig" in request.query_params:
        return None
    return await operators.respond_if_operator(name, request)


async def _authorize(
    state: GatewayState, operators: OperatorApi | None, asked: litestar.Request[Any, Any, Any], uid: str
) -> Access:
    """Return the run and the permissions of the caller. Raises HTTPError if the caller may not see it."""
    request = from_scope(asked.scope, asked.receive)
    signature = asked.query_params.get("sig")
    _check_origin(state, request, signature)
    if not _UID.fullmatch(uid):
        raise HTTPError(NO_RUN)
    link: Scope | None = None
    if signature is not None:
        link = state.links.scope(uid, signature, state.clock.now_ms() / 1000)
        if link is None:
            raise HTTPError(_BAD_LINK)
    table = state.table
    if table is None and signature is None:
        raise HTTPError(NO_REVISION)
    caller: str | None = None
    api: str | None = None
    if signature is None:
        # Before the run is read, since the time of a read depends on the size of the run.
        async with state.reach() as store:
            api = await store.runs.api_of(uid)
        caller, is_failure = await _authenticate(state, request, api)
        if caller is None:
            if is_failure and operators is not None:
                operators.authentication.count_failure(request)
            raise HTTPError(NO_RUN)
    async with state.reach() as store:
        run = await store.runs.show(uid, most=run_reader.SMALL)
    if run is None or (signature is None and run.api != api):
        raise HTTPError(NO_RUN)
    _check_address(state, request, run)
    whole = signature is not None or state.loopback or caller != authenticator.ANONYMOUS
    return Access(request=request, run=run, whole=whole, link=link)


def _check_address(state: GatewayState, request: Request, run: RunView) -> None:
    """Raise HTTPError, a 403 or 503, for an address that may not see the run by its API's `allow_ips`.

    After the credentials, so that a caller without any cannot find out which runs exist. Without a revision,
    the addresses are unknown: a 503.
    """
    if state.table is None:
        raise HTTPError(NO_REVISION)
    started_by = state.table.routes.get(run.api)
    if started_by is None or started_by.addresses is None:
        return
    if (refused := started_by.addresses.refuse(request)) is not None:
        raise HTTPError(refused)


async def _with_data(state: GatewayState, run: RunView, sending: Sending) -> RunView:
    """Return a run with its data for its caller. Raises HTTPError: the 503 without room for it, or a 404."""
    async with state.reach() as store:
        found = await run_reader.read_data(store, run, sending)
    if found is None:
        raise HTTPError(NO_RUN)
    return found


async def _may_cancel(state: GatewayState, access: Access) -> bool:
    """Tell whether the credentials of a request allow cancelling the run."""
    caller, _ = await _authenticate(state, access.request, access.run.api)
    return caller is not None and (state.loopback or caller != authenticator.ANONYMOUS)


async def _authenticate(state: GatewayState, request: Request, api: str | None) -> equal_work.Verdict:
    """Authenticate a request for a run of `api`; None: the run does not exist, or its API is unknown.

    Raises HTTPError: the 429 for too many wrong credentials, and the 503 if keys are missing that may verify
    them.
    """
    table = state.table
    if table is None:
        return equal_work.Verdict(None, is_failure=False)
    started_by = table.routes.get(api) if api is not None else None
    return await equal_work.authenticate(
        started_by.authenticator if started_by is not None else None,
        [route.authenticator for route in table.routes.values()],
        request,
        hashing=state.hashing,
    )


def _check_origin(state: GatewayState, request: Request, signature: str | None) -> None:
    """Raise HTTPError, a 403, for a request for a run that a page of another origin caused.

    A user may follow a link to a run, and a page that has the signed link may show the run.
    """
    if request.method in ("GET", "HEAD") and (signature is not None or is_navigation(request)):
        return
    if state.origins.forbids(request, open_to_all=True):
        raise HTTPError(CROSS_ORIGIN)


def _limited(state: GatewayState, run: RunView) -> bool:
    started_by = state.table.routes.get(run.api) if state.table is not None else None
    return started_by is not None and started_by.api.limits.running is not None


def _held(state: GatewayState, run: RunView) -> bool:
    started_by = state.table.routes.get(run.api) if state.table is not None else None
    return started_by is not None and started_by.held


async def _wait(state: GatewayState, request: Request, uid: str, limit_s: float) -> RunView | None:
    if state.store is None:
        raise HTTPError(STORE_DOWN)
    try:
        return await run_completion.until_end(state, state.store, uid, limit_s, request=request)
    except Unreachable:
        raise HTTPError(STORE_DOWN) from None


def _wait_s(request: litestar.Request[Any, Any, Any]) -> int:
    text = request.query_params.get("wait")
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise invalid(_BAD_WAIT)
    # A longer wait is not an error: the response comes earlier, and the caller repeats the request.
    return min(int(text), WAIT_MOST_S)
