"""Authentication by JWT (RFC 7519, RFC 8725): the policy of one API about tokens of one issuer.

Used by `forms.jwts`. `key_sets` verifies the signature, this module the claims. Invariants: a claim is
read only after the signature is valid; an expired token is not accepted, also if it is remembered.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from iogate import json_values
from iogate.auth.jwt_form import ASYMMETRIC, SYMMETRIC
from iogate.gateway.authentication.jwt_keys import (
    UnusableKeys,
    VerificationKey,
    describe_missing_algorithms,
    missing_library,
    read_public_keys,
    read_secret,
)
from iogate.gateway.authentication.key_sets import KeySet, KeySets, KeySource
from iogate.json_pointer import unescape

if TYPE_CHECKING:
    from iogate.auth.model import JwtAuth, StoredSecret
    from iogate.gateway.authentication.key_sets import Verified

_CALLER: Final = re.compile(r"[^\x00-\x20\x7f]{1,128}")


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """Reason why a token is not accepted."""

    message: str = "Token is invalid"
    description: str = "The token is malformed, or its signature is not valid"
    """For `error_description` (RFC 6750, section 3)."""
    is_signed: bool = True
    """Whether the signature is valid, so that the token was not guessed."""
    scope: str = ""
    """Scopes that the token lacks."""


INVALID: Final = Rejection(is_signed=False)
EXPIRED: Final = Rejection(message="Token has expired", description="The token has expired")
TOO_EARLY: Final = Rejection(
    message="Token is not valid yet", description="The token is not valid yet, or was issued in the future"
)
NO_EXPIRY: Final = Rejection(description="The token has no exp, or a claim of time is not a number")
OTHER_ISSUER: Final = Rejection(description="The token is of another issuer")
OTHER_AUDIENCE: Final = Rejection(description="The token is for another audience")
OTHER_CLAIMS: Final = Rejection(description="A claim has not the required value")
NO_CALLER: Final = Rejection(description="The token does not name its caller in at most 128 characters")
REASONS: Final = (
    INVALID,
    EXPIRED,
    TOO_EARLY,
    NO_EXPIRY,
    OTHER_ISSUER,
    OTHER_AUDIENCE,
    OTHER_CLAIMS,
    NO_CALLER,
)


class JwtVerifier:
    """Policy of one API about the tokens of one issuer."""

    def __init__(
        self,
        auth: JwtAuth[StoredSecret],
        keys: KeySet,
        *,
        prefix: str = "",
        unset: tuple[str, ...] = (),
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Create the JWT verifier of an API; `prefix` is the text before the names of callers."""
        self._auth, self._keys, self._now_s = auth, keys, now_s
        self._prefix = prefix
        self._unset = unset
        allowed = SYMMETRIC if auth.secret else ASYMMETRIC
        self._algorithms = frozenset(auth.algorithms or allowed)
        self._audience = frozenset(auth.audience)
        self._scopes = frozenset(auth.scopes)
        self._no_scope = Rejection(
            message=f"Token lacks the scope {' '.join(sorted(self._scopes))}",
            description="The token lacks a required scope",
            scope=" ".join(sorted(self._scopes)),
        )
        self._caller = _reader(auth.caller)
        self._claims = [(_reader(name), _values(wanted)) for name, wanted in auth.claims.items()]

    @property
    def unset(self) -> tuple[str, ...]:
        """Messages about keys that the verifier of JWTs lacks on this machine."""
        return self._unset or self._keys.unset

    @property
    def no_scope(self) -> Rejection:
        """The rejection of a JWT without the required scopes."""
        return self._no_scope

    def known(self, token: bytes) -> str | Rejection | None:
        """Return the caller or the rejection of a JWT with a remembered signature; None for another one."""
        found = self._keys.remembered(token)
        return None if found is None else self._check_claims(token, found)

    async def verify(self, token: bytes) -> str | Rejection:
        """Verify a JWT: return the caller that it names, or the reason why it is not accepted.

        Raises UnusableKeys if the keys are missing.
        """
        if self._unset:
            raise UnusableKeys(self._unset[0])
        found = await self._keys.verify(token, self._algorithms)
        return INVALID if found is None else self._check_claims(token, found)

    def _check_claims(self, token: bytes, verified: Verified) -> str | Rejection:
        """Return the caller by the claims of a verified JWT, or the reason why they are not accepted."""
        if verified.algorithm not in self._algorithms:
            return INVALID
        claims, auth = verified.claims, self._auth
        rejection = self._check_times(token, claims)
        if rejection is not None:
            return rejection
        if auth.issuer is not None and claims.get("iss") != auth.issuer:
            return OTHER_ISSUER
        if self._audience and self._audience.isdisjoint(_texts(claims.get("aud"))):
            return OTHER_AUDIENCE
        for read, wanted in self._claims:
            if not _has_one_of(read(claims), wanted):
                return OTHER_CLAIMS
        if self._scopes and not self._scopes <= _scopes(claims):
            return self._no_scope
        caller = self._caller(claims)
        if isinstance(caller, int) and not isinstance(caller, bool):
            caller = str(caller)
        if not isinstance(caller, str) or not _CALLER.fullmatch(caller):
            return NO_CALLER
        return self._prefix + caller

    def _check_times(self, token: bytes, claims: Mapping[str, Any]) -> Rejection | None:
        now, leeway = self._now_s(), self._auth.leeway_s
        expires = claims.get("exp")
        if expires is None or not _is_number(expires):
            return NO_EXPIRY
        if expires <= now - leeway:
            self._keys.forget(token)
            return EXPIRED
        for name in ("nbf", "iat"):
            if name in claims:
                value = claims[name]
                if not _is_number(value):
                    return NO_EXPIRY
                if value > now + leeway:
                    return TOO_EARLY
        return None


