"""HTTP API of operators: from a request to its response.

Used by `app`, which registers the routes, by `caller_routes` for the routes that callers have too, by pages
of the console, and by `request_process`. `large_requests` executes a request with a large body in another
process. Checks, in this order: credentials, role, headers, body, parameters, idempotency. Invariants: each
change is recorded before it is made; each error has the common form; no response is cached.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from typing import TYPE_CHECKING, Any, TypeAlias

import litestar
from litestar import HttpMethod, route

from iogate.errors import IogateError, Unreachable
from iogate.gateway.http import body, entity_tags
from iogate.gateway.http.access_log import CODE, OPERATOR
from iogate.gateway.http.litestar_responses import to_litestar
from iogate.gateway.http.request import from_scope
from iogate.gateway.http.responses import (
    CRASHED,
    HEADERS_TOO_LARGE,
    NO_PATH,
    ErrorResponse,
    HTTPError,
    Response,
    json_response,
)
from iogate.gateway.operators import error_responses, idempotency, parameters
from iogate.gateway.operators.authentication import Authentication
from iogate.gateway.operators.large_requests.large_requests import LARGE_BYTES, LargeRequests
from iogate.gateway.operators.operation import Call, Operation
from iogate.gateway.operators.operations import OPERATIONS
from iogate.operators.activity import recorded
from iogate.store.connection.connection import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar.handlers import HTTPRouteHandler

    from iogate.gateway.http.request import Request
    from iogate.gateway.state import GatewayState
    from iogate.operators.operator_tokens import OperatorTokens
    from iogate.operators.roles import Actor

log = logging.getLogger(__name__)

AnyRequest: TypeAlias = "litestar.Request[Any, Any, Any]"
AnyResponse: TypeAlias = "litestar.Response[Any]"


class OperatorApi:
    """Executes the operations of operators in one gateway process."""

    def __init__(self, state: GatewayState, access: OperatorTokens) -> None:
        self._state = state
        self._shared = {each.name: each for each in OPERATIONS if each.is_shared}
        self._large_requests = LargeRequests(state)
        self.authentication = Authentication(access)

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """Fingerprint of each token of the operator API in a variable or file, by its source."""
        return self.authentication.access.fingerprints

    def handlers(self, *, has_callers: bool) -> list[HTTPRouteHandler]:
        """Return the routes of operators; with callers on the port, without those that callers have, too."""
        return [self._route(each) for each in OPERATIONS if not (has_callers and each.is_shared)]

    def _route(self, operation: Operation) -> HTTPRouteHandler:
        path = operation.path.replace("}", ":str}")
        methods = [HttpMethod(operation.method)]
        if operation.method == "GET":
            methods.append(HttpMethod.HEAD)

        @route(path, http_method=methods, name=operation.name, status_code=operation.status)
        async def handle(request: AnyRequest) -> AnyResponse:
            return await self.respond(operation, request)

        return handle

    async def respond(self, operation: Operation, asked: AnyRequest) -> AnyResponse:
        """Respond to a request of an operator; also to one without valid credentials."""
        request = from_scope(asked.scope, asked.receive)
        try:
            actor = self.authentication.actor(request)
            request.scope[OPERATOR] = actor.name
            return await self._respond(operation, actor, request, asked)
        except HTTPError as failed:
            return await _refuse(request, failed.response)

    async def respond_if_operator(self, name: str, asked: AnyRequest) -> AnyResponse | None:
        """Respond to a request of an operator on a path that callers have, too; None if it is a caller's.

        `name` is that of the operation.
        """
        operation = self._shared[name]
        request = from_scope(asked.scope, asked.receive)
        try:
            actor = self.authentication.recognize(request)
            if actor is None:
                return None
            request.scope[OPERATOR] = actor.name
            return await self._respond(operation, actor, request, asked)
        except HTTPError as failed:
            return await _refuse(request, failed.response)

    async def _respond(
        self, operation: Operation, actor: Actor, request: Request, asked: AnyRequest
    ) -> AnyResponse:
        """Check a request of an operator after its credentials, and execute its operation.

        Raises HTTPError, the response to a request that fails a check.
        """
        _check_role(operation, actor)
        if request.has_large_headers():
            raise HTTPError(HEADERS_TOO_LARGE)
        path = {name: str(asked.path_params[name]) for name in operation.names}
        _check_path(operation, path)
        key = idempotency.key_of(request) if operation.changes else None
        if operation.takes_version:
            # Before the body; `execute` reads it again, maybe in a process of its own.
            entity_tags.expected(request)
        if not operation.reads_body:
            found = await self.execute(operation, actor, request, path=path, key=key, scope=asked.scope)
        else:
            found = await self._read_and_execute(operation, actor, request, path, key, asked.scope)
        if not isinstance(found, Response):
            return found
        if isinstance(found, ErrorResponse):
            raise HTTPError(found)
        return to_litestar(found)

    async def _read_and_execute(
        self,
        operation: Operation,
        actor: Actor,
        request: Request,
        path: Mapping[str, str],
        key: str | None,
        scope: Any,
    ) -> Response | AnyResponse:
        """Read the body of a request, and execute its operation; if it is large, in another process.

        Raises HTTPError, the response to a request that fails a check or cannot be executed.
        """
        async with self._large_requests.admit(operation, actor, request) as bodies:
            try:
                await bodies.read(request, limit=operation.body_limit)
                if len(request.body) > LARGE_BYTES:
                    return await self._large_requests.execute(operation, actor, request, path, key)
                return await self.execute(operation, actor, request, path=path, key=key, scope=scope)
            finally:
                bodies.release(request)

    async def execute(
        self,
        operation: Operation,
        actor: Actor,
        request: Request,
        *,
        path: Mapping[str, str],
        key: str | None,
        scope: Any = None,
    ) -> Response | AnyResponse:
        """Read the parameters of a request after its body, and execute its operation.

        Raises HTTPError, the response to a request that fails a check.
        """
        given = parameters.read(operation, request)
        version = entity_tags.expected(request) if operation.takes_version else None
        return await self.perform(
            operation,
            actor,
            path=path,
            given=given,
            key=key,
            version=version,
            request=request,
            scope=scope,
        )

    async def perform(
        self,
        operation: Operation,
        actor: Actor,
        *,
        path: Mapping[str, str],
        given: Mapping[str, Any],
        key: str | None = None,
        version: str | None = None,
        request: Request | None = None,
        scope: Any = None,
    ) -> Response | AnyResponse:
        """Execute, for the operator API, an operation of an actor; return its response, maybe an error.

        `given` are the values that `parameters.read` returns, with the `reason` of a change; `key` is the
        Idempotency-Key, `version` that of the object to change, None: any. An operation that streams returns
        a response of Litestar. Raises HTTPError, the 403, if the role of the actor does not suffice.
        """
        _check_role(operation, actor)
        # An operation may take seconds; that the store does not answer at all is found out at once.
        try:
            store = await self._state.check_store()
        except HTTPError as failed:
            return failed.response
        values = dict(given)
        call = Call(
            store=store,
            state=self._state,
            actor=actor,
            path=path,
            reason=values.pop("reason", "") if operation.changes else "",
            given=values,
            version=version,
            id=idempotency.change_id(actor.name, key) if key is not None else secrets.token_hex(16),
            is_dry_run=operation.has_dry_run and values.get("dry_run", False),
            request=request,
            scope=scope,
        )
        try:
            async with asyncio.timeout(operation.limit_s):
                if operation.is_stream:
                    streamed: AnyResponse = await operation.handler(call)
                    return streamed
                if key is None:
                    return await _execute(operation, call)
                digest = idempotency.fingerprint(operation.name, path, given, version)
                return await idempotency.once(
                    store,
                    actor.name,
                    key,
                    digest,
                    lambda: _execute(operation, call),
                    frees_memory=operation.frees_memory,
                )
        except HTTPError as failed:
            return failed.response
        except (TimeoutError, IogateError) as error:
            return error_responses.respond(error)
        except CommandFailed:
            log.exception(
                "%s failed",
                operation.name,
                extra={"action": "operation.failed", "operation": operation.name},
            )
            return CRASHED


async def _execute(operation: Operation, call: Call) -> Response:
    """Execute an operation, with the record of a change; errors of the operator become responses.

    Raises Unreachable or TimeoutError if the store does not answer: the request may then be repeated.
    """
    try:
        if not operation.changes or call.is_dry_run:
            return _result(operation, await operation.handler(call), 200 if call.is_dry_run else None)
        assert operation.target is not None, operation.name
        about = operation.target(call)
        async with recorded(
            call.store,
            call.actor,
            operation.action,
            about,
            call.reason,
            record=call.record,
            frees_memory=operation.frees_memory,
        ):
            return _result(operation, await operation.handler(call))
    except Unreachable:
        raise
    except IogateError as error:
        return error_responses.respond(error)


def _result(operation: Operation, value: Any, status: int | None = None) -> Response:
    if operation.is_file:
        assert isinstance(value, Response), operation.name
        return value
    headers = [] if operation.version is None else [entity_tags.header(operation.version(value))]
    return json_response(value, status or operation.status, headers)


def _check_role(operation: Operation, actor: Actor) -> None:
    """Check that the role of the actor allows the operation. Raises HTTPError, a 403 that names the role."""
    if actor.role < operation.role:
        raise HTTPError(
            ErrorResponse(
                403,
                "requestError.forbidden",
                f"This takes the role {operation.role}; operator {actor.name} has the role {actor.role}",
            )
        )


def _check_path(operation: Operation, path: Mapping[str, str]) -> None:
    """Raise HTTPError, a 404 of the operator API, for a path with a value of another form than declared."""
    for name, expected in operation.path_types.items():
        if re.fullmatch(expected, path[name]) is None:
            raise HTTPError(NO_PATH)


async def _refuse(request: Request, response: ErrorResponse) -> AnyResponse:
    request.scope[CODE] = response.code
    await body.drain_before_error(request, response)
    return to_litestar(response)
