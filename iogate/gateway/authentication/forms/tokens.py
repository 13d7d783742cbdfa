"""Form `token`: a secret text of its own for each caller, in the header `token` or as a bearer token."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from iogate.auth.model import JwtAuth, StoredSecret, TokenAuth
from iogate.gateway.authentication.forms.form import HeaderForm, Setup
from iogate.gateway.authentication.request_credentials import BEARER, Credential, is_jwt, to_text
from iogate.security.secrets import Verifier

if TYPE_CHECKING:
    from iogate.gateway.http.request import Request

_TOKEN: Final = b"token"
_AUTHORIZATION: Final = b"authorization"


class Tokens(HeaderForm):
    """Tokens of one API."""

    kind = label = "Token"
    carrier = BEARER
    stripped = frozenset({_TOKEN})

    def __init__(self, tokens: Mapping[str, Sequence[str]], setup: Setup) -> None:
        self._verifier = Verifier(tokens, hashing=setup.hashing)
        self.work = self._verifier.token_work
        self._leaves_jwts = JwtAuth in setup.declared

    @classmethod
    def build(cls, declared: Sequence[TokenAuth[StoredSecret]], setup: Setup) -> Tokens | None:
        """Build the form `token` of its declarations; None if this machine has none of the secrets."""
        tokens: dict[str, list[str]] = {}
        for each in declared:
            setup.secrets.read(each.tokens, tokens)
            setup.callers.claim("token", each.tokens)
        return cls(tokens, setup) if tokens else None

    def takes(self, value: bytes) -> bool:
        return not (self._leaves_jwts and is_jwt(value))

    def authenticate(self, value: bytes, address: str) -> Awaitable[str | None]:
        return self._verifier.token(to_text(value), address=address)

    def known_caller(self, credential: Credential) -> str | None:
        return self._verifier.known_caller(credential.hashed)

    async def verify(self, credential: Credential) -> str | None:
        return await self._verifier.verify(credential.hashed)

    def quick_caller(self, request: Request) -> str | None:
        # Most calls are of this kind; it takes a third of the time of `authenticate`.
        headers = request.headers
        if request.repeated or _AUTHORIZATION in headers:
            return None
        token = headers.get(_TOKEN)
        return self._verifier.quick_token(token) if token else None
