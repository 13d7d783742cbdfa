"""Credentials of calls, and their retry after a 401.

Called by `http_calls` for each hop of a call. A credential serves one call; tokens and nonces, which outlive
it, are in the process's `Authenticator`.
"""

from __future__ import annotations

import base64
import hashlib
from collections import OrderedDict
from typing import Final, Protocol, assert_never

from multidict import CIMultiDict
from yarl import URL

from iogate.effects.authentication import digest, policies
from iogate.effects.authentication.token_cache import Token, TokenCache
from iogate.effects.http.transport import Transport
from iogate.engine.commands import Authentication

MAX_NONCES: Final = 1024
"""Maximum number of pairs of origin and user whose nonces are kept."""
MAX_NONCES_PER_USER: Final = 64

IdleSessions = OrderedDict[str, list[digest.Session]]
"""Sessions of digest authentication that no call uses at present, by origin and user."""


class Credential(Protocol):
    """Credential of one call."""

    async def present(self, method: str, url: URL) -> str | None:
        """Return the credential of a call as `Authorization`; None if the server must send a challenge first.

        Raises CallFailed and WorkflowError.
        """

    def handle_unauthorized(self, headers: CIMultiDict[str]) -> bool:
        """Record that a call with this credential got a 401; return whether to repeat it, exactly once."""

    def handle_accepted(self) -> None:
        """Record that a call with this credential got any other response."""


class Authenticator:
    """Factory of credentials, with all tokens and nonces of one process."""

    def __init__(self, transport: Transport, *, tokens: TokenCache | None = None) -> None:
        self._tokens = tokens if tokens is not None else TokenCache(transport)
        self._idle_sessions: IdleSessions = OrderedDict()

    def credential(self, authentication: Authentication) -> Credential:
        """Create the credential for one HTTP call of a workflow.

        Raises WorkflowError, of type configuration, for an incomplete policy.
        """
        policy = policies.parse_policy(authentication)
        match policy:
            case policies.Basic(username=username, password=password):
                pair = base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
                return _StaticCredential(f"Basic {pair}")
            case policies.Bearer(token=token):
                return _StaticCredential(f"Bearer {token}")
            case policies.Digest():
                return _DigestCredential(policy, self._idle_sessions)
            case policies.OAuth():
                return _TokenCredential(policy, self._tokens)
            case _:
                assert_never(policy)


class _StaticCredential:
    """Basic or bearer credential: the same for every request."""

    def __init__(self, value: str) -> None:
        self._value = value

    async def present(self, method: str, url: URL) -> str:
        del method, url
        return self._value

    def handle_unauthorized(self, headers: CIMultiDict[str]) -> bool:
        del headers
        return False

    def handle_accepted(self) -> None:
        pass


class _DigestCredential:
    """Digest credential: responds to a challenge, if possible to that of an earlier call to the same origin.

    A nonce serves one call at a time: servers count its uses, and concurrent calls may arrive in another
    order.
    """

    def __init__(self, policy: policies.Digest, idle: IdleSessions) -> None:
        self._policy = policy
        self._idle_sessions = idle
        self._session: digest.Session | None = None
        self._key = ""
        self._challenged = False
        """Whether this call has responded to a challenge."""

    async def present(self, method: str, url: URL) -> str | None:
        if self._session is None:
            place = f"{url.origin()}\n{self._policy.username}\n{self._policy.password}"
            self._key = hashlib.sha256(place.encode()).hexdigest()
            idle = self._idle_sessions.get(self._key)
            self._session = idle.pop() if idle else None
        return None if self._session is None else self._session.authorize(method, url.raw_path_qs)

    def handle_unauthorized(self, headers: CIMultiDict[str]) -> bool:
        challenges = digest.parse_challenges(headers.getall("WWW-Authenticate", []))
        self._session = None
        if self._challenged and not digest.is_stale(challenges):
            return False  # the password is wrong
        self._session = digest.open_session(self._policy, challenges)
        self._challenged = True
        return self._session is not None

    def handle_accepted(self) -> None:
        if self._session is not None:
            idle = self._idle_sessions.setdefault(self._key, [])
            idle.append(self._session)
            del idle[:-MAX_NONCES_PER_USER]
            self._idle_sessions.move_to_end(self._key)
            while len(self._idle_sessions) > MAX_NONCES:
                self._idle_sessions.popitem(last=False)
            self._session = None


class _TokenCredential:
    """Credential of OAuth 2.0 and OpenID Connect: a token, replaced if the resource refuses a cached one."""

    def __init__(self, policy: policies.OAuth, tokens: TokenCache) -> None:
        self._policy = policy
        self._tokens = tokens
        self._token: Token | None = None
        self._kept = False

    async def present(self, method: str, url: URL) -> str:
        del method, url
        if self._token is None:
            self._token, self._kept = await self._tokens.get(self._policy)
        return f"Bearer {self._token.value}"

    def handle_unauthorized(self, headers: CIMultiDict[str]) -> bool:
        del headers
        if self._token is not None:
            self._tokens.discard(self._policy, self._token)
        kept, self._kept, self._token = self._kept, False, None
        return kept

    def handle_accepted(self) -> None:
        pass
