"""Cache of the access tokens of one process: in memory until shortly before they expire, shared by policy.

Called by `credentials`. Concurrent callers wait for one request, which is cancelled when the last of them
is. Tokens are not stored: another process, or this one after a restart, requests new ones.

    get ── held and fresh ────────────────────────────────────► token
      │                                                           ▲
      └─ under way, or begun: refresh token, else the grant ──────┘
    discard: the resource refused the token; its refresh token is kept
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from iogate.effects import values
from iogate.effects.authentication import discovery, grants
from iogate.effects.authentication.policies import OAuth
from iogate.effects.http import naming
from iogate.effects.http.failures import CallFailed, failed, failures, phrase
from iogate.effects.http.request import Request
from iogate.effects.http.responses import Received
from iogate.effects.http.transport import Transport
from iogate.errors import WorkflowError

LIMIT_S: Final = 30.0
"""Timeout of all requests for one token, in seconds."""
UNTOLD_S: Final = 300.0
"""Default lifetime of a token without `expires_in`; a 401 ends it sooner."""
MARGIN_S: Final = 30.0
"""A token is renewed this long before it expires, or at nine tenths of a shorter life."""
PROVIDER_S: Final = 3600.0
HELD: Final = 4096

_RETRIABLE: Final = frozenset({429, *range(500, 600)})
_Place = tuple[str, bool, bool]
_BEARER: Final = frozenset({"bearer", "n_a", ""})


@dataclass(frozen=True, kw_only=True, eq=False)
class Token:
    """An access token with its refresh token."""

    value: str = field(repr=False)
    fresh_until: float
    """Time on the monotonic clock."""
    refresh: str = field(default="", repr=False)


class Refused(CallFailed):
    """The authorization server refused to issue a token."""

    def __init__(self, detail: str, sent_to: str | None = None) -> None:
        error = WorkflowError("authentication", title="Authentication failed", detail=detail, sent_to=sent_to)
        super().__init__(error, definite=False)  # the call itself was not made


class Tokens:
    """Cache of access tokens and of discovered providers."""

    def __init__(self, transport: Transport, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._transport = transport
        self._clock = clock
        self._held: OrderedDict[str, Token] = OrderedDict()
        self._providers: OrderedDict[_Place, tuple[discovery.Provider, float]] = OrderedDict()
        self._flights: dict[str, _Flight] = {}

    async def get(self, policy: OAuth) -> tuple[Token, bool]:
        """Return a token, and whether it came from the cache.

        Raises CallFailed if no token can be obtained, and WorkflowError for an invalid policy.
        """
        held = self._held.get(policy.key)
        if held is not None and self._clock() < held.fresh_until:
            self._held.move_to_end(policy.key)
            return held, True
        flight = self._flights.get(policy.key)
        if flight is None:
            flight = _Flight(asyncio.create_task(self._obtain(policy)))
            self._flights[policy.key] = flight
        try:
            return await flight.join(), False
        finally:
            if flight.over and self._flights.get(policy.key) is flight:
                del self._flights[policy.key]

    def discard(self, policy: OAuth, token: Token) -> None:
        """Expire a token that the resource refused, unless another one has replaced it."""
        if self._held.get(policy.key) is token:
            self._held[policy.key] = replace(token, fresh_until=float("-inf"))

    async def _obtain(self, policy: OAuth) -> Token:
        try:
            async with asyncio.timeout(LIMIT_S):
                provider = await self._provider(policy)
                begun = self._clock()  # a token's lifetime begins before its response arrives
                answer = await self._answer(policy, provider)
                await self._check_issuer(policy, provider, answer)
        except CallFailed:
            self._providers.pop(_place(policy), None)  # its endpoints may have changed
            raise
        except TimeoutError:
            detail = f"the authorization server gave no token within {LIMIT_S:g} s"
            raise failed(detail, definite=False) from None
        token = self._token(policy, answer, begun)
        self._held[policy.key] = token
        self._held.move_to_end(policy.key)
        while len(self._held) > HELD:
            self._held.popitem(last=False)
        return token

    async def _provider(self, policy: OAuth) -> discovery.Provider:
        if not policy.discovered:
            return discovery.by_rule(policy)
        key = _place(policy)
        known = self._providers.get(key)
        if known is not None and self._clock() < known[1]:
            return known[0]
        provider = await discovery.discover(policy, self._transport)
        self._providers[key] = provider, self._clock() + PROVIDER_S
        self._providers.move_to_end(key)
        while len(self._providers) > HELD:
            self._providers.popitem(last=False)
        return provider

    async def _answer(self, policy: OAuth, provider: discovery.Provider) -> Mapping[str, Any]:
        held = self._held.get(policy.key)
        url = provider.token.url
        if held is not None and held.refresh:
            try:
                refreshed = await self._ask(
                    grants.request(url, policy, refresh=held.refresh), provider.token, "token"
                )
            except Refused:
                self._held.pop(policy.key, None)  # the refresh token has expired: use the grant again
            else:
                return {"refresh_token": held.refresh, **refreshed}
        return await self._ask(grants.request(url, policy), provider.token, "token")

    async def _ask(self, request: Request, endpoint: discovery.Endpoint, what: str) -> Mapping[str, Any]:
        route = self._transport.route(endpoint.url, endpoint.trust)
        shown = naming.server(f"the {what} endpoint", endpoint.url, route.url)
        async with failures(shown):
            received = await self._transport.exchange(
                request, route, wanted=lambda *_: True, cap=discovery.MAX_ANSWER
            )
        return _read(received, shown)

    async def _check_issuer(
        self, policy: OAuth, provider: discovery.Provider, answer: Mapping[str, Any]
    ) -> None:
        if not policy.issuers:
            return
        found = grants.issuer(answer)
        if found is None and provider.introspection is not None:
            question = grants.introspection(
                provider.introspection.url, policy, str(answer.get("access_token"))
            )
            said = await self._ask(question, provider.introspection, "introspection")
            if said.get("active") is False:
                raise Refused("the authorization server reports its own token as inactive")
            found = said["iss"] if isinstance(said.get("iss"), str) else None
        found = found if found is not None else provider.issuer
        if found not in policy.issuers:
            told = "does not name its issuer" if found is None else "has another issuer"
            raise Refused(f'the token {told}; "issuers" of {policy.scheme} lists the allowed issuers')

    def _token(self, policy: OAuth, answer: Mapping[str, Any], begun: float) -> Token:
        value, kind = answer.get("access_token"), answer.get("token_type")
        if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
            raise failed("the token endpoint answered, but its answer holds no access_token", definite=False)
        if str(kind or "").lower() not in _BEARER:
            raise Refused(
                f"the token of {policy.scheme} is not a bearer token, and no other kind is presented"
            )
        life = answer.get("expires_in")
        if isinstance(life, str) and life.isdecimal():
            life = int(life)  # some servers quote it
        if isinstance(life, bool) or not isinstance(life, int | float):
            life = UNTOLD_S
        refresh = answer.get("refresh_token")
        return Token(
            value=value,
            fresh_until=begun + max(0.0, life - min(MARGIN_S, life / 10)),
            refresh=refresh if isinstance(refresh, str) else "",
        )


def _place(policy: OAuth) -> _Place:
    """Return the cache key of a provider: its address, and the trust in it."""
    return policy.authority, policy.computed, policy.foreign


def _read(received: Received, shown: naming.Called) -> Mapping[str, Any]:
    """Evaluate a response of the authorization server: 400, 401 and 403 are refusals, other errors retriable.

    Raises CallFailed unless the response is a JSON object with a 2xx status.
    """
    try:
        said = values.parse(received.body) if received.body else None
    except ValueError:
        said = None
    status = received.status
    answered = f"{shown} answered {phrase(status)}{grants.refusal(said)}"
    if status in {400, 401, 403}:
        raise Refused(answered, shown.sent_to)
    if not 200 <= status < 300:
        retriable = status if status in _RETRIABLE else 500
        raise failed(answered, status=retriable, definite=False, sent_to=shown.sent_to)
    if not isinstance(said, Mapping):
        detail = f"{shown} answered, but its body is not a JSON object"
        raise failed(detail, definite=False, sent_to=shown.sent_to)
    if "error" in said and "access_token" not in said:
        raise Refused(answered, shown.sent_to)
    return said


class _Flight:
    """One request for a token, shared by its waiting callers."""

    def __init__(self, task: asyncio.Task[Token]) -> None:
        self._task = task
        self._waiting = 0

    @property
    def over(self) -> bool:
        return self._task.done() or not self._waiting

    async def join(self) -> Token:
        self._waiting += 1
        try:
            return await asyncio.shield(self._task)
        finally:
            self._waiting -= 1
            if not self._waiting and not self._task.done():
                self._task.cancel()
