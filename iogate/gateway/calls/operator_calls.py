"""Calls of operators, without credentials of the API: for its debug cases.

Used by `operators.api_routes`. Invariants: who asks was authenticated as an operator; everything else is
checked as for any other call; the caller of such a run is `operator:NAME`.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import msgspec

from iogate.gateway.calls.call_handler import Admitted, CallHandler
from iogate.gateway.http import responses
from iogate.gateway.http.request import Request
from iogate.gateway.http.responses import ErrorResponse, HTTPError, Response
from iogate.store.runs.intake import Accepted

if TYPE_CHECKING:
    from iogate.compiler.revision import Api, Example
    from iogate.gateway.calls.routing_table import Table
    from iogate.gateway.state import GatewayState

CALLER: Final = "operator:"
"""Beginning of the caller of such a run."""


class OperatorCalls:
    """Sender of calls within a gateway process."""

    def __init__(self, state: GatewayState, calls: CallHandler) -> None:
        self._state, self._calls = state, calls

    async def send(self, api: Api, example: Example, operator: str, key: str) -> Accepted | ErrorResponse:
        """Validate and store an operator's call of a debug case; return the response if it is refused.

        `key` is its idempotency key, if the API takes one in a header.
        """
        table = self._state.table
        if table is None:
            return responses.NO_REVISION
        handler = _Handler(self._calls, CALLER + operator)
        try:
            verdict = await handler.store(_request(api, example, key), table)
        except HTTPError as refused:
            return refused.response
        assert isinstance(verdict, Accepted | ErrorResponse), "only errors refuse a call"
        return verdict


class _Handler(CallHandler):
    """Handler of one call by an operator, whom the gateway has authenticated already."""

    def __init__(self, calls: CallHandler, caller: str) -> None:
        super().__init__(calls._state, calls._refresher, calls._uids)  # noqa: SLF001 - of the same class
        self._caller = caller

    async def admit(self, request: Request, table: Table) -> Admitted | Response:
        """Admit a call of an operator without a check of credentials, address and origin."""
        found = table.paths.get(request.raw_path)
        if found is None:
            return responses.NO_ROUTE
        route, _, release = found
        if (too_many := route.check_rate()) is not None:
            return too_many
        return Admitted(table, route, self._caller, sync=False, release=release)

    async def store(self, request: Request, table: Table) -> Accepted | Response:
        """Validate and store a call of an operator; return the response to one that is refused.

        Raises HTTPError.
        """
        admitted = await self.admit(request, table)
        if isinstance(admitted, Response):
            return admitted
        if len(request.body) > (limit := admitted.route.body_limit(request)):
            raise responses.too_large(limit)
        verdict = await self._store(request, admitted)
        if verdict is responses.STALE:
            verdict, _ = await self._store_by_newer(request, admitted)
        return verdict


def _request(api: Api, example: Example, key: str) -> Request:
    """Return the HTTP request of an operator's call: that of a debug case, as `iogate debug` sends it."""
    headers: list[tuple[bytes, bytes]] = []
    body = b""
    if example.body is not msgspec.UNSET:
        body = msgspec.json.encode(example.body)
        headers.append((b"content-type", b"application/json"))
    if api.idempotency.header is not None:
        headers.append((api.idempotency.header.lower().encode(), key.encode()))
    query = {} if isinstance(example.query, msgspec.UnsetType) else example.query
    fields = {name: [_text(each) for each in _listed(value)] for name, value in query.items()}
    return Request(
        method=example.verb,
        raw_path=b"/v1/api/" + api.id.encode() + b"/async",
        query=urlencode(fields, doseq=True).encode(),
        raw_headers=headers,
        headers=dict(headers),
        receive=_never_leaves,
        body=body,
        is_read=True,
        started_s=time.perf_counter(),
    )


async def _never_leaves() -> Any:
    """Wait without end for a message of the client of an operator's call, which is this process."""
    await asyncio.Event().wait()


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
