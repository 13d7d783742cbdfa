"""Form `jwt`: bearer tokens that issuers have signed (RFC 7519).

`authentication.jwt` has the policy about the tokens of one issuer; this module asks all issuers of an API,
limits the wrong tokens of an address, and makes the responses of RFC 6750.
"""

from __future__ import annotations

from collections.abc import Sequence

from iogate.auth.model import JwtAuth, StoredSecret
from iogate.gateway.authentication import jwt_verifier
from iogate.gateway.authentication.forms.form import (
    BEARER_CHALLENGE,
    Header,
    HeaderForm,
    InvalidCredentials,
    Setup,
)
from iogate.gateway.authentication.jwt_keys import UnusableKeys
from iogate.gateway.authentication.jwt_verifier import INVALID, REASONS, JwtVerifier, Rejection
from iogate.gateway.authentication.request_credentials import BEARER, Credential
from iogate.gateway.http.responses import KEYS_MISSING, ErrorResponse, HTTPError
from iogate.security.password_hashing import Hashing


class Jwts(HeaderForm):
    """JWTs of all issuers of one API."""

    kind, label = "JWT", "Token"
    carrier = BEARER
    stripped = frozenset({b"token"})

    def __init__(self, verifiers: Sequence[JwtVerifier], hashing: Hashing) -> None:
        self._verifiers, self._hashing = tuple(verifiers), hashing
        self._rejected: dict[Rejection, ErrorResponse] = {}

    @classmethod
    def build(cls, declared: Sequence[JwtAuth[StoredSecret]], setup: Setup) -> Jwts:
        """Build the form `jwt` of its declarations in the API."""
        verifiers = [
            jwt_verifier.build(
                each, setup.key_sets, setup.secrets.texts, prefix=setup.callers.jwt_prefix(each)
            )
            for each in declared
        ]
        return cls(verifiers, setup.hashing or Hashing())

    @property
    def unset(self) -> tuple[str, ...]:
        """Messages about keys for the form `jwt` that are missing on this machine, each once."""
        return tuple(dict.fromkeys(message for each in self._verifiers for message in each.unset))

    def set_challenges(self, challenges: Sequence[Header]) -> None:
        """Prepare the responses to JWTs that are not accepted, with the challenges of all forms."""
        others = [each for each in challenges if each != BEARER_CHALLENGE]
        rejections = (*REASONS, *(each.no_scope for each in self._verifiers))
        self._rejected = {each: _response(each, others) for each in rejections}

    def is_self_contained(self, credential: Credential) -> bool:
        return credential.is_jwt

    async def authenticate(self, value: bytes, address: str) -> str:
        try:
            found = await self._authenticate(value, address)
        except UnusableKeys:
            raise HTTPError(KEYS_MISSING) from None
        if isinstance(found, str):
            return found
        raise InvalidCredentials(self._rejected[found])

    def known_caller(self, credential: Credential) -> str | None:
        """Return the caller of a JWT with a signature that was verified before, else None."""
        found = self._known(credential.value)
        return found if isinstance(found, str) else None

    async def verify(self, credential: Credential) -> str | None:
        if not credential.is_jwt:
            return None
        try:
            found = await self._verify(credential.value)
        except UnusableKeys:
            raise HTTPError(KEYS_MISSING) from None
        return found if isinstance(found, str) else None

    async def _authenticate(self, token: bytes, address: str) -> str | Rejection:
        """Authenticate a JWT as `_verify` does; one without a valid signature is a failure of its address.

        Raises UnusableKeys, and Busy for an address with too many failures.
        """
        known = self._known(token)
        if known is not None:
            return known
        # Before the signature is verified, since that takes a tenth of a millisecond.
        self._hashing.count_attempt(address)
        try:
            found = await self._verify(token)
        except UnusableKeys:
            self._hashing.succeeded(address)
            raise
        if isinstance(found, str) or found.is_signed:
            self._hashing.succeeded(address)
        return found

    def _known(self, token: bytes) -> str | Rejection | None:
        rejection: Rejection | None = None
        for each in self._verifiers:
            found = each.known(token)
            if isinstance(found, str):
                return found
            rejection = rejection or found
        # Another issuer may accept what one rejects.
        return rejection if len(self._verifiers) == 1 else None

    async def _verify(self, token: bytes) -> str | Rejection:
        """Return the caller that a JWT of the form names, or why it is not accepted; count no failure.

        Raises UnusableKeys if keys are missing that may have accepted it.
        """
        best, missing = INVALID, None
        for each in self._verifiers:
            try:
                found = await each.verify(token)
            except UnusableKeys as error:
                missing = error
                continue
            if isinstance(found, str):
                return found
            if found.is_signed:
                best = found
        if missing is not None and not best.is_signed:
            raise missing
        return best


def _response(rejection: Rejection, others: Sequence[Header]) -> ErrorResponse:
    """Return the response to a JWT that is not accepted (RFC 6750, section 3.1)."""
    error = "insufficient_scope" if rejection.scope else "invalid_token"
    challenge = f'Bearer realm="iogate", error="{error}", error_description="{rejection.description}"'
    if rejection.scope:
        challenge += f', scope="{rejection.scope}"'
    status, code = (403, "requestError.forbidden") if rejection.scope else (401, "requestError.unauthorized")
    headers = [(b"www-authenticate", challenge.encode()), *others]
    return ErrorResponse(status, code, rejection.message, headers)
