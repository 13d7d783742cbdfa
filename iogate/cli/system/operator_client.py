"""Client of the HTTP API of operators: requests, and responses as results or errors of `iogate.errors`.

Used by the implementations of `system` over HTTP and by `iogate login`. Invariants: each error says which
server, what happened and what to do; the token is in no message, and no redirect gets it; a change carries an
Idempotency-Key, so that the repetition after a lost response changes nothing twice.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from iogate.effects.gateway_client import GatewayClient, NotTrusted, Response, ServerSentEvent
from iogate.errors import (
    UNCODED,
    IogateError,
    Misused,
    NotFound,
    Refused,
    Stale,
    Unreachable,
)

if TYPE_CHECKING:
    from iogate.cli.system.server_choice import Server

OUT_OF_REACH: Final = "IOG815"
NOT_TRUSTED: Final = "IOG816"
REFUSED: Final = "IOG817"
ROLE_TOO_LOW: Final = "IOG818"
CLOSED: Final = "IOG819"
UNEXPECTED: Final = "IOG820"
BUSY: Final = "IOG821"
NO_REASON: Final = "IOG822"
TIMEOUT_S: Final = 30.0
DOWNLOAD_S: Final = 600.0
"""Time for a file."""
ATTEMPTS: Final = 3
"""Attempts of a change whose response was lost."""
PAUSE_S: Final = 0.5
_CLASSES: Final[Mapping[int, type[IogateError]]] = {
    400: Misused,
    404: NotFound,
    409: Refused,
    412: Stale,
    413: Refused,
    422: Refused,
    428: Refused,
}
"""Error classes of responses to a request whose credentials were accepted."""


class AccessDenied(Refused):
    """The server refuses the token of the operator, or its role does not suffice."""


class OperatorClient:
    """Requests to one server with its token. `project` is that of the folder, if it says so."""

    def __init__(self, server: Server, client: GatewayClient, project: str | None = None) -> None:
        self.server = server
        self._client = client
        self._project = project
        self._is_operator = False

    async def get(
        self,
        path: str,
        query: Mapping[str, object] | None = None,
        *,
        wait_s: float = 0.0,
        of_project: bool = False,
    ) -> Any:
        """Return the result of a GET by the client of an operator; `query` without its values that are None.

        `of_project` adds the project. Raises NotFound, Refused, Misused or Unreachable, by the response.
        """
        given = {name: _text(value) for name, value in (query or {}).items() if value is not None}
        if of_project and self._project is not None:
            given["project"] = self._project
        response = await self._send("GET", path, query=given, timeout_s=TIMEOUT_S + wait_s)
        return await self._result("GET", path, response)

    async def download(self, path: str) -> bytes:
        """Return the file that a GET by the client of an operator yields. Raises as `get` does."""
        response = await self._send("GET", path, timeout_s=DOWNLOAD_S)
        if response.status == 200:
            return response.body
        await self._result("GET", path, response)
        raise self._unexpected(response)

    async def change(
        self,
        path: str,
        reason: str,
        body: Mapping[str, object] | None = None,
        *,
        method: str = "POST",
        key: str | None = None,
        version: str | None = None,
        of_project: bool = False,
        wait_s: float = 0.0,
    ) -> Any:
        """Make a change by the client of an operator, and return its result.

        `body` is sent without its values that are None. `key` is the Idempotency-Key, by default a random
        one; `version` that of the object to change. Raises as `get` does, and Misused without a reason. After
        a lost response, the request is repeated with the same key, also while the server responds with a 409
        or 503 that has `Retry-After`.
        """
        self.check_reason(reason)
        given = {name: value for name, value in (body or {}).items() if value is not None}
        if of_project and self._project is not None:
            given["project"] = self._project
        headers = {"Idempotency-Key": key or secrets.token_hex(16)}
        if version is not None:
            headers["If-Match"] = f'"{version}"'
        given["reason"] = reason
        query = {name: _text(value) for name, value in given.items()} if method == "DELETE" else None
        data = json.dumps(given).encode() if query is None else None
        lost, ends_s = 0, time.monotonic() + TIMEOUT_S + wait_s
        while True:
            try:
                response = await self._send(
                    method, path, headers=headers, query=query, body=data, timeout_s=TIMEOUT_S + wait_s
                )
            except Unreachable as error:
                lost += 1
                if lost == ATTEMPTS or error.code == NOT_TRUSTED:
                    raise
            else:
                may_repeat = lost and response.status in (409, 503) and "Retry-After" in response.headers
                if not may_repeat or time.monotonic() > ends_s:
                    return await self._result(method, path, response)
            await asyncio.sleep(PAUSE_S)

    async def ask(
        self, path: str, body: Mapping[str, object], *, of_project: bool = False, wait_s: float = 0.0
    ) -> Any:
        """Return the result of a POST by the client of an operator, which changes nothing.

        `body` is sent without its values that are None. Raises as `get` does.
        """
        given = {name: value for name, value in body.items() if value is not None}
        if of_project and self._project is not None:
            given["project"] = self._project
        data = json.dumps(given).encode()
        response = await self._send("POST", path, body=data, timeout_s=TIMEOUT_S + wait_s)
        return await self._result("POST", path, response)

    def check_reason(self, reason: str, option: str = "--reason") -> None:
        """Check the reason of a change, before anything is asked; `option` is the one that gives it.

        Raises Misused without one.
        """
        if not reason.strip():
            raise Misused(
                f"{self.server.url} records why each change is made, and no reason is given",
                code=NO_REASON,
                hint=f"add {option} TEXT",
            )

    @contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """Convert errors of the block that reads a result of the server, named `what` in messages.

        Raises Unreachable if the result has another form than one of this release.
        """
        try:
            yield
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise unreadable(self.server.url, what) from error

    async def events(self, path: str, after: str) -> AsyncIterator[ServerSentEvent]:
        """Yield the server-sent events that the client of an operator receives from a path.

        They are those after the one with the id `after`; empty: all of them. Raises Unreachable if the stream
        breaks off.
        """
        headers = self._headers() | ({"Last-Event-ID": after} if after else {})
        async for event in self._client.events(path, headers=headers, timeout_s=0):
            yield event

    async def _send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Response:
        try:
            return await self._client.request(
                method,
                path,
                headers={**self._headers(), **(headers or {})},
                query=query,
                body=body,
                timeout_s=timeout_s,
            )
        except NotTrusted as error:
            raise NotTrusted(
                error.message,
                code=NOT_TRUSTED,
                hint="if a certificate authority of your own has signed it, name its file in SSL_CERT_FILE",
            ) from None
        except Unreachable as error:
            raise Unreachable(
                error.message,
                code=OUT_OF_REACH,
                hint=f"{self.server.chosen_by} names this server; check its address, and that it runs",
            ) from None

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.server.token}", "Accept": "application/json"}

    async def _result(self, method: str, path: str, response: Response) -> Any:
        found = _content(response)
        if 200 <= response.status < 300 and found is not None:
            return found
        error = found.get("error") if isinstance(found, dict) else None
        if not isinstance(error, dict) or not isinstance(error.get("message"), str):
            raise self._unexpected(response)
        if response.status == 404 and "hint" not in error and "iog" not in error:
            await self._check_access(method, path, error["message"])
        raise self._error(response, error)

    async def require_operator(self) -> None:
        """Check that the server takes the token of the client as that of an operator.

        It comes before a request to a path that callers have, too. With a wrong token, such a path would
        respond as to a caller. Raises Refused or Unreachable if it does not take the token.
        """
        if not self._is_operator:
            await self.get("/v1/operator")
            self._is_operator = True

    async def _check_access(self, method: str, path: str, message: str) -> None:
        """Check that the server has the API of operators and takes the token, after a 404 that may mean both.

        Raises Refused or Unreachable if not.
        """
        response = await self._send("GET", "/v1/operator")
        if response.status == 404:
            raise Unreachable(
                f"{self.server.url} has no HTTP API of operators for this token",
                code=CLOSED,
                hint="the setting `operators` of its gateway opens the API; check also that this is the "
                "address of a gateway of iogate",
            )
        found = _content(response)
        if response.status != 200:
            raise (
                self._error(response, (found or {}).get("error", {})) if found else self._unexpected(response)
            )
        if "nothing at this path" in message:
            raise Unreachable(
                f"{self.server.url} has no {method} {path}: iogate {found['version']} runs there",
                code=CLOSED,
                hint="update the gateway to the release of this command",
            )

    def _error(self, response: Response, error: Mapping[str, Any]) -> IogateError:
        """Return the error that the client of an operator raises for a response in the common form."""
        url, message = self.server.url, str(error.get("message"))
        match response.status:
            case 401:
                return AccessDenied(f"{url} refuses the token: {message}", code=REFUSED, hint=self._renewal())
            case 403:
                return AccessDenied(
                    f"{url}: {message}",
                    code=ROLE_TOO_LOW,
                    hint="the setting `operators` of the gateway gives roles",
                )
            case 421:
                return Unreachable(f"{url}: {message}", code=OUT_OF_REACH)
            case 429:
                return Unreachable(f"{url}: {message}", code=BUSY, hint="wait, and repeat the command")
            case 503:
                return Unreachable(f"{url}: {message}", code=BUSY, hint=_retry_hint(response))
            case status:
                class_ = _CLASSES.get(status)
                if class_ is None:
                    return self._unexpected(response, message)
                code, hint = error.get("iog"), error.get("hint")
                return class_(message, code=str(code or UNCODED), hint=str(hint or ""))

    def _renewal(self) -> str:
        if self.server.profile is None:
            return (
                f"the token is from {self.server.token_from}: give there one of the setting `operators` of "
                "the gateway"
            )
        return f"log in again: iogate login {self.server.url} --profile {self.server.profile}"

    def _unexpected(self, response: Response, message: str = "") -> Unreachable:
        if 300 <= response.status < 400:
            to = _redirected_to(response.headers.get("Location", ""))
            return Unreachable(
                f"{self.server.url} redirects to {to}: the token was not sent there",
                code=UNEXPECTED,
                hint="if that is your gateway, log in there: iogate login URL",
            )
        said = f": {message}" if message else ", and not as a gateway of iogate does"
        return Unreachable(
            f"{self.server.url} responded with {response.status}{said}",
            code=UNEXPECTED,
            hint="look at the log of the gateway, or of the proxy before it",
        )


def unreadable(url: str, what: str = "a result", defect: str = "") -> Unreachable:
    """Return the error of a client for a server's result of another form than one of this release.

    `defect` describes the exception that could also be one of this release, for a report.
    """
    report = f"; if both are of one release, report this bug of iogate: {defect}" if defect else ""
    return Unreachable(
        f"{url} has sent {what} of a form that this release cannot read",
        code=UNEXPECTED,
        hint=f"run the command with the release of the gateway; look at the proxy before it{report}",
    )


def _content(response: Response) -> Any:
    """Return the member `response` of a server's response to the client; None if it has another form."""
    try:
        found = response.json()
    except ValueError:
        return None
    return found.get("response") if isinstance(found, dict) else None


def _redirected_to(location: str) -> str:
    """Return the server of a redirection for a message of the client, without user and password."""
    try:
        target = urlsplit(location)
    except ValueError:
        return "an invalid address"
    return f"{target.scheme}://{target.netloc.rpartition('@')[2]}" if target.netloc else "another path"


def _retry_hint(response: Response) -> str:
    after = response.headers.get("Retry-After", "")
    return f"repeat the command after {after} s" if after.isdigit() else "repeat the command later"


def _text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)


@asynccontextmanager
async def operator_client(server: Server, project: str | None = None) -> AsyncIterator[OperatorClient]:
    """Open the client of an operator for a server."""
    async with GatewayClient(server.url, timeout_s=TIMEOUT_S) as client:
        yield OperatorClient(server, client, project)
