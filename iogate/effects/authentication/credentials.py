"""Credentials of calls, and their retry after a 401.

Called by `calls` for each hop of a call. A credential serves one call; tokens and nonces, which outlive it,
are in the process's `Authenticator`.
"""

from __future__ import annotations

import base64
import hashlib
from collections import OrderedDict
from typing import Final, Protocol, assert_never

from multidict import CIMultiDict
from yarl import URL

from iogate.effects.authentication import digest, policies
from iogate.effects.authentication.tokens import Token, Tokens
from iogate.effects.http.transport import Transport
from iogate.engine.commands import Authentication

NONCES: Final = 1024
"""Maximum number of pairs of origin and user whose nonces are kept."""
NONCES_OF_ONE: Final = 64

Idle = OrderedDict[str, list[digest.Session]]
"""Sessions of digest authentication that no call uses at present, by origin and user."""


class Credential(Protocol):
    """Credential of one call."""

    async def present(self, method: str, url: URL) -> str | None:
        """Return the value of `Authorization`; None if the server has to send a challenge first.

        Raises CallFailed and WorkflowError.
        """

    def refused(self, headers: CIMultiDict[str]) -> bool:
        """Record a 401, and return whether to try exactly once more."""

    def accepted(self) -> None:
        """Record any other response."""


class Authenticator:
    """Factory of credentials, with all tokens and nonces of one process."""

    def __init__(self, transport: Transport, *, tokens: Tokens | None = None) -> None:
        self._tokens = tokens if tokens is not None else Tokens(transport)
        self._idle: Idle = OrderedDict()

    def credential(self, authentication: Authentication) -> Credential:
        """Create the credential of one call.

        Raises WorkflowError, of type configuration, for an incomplete policy.
        """
        policy = policies.read(authentication)
        match policy:
            case policies.Basic(username=username, password=password):
                pair = base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
                return _Fixed(f"Basic {pair}")
            case policies.Bearer(token=token):
                return _Fixed(f"Bearer {token}")
            case policies.Digest():
                return _Answering(policy, self._idle)
            case policies.OAuth():
                return _Bearing(policy, self._tokens)
            case _:
                assert_never(policy)


class _Fixed:
    """Basic or bearer credential: the same for every request."""

    def __init__(self, value: str) -> None:
        self._value = value

    async def present(self, method: str, url: URL) -> str:
        del method, url
        return self._value

    def refused(self, headers: CIMultiDict[str]) -> bool:
        del headers
        return False

    def accepted(self) -> None:
        pass


class _Answering:
    """Digest credential: responds to a challenge, if possible to that of an earlier call to the same origin.

    A nonce serves one call at a time: servers count its uses, and concurrent calls may arrive in another
    order.
    """

    def __init__(self, policy: policies.Digest, idle: Idle) -> None:
        self._policy = policy
        self._idle = idle
        self._session: digest.Session | None = None
        self._key = ""
        self._challenged = False
        """Whether this call has responded to a challenge."""

    async def present(self, method: str, url: URL) -> str | None:
        if self._session is None:
            place = f"{url.origin()}\n{self._policy.username}\n{self._policy.password}"
            self._key = hashlib.sha256(place.encode()).hexdigest()
            waiting = self._idle.get(self._key)
            self._session = waiting.pop() if waiting else None
        return None if self._session is None else self._session.answer(method, url.raw_path_qs)

    def refused(self, headers: CIMultiDict[str]) -> bool:
        offered = digest.challenges(headers.getall("WWW-Authenticate", []))
        self._session = None
        if self._challenged and not digest.stale(offered):
            return False  # the password is wrong
        self._session = digest.session(self._policy, offered)
        self._challenged = True
        return self._session is not None

    def accepted(self) -> None:
        if self._session is not None:
            waiting = self._idle.setdefault(self._key, [])
            waiting.append(self._session)
            del waiting[:-NONCES_OF_ONE]
            self._idle.move_to_end(self._key)
            while len(self._idle) > NONCES:
                self._idle.popitem(last=False)
            self._session = None


class _Bearing:
    """Credential of OAuth 2.0 and OpenID Connect: a token, replaced if the resource refuses a cached one."""

    def __init__(self, policy: policies.OAuth, tokens: Tokens) -> None:
        self._policy = policy
        self._tokens = tokens
        self._token: Token | None = None
        self._kept = False

    async def present(self, method: str, url: URL) -> str:
        del method, url
        if self._token is None:
            self._token, self._kept = await self._tokens.get(self._policy)
        return f"Bearer {self._token.value}"

    def refused(self, headers: CIMultiDict[str]) -> bool:
        del headers
        if self._token is not None:
            self._tokens.discard(self._policy, self._token)
        kept, self._kept, self._token = self._kept, False, None
        return kept

    def accepted(self) -> None:
        pass
