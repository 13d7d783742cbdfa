"""Declaration of a page or form of the console, and the visit that its handler receives.

Used by the modules of `pages`, which declare, and by `console`, which responds. Data come from the
operations of the HTTP API of operators, with the same checks, records and errors. Invariant: each form
names the role that it takes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from iogate.gateway.console import form_outcome
from iogate.gateway.console.form_outcome import FormOutcome
from iogate.gateway.http.request import Request
from iogate.gateway.http.responses import ErrorResponse, HTTPError, Response
from iogate.gateway.operators import parameters
from iogate.gateway.operators.operation import LIMIT_S
from iogate.gateway.operators.operations import OPERATIONS
from iogate.operators.roles import Actor, Role

if TYPE_CHECKING:
    import litestar

    from iogate.gateway.console.console import Console
    from iogate.gateway.operators.operation import Operation
    from iogate.store.store import Store

AnyResponse: TypeAlias = "Response | litestar.Response[Any]"
Result = TypeVar("Result")
Handler: TypeAlias = Callable[["Visit"], Awaitable[AnyResponse]]

BY_NAME: dict[str, Operation] = {each.name: each for each in OPERATIONS}
SEE_OTHER = 303
_members = msgspec.json.Decoder(dict[str, dict[str, msgspec.Raw]]).decode


@dataclass(frozen=True, kw_only=True)
class Page:
    """A route of the console."""

    path: str
    handler: Handler
    method: Literal["GET", "POST"] = "GET"
    role: Role = Role.READ
    """Least role that may use it."""
    form_on: str | None = None
    """Path of the page that has this form; without a reason, that page is shown again."""
    is_stream: bool = False
    """Whether a script of another page reads it as server-sent events."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A message above the content of a page, such as the outcome of a form."""

    text: str
    tone: str = "good"


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A request of an operator for a page."""

    console: Console
    request: Request
    actor: Actor
    path: Mapping[str, str]
    """Values of the names in the path."""
    query: Mapping[str, Sequence[str]]
    form: Mapping[str, str] = field(default_factory=dict)
    """Fields of a submitted form; the last value of a repeated one."""
    scope: Any = None
    """ASGI scope of the request."""
    packed: bool = False
    """Whether the browser takes a compressed page."""

    @property
    def now_ms(self) -> int:
        """Return the time of a visit to a page, by the clock of the store."""
        return int(self.console.state.clock.now_ms())

    def may(self, role: Role) -> bool:
        """Tell whether the operator of a page request has this role or a higher one."""
        return self.actor.role >= role

    def one(self, name: str) -> str:
        """Return a parameter of the query of a visited page; empty if it is missing."""
        return next(iter(self.query.get(name, ())), "")

    def check_query(
        self, known: Sequence[str], *, lists: Sequence[str] = (), buttons: Sequence[str] = ()
    ) -> None:
        """Check the query of a visited page as the HTTP API does; no message offers the names in `buttons`.

        Raises HTTPError, a 400.
        """
        query = {name: values for name, values in self.query.items() if name not in buttons}
        parameters.check_query(query, known, lists=lists)

    async def call(
        self,
        name: str,
        *,
        path: Mapping[str, str] | None = None,
        given: Mapping[str, Any] | None = None,
        key: str | None = None,
        version: str | None = None,
        raw: Collection[str] = (),
    ) -> Any:
        """Execute an operation of the HTTP API for a visit of an operator; return its response from JSON.

        `given` are texts for the query, or members of the body; None and empty texts are left out. `key` is
        the Idempotency-Key, `version` that of the object to change. Members named in `raw` stay encoded.

        Raises HTTPError for each response that is an error.
        """
        response = await self._perform(BY_NAME[name], path or {}, given or {}, key, version=version)
        assert isinstance(response, Response), name
        if not raw:
            return msgspec.json.decode(response.content)["response"]
        members = _members(response.content)["response"]
        return {
            name: bytes(value) if name in raw else msgspec.json.decode(value)
            for name, value in members.items()
        }

    async def ask(self, read: Callable[[Store], Awaitable[Result]]) -> Result:
        """Return the result of a function of `iogate.operators` that only reads, for a visited page.

        It gets the store for the project of the gateway, as operations do.

        Raises HTTPError, the 503, if the store does not answer, TimeoutError if it stops doing so, and as
        `read` does.
        """
        state = self.console.state
        store = await state.check_store()
        async with asyncio.timeout(LIMIT_S):
            return await read(store.of_project(state.settings.project))

    async def stream(self, name: str, *, path: Mapping[str, str], request: Request) -> Any:
        """Return the response of an operation that streams, for a page. Raises HTTPError for an error."""
        return await self._perform(BY_NAME[name], path, {}, None, request=request)

    async def _perform(
        self,
        operation: Operation,
        path: Mapping[str, str],
        given: Mapping[str, Any],
        key: str | None,
        *,
        version: str | None = None,
        request: Request | None = None,
    ) -> Any:
        values = {name: value for name, value in given.items() if value not in (None, "")}
        found = await self.console.api.perform(
            operation,
            self.actor,
            path=path,
            given=_read(operation, values),
            key=key,
            version=version,
            # While large data is redacted, the gateway looks whether the browser has left.
            request=request or self.request,
            scope=self.scope,
        )
        if isinstance(found, ErrorResponse):
            raise HTTPError(found)
        return found

    async def show(
        self, template: str, values: Mapping[str, Any], *, here: str, line: str, status: int = 200
    ) -> Response:
        """Return the response to a visit: a page. `here` is its navigation entry, `line` its command line."""
        return await self.console.show(self, template, {**values, "here": here, "line": line}, status=status)

    def done(self, url: str, outcome: str) -> Response:
        """Return the response to a form of a page: the page at `url`, which shows the outcome once."""
        return self._lead_to(url, FormOutcome(done=outcome))

    def ask_for_reason(self, url: str) -> Response:
        """Return the response to a form of a page without a reason: the page at `url`, with the form open."""
        return self._lead_to(url, form_outcome.without_reason(self.form))

    def _lead_to(self, url: str, outcome: FormOutcome) -> Response:
        console = self.console
        cookie, secure = console.sessions.outcome_cookie, console.is_secure(self.request)
        return redirect(url, [form_outcome.header(cookie, url, outcome, secure=secure)])

    def url_of(self, path: str) -> str:
        """Return the URL of a declared page from its path, with the values of the names in it."""
        return path.format(**{name: quote(value, safe=":") for name, value in self.path.items()})


def _read(operation: Operation, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of a page as the HTTP API reads them. Raises HTTPError: a 400 for an invalid one."""
    if operation.reads_body:
        headers = {b"content-type": b"application/json"}
        body = msgspec.json.encode(values)
        request = Request(method=operation.method, headers=headers, body=body, is_read=True)
    else:
        request = Request(method=operation.method, query=urlencode(values, doseq=True).encode())
    return parameters.read(operation, request)


def redirect(url: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> Response:
    """Return the response that makes a browser open a page of the console."""
    location = url.encode("ascii", "replace")
    return Response(SEE_OTHER, b"", [(b"location", location), *headers], content_type=b"text/plain")


def new_key() -> str:
    """Return an Idempotency-Key for a form of a page: a repeated submission changes nothing twice."""
    return secrets.token_hex(12)
