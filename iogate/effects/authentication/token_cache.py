"""Cache of the access tokens of one process: in memory until shortly before they expire, shared by policy.

Called by `call_credentials`. Concurrent callers wait for one request, which is cancelled when the last of
them is. Tokens are not stored: another process, or this one after a restart, requests new ones.

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

from iogate import json_values
from iogate.effects.authentication import discovery, grants
from iogate.effects.authentication.policies import OAuth
from iogate.effects.http import target_names
from iogate.effects.http.failures import CallFailed, call_error, convert_failures, status_phrase
from iogate.effects.http.request import Request
from iogate.effects.http.responses import Response
from iogate.effects.http.transport import Transport
from iogate.errors import WorkflowError

TIMEOUT_S: Final = 30.0
"""Timeout of all requests for one token, in seconds."""
DEFAULT_LIFETIME_S: Final = 300.0
"""Default lifetime of a token without `expires_in`; a 401 ends it sooner."""
MARGIN_S: Final = 30.0
"""A token is renewed this long before it expires, or at nine tenths of a shorter life."""
PROVIDER_LIFETIME_S: Final = 3600.0
MAX_ENTRIES: Final = 4096

_RETRIABLE: Final = frozenset({429, *range(500, 600)})
_ProviderKey = tuple[str, bool, bool]
_BEARER: Final = frozenset({"bearer", "n_a", ""})


@dataclass(frozen=True, kw_only=True, eq=False)
class Token:
    """An access token with its refresh token."""

    value: str = field(repr=False)
    fresh_until: float
    """Time on the monotonic clock."""
    refresh: str = field(default="", repr=False)


class TokenRefused(CallFailed):
    """The authorization server refused to issue a token."""

    def __init__(self, detail: str, sent_to: str | None = None) -> None:
        error = WorkflowError("authentication", title="Authentication failed", detail=detail, sent_to=sent_to)
        super().__init__(error, definite=False)  # the call itself was not made


class TokenCache:
    """Cache of access tokens and of discovered providers."""

    def __init__(self, transport: Transport, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._transport = transport
        self._clock = clock
        self._tokens: OrderedDict[str, Token] = OrderedDict()
        self._providers: OrderedDict[_ProviderKey, tuple[discovery.Provider, float]] = OrderedDict()
        self._pending: dict[str, _SharedRequest] = {}

    async def get(self, policy: OAuth) -> tuple[Token, bool]:
        """Return an access token, and whether it came from the cache.

        Raises CallFailed if no token can be obtained, and WorkflowError for an invalid policy.
        """
        cached = self._tokens.get(policy.key)
        if cached is not None and self._clock() < cached.fresh_until:
            self._tokens.move_to_end(policy.key)
            return cached, True
        pending = self._pending.get(policy.key)
        if pending is None:
            pending = _SharedRequest(asyncio.create_task(self._fetch_token(policy)))
            self._pending[policy.key] = pending
        try:
            return await pending.wait(), False
        finally:
            if pending.done and self._pending.get(policy.key) is pending:
                del self._pending[policy.key]

    def discard(self, policy: OAuth, token: Token) -> None:
        """Expire a cached token that the resource refused, unless another one has replaced it."""
        if self._tokens.get(policy.key) is token:
            self._tokens[policy.key] = replace(token, fresh_until=float("-inf"))

    async def _fetch_token(self, policy: OAuth) -> Token:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                provider = await self._provider(policy)
                started_at = self._clock()  # a token's lifetime begins before its response arrives
                grant = await self._request_grant(policy, provider)
                await self._check_issuer(policy, provider, grant)
        except CallFailed:
            self._providers.pop(_provider_key(policy), None)  # its endpoints may have changed
            raise
        except TimeoutError:
            detail = f"the authorization server gave no token within {TIMEOUT_S:g} s"
            raise call_error(detail, definite=False) from None
        token = self._token(policy, grant, started_at)
        self._tokens[policy.key] = token
        self._tokens.move_to_end(policy.key)
        while len(self._tokens) > MAX_ENTRIES:
            self._tokens.popitem(last=False)
        return token

    async def _provider(self, policy: OAuth) -> discovery.Provider:
        if not policy.discovered:
            return discovery.provider_of_policy(policy)
        key = _provider_key(policy)
        known = self._providers.get(key)
        if known is not None and self._clock() < known[1]:
            return known[0]
        provider = await discovery.discover_provider(policy, self._transport)
        self._providers[key] = provider, self._clock() + PROVIDER_LIFETIME_S
        self._providers.move_to_end(key)
        while len(self._providers) > MAX_ENTRIES:
            self._providers.popitem(last=False)
        return provider

    async def _request_grant(self, policy: OAuth, provider: discovery.Provider) -> Mapping[str, Any]:
        cached = self._tokens.get(policy.key)
        url = provider.token.url
        if cached is not None and cached.refresh:
            try:
                refreshed = await self._send(
                    grants.build_token_request(url, policy, refresh=cached.refresh), provider.token, "token"
                )
            except TokenRefused:
                self._tokens.pop(policy.key, None)  # the refresh token has expired: use the grant again
            else:
                return {"refresh_token": cached.refresh, **refreshed}
        return await self._send(grants.build_token_request(url, policy), provider.token, "token")

    async def _send(self, request: Request, endpoint: discovery.Endpoint, kind: str) -> Mapping[str, Any]:
        route = self._transport.route(endpoint.url, endpoint.trust)
        target = target_names.name_server(f"the {kind} endpoint", endpoint.url, route.url)
        async with convert_failures(target):
            response = await self._transport.exchange(
                request, route, wanted=lambda *_: True, cap=discovery.MAX_RESPONSE
            )
        return _parse_response(response, target)

    async def _check_issuer(
        self, policy: OAuth, provider: discovery.Provider, grant: Mapping[str, Any]
    ) -> None:
        if not policy.issuers:
            return
        issuer = grants.read_issuer(grant)
        if issuer is None and provider.introspection is not None:
            request = grants.build_introspection_request(
                provider.introspection.url, policy, str(grant.get("access_token"))
            )
            body = await self._send(request, provider.introspection, "introspection")
            if body.get("active") is False:
                raise TokenRefused("the authorization server reports its own token as inactive")
            issuer = body["iss"] if isinstance(body.get("iss"), str) else None
        issuer = issuer if issuer is not None else provider.issuer
        if issuer not in policy.issuers:
            defect = "does not name its issuer" if issuer is None else "has another issuer"
            raise TokenRefused(f'the token {defect}; "issuers" of {policy.scheme} lists the allowed issuers')

    def _token(self, policy: OAuth, grant: Mapping[str, Any], started_at: float) -> Token:
        value, kind = grant.get("access_token"), grant.get("token_type")
        if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
            raise call_error(
                "the token endpoint answered, but its answer holds no access_token", definite=False
            )
        if str(kind or "").lower() not in _BEARER:
            raise TokenRefused(
                f"the token of {policy.scheme} is not a bearer token, and no other kind is presented"
            )
        life = grant.get("expires_in")
        if isinstance(life, str) and life.isdecimal():
            life = int(life)  # some servers quote it
        if isinstance(life, bool) or not isinstance(life, int | float):
            life = DEFAULT_LIFETIME_S
        refresh = grant.get("refresh_token")
        return Token(
            value=value,
            fresh_until=started_at + max(0.0, life - min(MARGIN_S, life / 10)),
            refresh=refresh if isinstance(refresh, str) else "",
        )


def _provider_key(policy: OAuth) -> _ProviderKey:
    """Return the cache key of a provider: its address, and the trust in it."""
    return policy.authority, policy.computed, policy.foreign


def _parse_response(response: Response, target: target_names.TargetName) -> Mapping[str, Any]:
    """Evaluate a response for the token cache: 400, 401 and 403 are refusals, other errors retriable.

    Raises CallFailed unless the response is a JSON object with a 2xx status.
    """
    try:
        body = json_values.parse(response.body) if response.body else None
    except ValueError:
        body = None
    status = response.status
    summary = f"{target} answered {status_phrase(status)}{grants.describe_refusal(body)}"
    if status in {400, 401, 403}:
        raise TokenRefused(summary, target.sent_to)
    if not 200 <= status < 300:
        retriable = status if status in _RETRIABLE else 500
        raise call_error(summary, status=retriable, definite=False, sent_to=target.sent_to)
    if not isinstance(body, Mapping):
        detail = f"{target} answered, but its body is not a JSON object"
        raise call_error(detail, definite=False, sent_to=target.sent_to)
    if "error" in body and "access_token" not in body:
        raise TokenRefused(summary, target.sent_to)
    return body


class _SharedRequest:
    """One request for a token, shared by its waiting callers."""

    def __init__(self, task: asyncio.Task[Token]) -> None:
        self._task = task
        self._waiting = 0

    @property
    def done(self) -> bool:
        return self._task.done() or not self._waiting

    async def wait(self) -> Token:
        self._waiting += 1
        try:
            return await asyncio.shield(self._task)
        finally:
            self._waiting -= 1
            if not self._waiting and not self._task.done():
                self._task.cancel()
