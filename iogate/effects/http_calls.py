"""Performs `call: http`: requests, redirects and authentication, to one output or one error.

Called by `dispatcher`, and by `document_fetcher` for documents that workflows refer to. A call is one
request, or more if it is redirected or the receiver asks for credentials first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from multidict import CIMultiDict
from yarl import URL

from iogate.compiler.resources.document_addresses import as_template
from iogate.effects.authentication import Authenticator, Credential
from iogate.effects.authentication.digest import Challenge, parse_challenges
from iogate.effects.http import failures, responses, target_names, urls
from iogate.effects.http.address_policy import ForbiddenAddress, Trust, lower_trust
from iogate.effects.http.failures import FOLLOWED, CallFailed, UnexpectedStatus
from iogate.effects.http.request import Request, build_request
from iogate.effects.http.responses import Response
from iogate.effects.http.span_facts import describe_request
from iogate.effects.http.transport import Outside, Route, Transport
from iogate.engine.commands import CallHttp
from iogate.errors import WorkflowError
from iogate.security.redaction import Redactor

if TYPE_CHECKING:
    from iogate.telemetry.tracing import Span

MAX_REDIRECTS: Final = 10

MAX_RESPONSE: Final = 10 * 1024 * 1024
"""Maximum size of a response's body after decompression, in bytes."""


_CODE: Final = re.compile(r"[A-Za-z_]{1,40}")
_MAX_SCHEME_LENGTH: Final = 20
_METHODS: Final = re.compile(r"[A-Z]{1,16}(?:\s*,\s*[A-Z]{1,16}){0,15}")


@dataclass(frozen=True, kw_only=True)
class CallResult:
    """Result of a call."""

    output: Any
    authorization: Mapping[str, Any] | None = None
    """Value of `$authorization` for the call: `scheme` and `parameter`. Never stored."""


class HttpCalls:
    """HTTP calls of one process, with their connections and tokens."""

    def __init__(
        self,
        *,
        allow_hosts: Sequence[str] = (),
        endpoints: Mapping[str, str] | None = None,
        redis_url: str | None = None,
        max_response: int = MAX_RESPONSE,
        redactor: Callable[[], Redactor] = Redactor,
        outside: Outside | None = None,
    ) -> None:
        self._transport = Transport(
            allow_hosts=allow_hosts, endpoints=endpoints, redis_url=redis_url, outside=outside
        )
        self._authenticator = Authenticator(self._transport)
        self._max_response = max_response
        self._redactor = redactor

    def rewrites(self, url: str) -> bool:
        """Tell whether HTTP calls to this URL are rewritten by the setting `endpoints`."""
        return self._transport.rewrites(url)

    async def close(self) -> None:
        await self._transport.close()

    async def call(
        self,
        call: CallHttp,
        *,
        idempotency_key: str,
        at_most_once: bool = False,
        trace: str = "",
        span: Span | None = None,
    ) -> CallResult:
        """Make an HTTP call and return its output; it passes on the trace context `trace`.

        With `at_most_once`, no request is repeated after a broken connection. A `span` gets method, server
        and status of the call. Raises only CallFailed, or CancelledError after the connection is closed.
        """
        try:
            exchange = self._exchange(call, idempotency_key, trace, at_most_once=at_most_once)
            if span is not None:
                describe_request(span, call, exchange.request)
                exchange.span = span
            received = await exchange.run()
            async with failures.convert_failures(exchange.target):
                output = responses.to_output(received, mode=call.output, request=exchange.request.redacted())
        except WorkflowError as error:
            raise CallFailed(error, definite=False) from None
        return CallResult(output=output, authorization=exchange.authorization)

    async def fetch(self, call: CallHttp, may_follow: Callable[[str], bool] | None = None) -> bytes:
        """Make an HTTP call and return the unchanged body of the response.

        `may_follow` tells whether to follow a redirect to a URL; None follows all. Raises CallFailed.
        """
        exchange = self._exchange(call, "")
        exchange.may_follow = may_follow
        try:
            return (await exchange.run()).body
        except WorkflowError as error:
            raise CallFailed(error, definite=False) from None

    def _exchange(
        self, call: CallHttp, idempotency_key: str, trace: str = "", *, at_most_once: bool = False
    ) -> _Exchange:
        request = build_request(call, idempotency_key=idempotency_key, trace=trace, at_most_once=at_most_once)
        credential = None
        if call.authentication is not None:
            credential = self._authenticator.credential(call.authentication)
            if "Authorization" in request.headers:
                credential = None  # the author's own header has priority
        return _Exchange(self._transport, call, request, credential, self._max_response, self._redactor)