def build(
    auth: JwtAuth[StoredSecret],
    key_sets: KeySets | None,
    resolve: Callable[[Iterable[StoredSecret]], tuple[list[str], tuple[str, ...]]],
    *,
    prefix: str = "",
) -> JwtVerifier:
    """Return the JWT verifier of a form, with a text before the names of its callers.

    `resolve` returns the texts of references, and messages about others.
    """
    if missing := missing_library():
        return JwtVerifier(auth, KeySet(), prefix=prefix, unset=(missing,))
    if not auth.key and not auth.secret:
        source = KeySource(jwks=auth.jwks) if auth.jwks else KeySource(issuer=auth.issuer or "")
        return JwtVerifier(auth, (key_sets or KeySets()).get(source), prefix=prefix)
    kind, given = ("secret", auth.secret) if auth.secret else ("key", auth.key)
    texts, unset = resolve(given)
    keys: list[VerificationKey] = []
    for text in texts:
        try:
            found = (read_secret(text),) if auth.secret else read_public_keys(text)
            if lacks := describe_missing_algorithms(found, auth.algorithms):
                raise UnusableKeys(lacks)  # noqa: TRY301 - handled as each other failure
            keys += found
        except UnusableKeys as error:
            unset += (f"{kind} of jwt {error}",)
    # One of two keys is enough during a rotation.
    return JwtVerifier(auth, KeySet(keys=keys), prefix=prefix, unset=() if keys else unset)


def _reader(name: str) -> Callable[[Mapping[str, Any]], Any]:
    """Return a function that reads a claim of a JWT by its name or JSON Pointer; None for a missing one."""
    if not name.startswith("/"):
        return lambda claims: claims.get(name)
    path = [unescape(each) for each in name[1:].split("/")]

    def read(claims: Mapping[str, Any]) -> Any:
        value: Any = claims
        for step in path:
            if not isinstance(value, Mapping):
                return None
            value = value.get(step)
        return value

    return read


def _values(wanted: Any) -> list[Any]:
    return wanted if isinstance(wanted, list) else [wanted]


def _has_one_of(value: Any, wanted: Iterable[Any]) -> bool:
    """Tell whether a claim of a JWT is one of the wanted values, or a list with one of them."""
    given = value if isinstance(value, list) else [value]
    return any(json_values.is_equal(each, other) for each in given for other in wanted)


def _scopes(claims: Mapping[str, Any]) -> set[str]:
    """Return the scopes of a JWT, `scope` (RFC 8693, section 4.2) and `scp`: texts with spaces, or lists."""
    found: set[str] = set()
    for name in ("scope", "scp"):
        for text in _texts(claims.get(name)):
            found.update(text.split(" "))
    return found


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