class _Exchange:
    """One call in progress: the request of the next hop, and its credential."""

    def __init__(
        self,
        transport: Transport,
        call: CallHttp,
        request: Request,
        credential: Credential | None,
        cap: int,
        redactor: Callable[[], Redactor],
    ) -> None:
        self._transport = transport
        self._call = call
        self._credential = credential
        self._presented = ""
        self._cap = cap
        self._redactor = redactor
        self._redirected_from = ""
        self._written_url: URL | None = None
        self.may_follow: Callable[[str], bool] | None = None
        self.span: Span | None = None
        self.request = request
        self.target = target_names.TargetName(f"{request.method} {request.url.origin()}")

    @property
    def authorization(self) -> dict[str, Any] | None:
        scheme, _, parameter = self._presented.partition(" ")
        return {"scheme": scheme, "parameter": parameter} if scheme else None

    async def run(self) -> Response:
        """Send the requests of an HTTP call, follow redirects, and return the response. Raises CallFailed."""
        trust = Trust.REDIRECTED if self._call.foreign else Trust.REVIEWED
        if self._call.computed:
            trust = Trust.COMPUTED
        for _ in range(MAX_REDIRECTS + 1):
            route = self._transport.route(self.request.url, trust)
            self.target = target_names.name_target(
                self.request.method, self._call.address, self._written_url or self.request.url, route.url
            )
            if self._redirected_from:
                self.target = replace(self.target, text=self._redirected_from)
            async with failures.convert_failures(self.target):
                try:
                    received = await self._send_with_retry(route)
                except ForbiddenAddress as reason:
                    raise ForbiddenAddress(f"{reason}{_suggest_template(self._call.address)}") from None
                status, headers = received.status, received.headers
                if self.span is not None:
                    self.span.set("http.response.status_code", status)
                if not self._redirected(status, headers):
                    if not self._accepted(status):
                        response = responses.redact_error_response(received, self._redactor())
                        raise UnexpectedStatus(status, self._hint(received), response)
                    return received
                location = _resolve_location(route.url, headers["Location"])
                self._check(route, location)
                trust = self._follow(route, location, status, trust)
        detail = f"{self.target} was redirected more than {MAX_REDIRECTS} times"
        raise failures.call_error(detail, definite=True, sent_to=self.target.sent_to)

    async def _send_with_retry(self, route: Route) -> Response:
        received = await self._send(route)
        credential = self._credential
        if credential is None:
            return received
        if received.status == 401 and credential.handle_unauthorized(received.headers):
            received = await self._send(route)
        if received.status != 401:
            credential.handle_accepted()
        return received

    async def _send(self, route: Route) -> Response:
        request = self.request
        if self._credential is not None:
            value = await self._credential.present(request.method, route.url)
            if value is not None:
                self._presented = value
                headers = request.headers.copy()
                headers["Authorization"] = value
                request = replace(request, headers=headers)
        return await self._transport.exchange(request, route, wanted=self._wanted, cap=self._cap)

    def _redirected(self, status: int, headers: Mapping[str, str]) -> bool:
        return self._call.redirect and status in FOLLOWED and bool(headers.get("Location"))

    def _accepted(self, status: int) -> bool:
        """Tell whether a status of an HTTP call is an output; 3xx is one without a Location to follow."""
        return 200 <= status < (400 if self._call.redirect else 300)

    def _wanted(self, status: int, headers: Mapping[str, str]) -> bool:
        return self._accepted(status) and not self._redirected(status, headers)

    def _check(self, route: Route, location: URL) -> None:
        """Check that this HTTP call follows the redirect.

        Raises CallFailed if it does not.
        """
        if self.may_follow is None:
            return
        written = location
        if location.origin() == route.url.origin():
            written = self.request.url.origin().join(location.relative())
        if not self.may_follow(str(written)):
            raise failures.call_error(
                f"{self.target} led to {written.with_query(None)}, which function_origins does not name",
                definite=True,
                sent_to=self.target.sent_to,
            )

    def _follow(self, route: Route, location: URL, status: int, trust: Trust) -> Trust:
        """Prepare an HTTP call's request for a redirect, and return the trust in its target.

        A redirect within one origin comes from the same server: it keeps trust and credentials. That server
        has two names if `endpoints` rewrites the written one.
        """
        origin, written = location.origin(), self.request.url.origin()
        same = origin in {route.url.origin(), written}
        if origin == route.url.origin():
            # Errors keep naming the server as it is written, also if `endpoints` gave it another name.
            self._written_url = self._written_url or self.request.url
        else:
            self._written_url = None
        if not same:
            self._credential = None
            self._redirected_from = f"{self.target}, redirected to {origin},"
        self.request = self.request.redirected(location, status=status, same_origin=same)
        if origin == route.url.origin():
            return route.trust
        return trust if origin == written else lower_trust(trust, Trust.REDIRECTED)

    def _hint(self, received: Response) -> str:
        """Return advice for a refused status of a call, from the headers of the response."""
        headers = received.headers
        match received.status:
            case 401 | 403 if self._redirected_from and self._call.authentication is not None:
                return "it is another origin, to which the credentials of the call are not sent"
            case 401:
                return _explain_unauthorized(self._call, headers)
            case 403 if self._call.authentication is not None:
                return f"it does not allow this to the credentials that it was given{_error_code(headers)}"
            case 405 if allowed := _METHODS.fullmatch(headers.get("Allow", "")):
                return f"it takes {allowed[0]}"
            case 429 | 503 if (after := headers.get("Retry-After", "")).isdecimal() and len(after) < 8:
                return f"it asks to be called again after {after} s"
            case _:
                return ""


def _explain_unauthorized(call: CallHttp, headers: CIMultiDict[str]) -> str:
    """Return advice for an HTTP call that got a 401, from the schemes that the server asks for."""
    asked = [
        *dict.fromkeys(
            each.scheme for each in _read_challenges(headers) if len(each.scheme) <= _MAX_SCHEME_LENGTH
        )
    ][:4]
    wants = f"it asks for {' or '.join(asked)}" if asked else ""
    if call.authentication is None:
        return f'{wants or "it wants credentials"}: name them as "authentication" of the endpoint'
    given = call.authentication.scheme
    meant = {"oauth2": "bearer", "oidc": "bearer"}.get(given, given)
    if asked and meant not in asked:
        return f"{wants}, and the call has {given} authentication"
    return f"it does not accept the credentials of the {given} authentication{_error_code(headers)}"


def _error_code(headers: CIMultiDict[str]) -> str:
    """Return the error code of a call's response that refuses a token (RFC 6750), without its free text."""
    codes = [each.parameters.get("error", "") for each in _read_challenges(headers)]
    return next((f" ({code})" for code in codes if _CODE.fullmatch(code)), "")


def _read_challenges(headers: CIMultiDict[str]) -> list[Challenge]:
    return parse_challenges(headers.getall("WWW-Authenticate", []))


def _resolve_location(url: URL, location: str) -> URL:
    try:
        target = url.join(urls.parse(location))
        if target.scheme in {"http", "https"} and target.raw_host:
            return target.with_fragment(None)
    except ValueError:
        pass
    raise failures.BadRedirect


def _suggest_template(address: str) -> str:
    """Return advice for an HTTP call: write `${ "https://host/" + .item }` with a literal host."""
    template = target_names.redact_address(as_template(address))
    return f"; or write the host outside of the expression: {template}" if template else ""
