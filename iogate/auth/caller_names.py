"""Names of the callers of one API, such that two forms of authentication never share a caller.

Used by `gateway.authentication` when an API is built, and by plans. Pure. Rates per caller and idempotency
keys go by these names. Invariants: the caller of an API with one form has its plain name; a name depends on
declarations only, not on the secrets of a machine; a name in a document has no colon, so that none equals a
name with its form.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from iogate.auth.model import JwtAuth, NoAuth, alternatives, source_of

if TYPE_CHECKING:
    from iogate.auth.model import StoredAuth, StoredSecret


class CallerNames:
    """Names that the forms of one API have given to their callers so far."""

    def __init__(self, auth: StoredAuth) -> None:
        named = [form for form in alternatives(auth) if not isinstance(form, NoAuth)]
        self._is_mixed = len(named) > 1
        self._taken: set[str] = set()

    def claim(self, kind: str, names: Iterable[str]) -> dict[str, str]:
        """Claim names for the callers of a form, and return `KIND:NAME` for each that an earlier form has."""
        given = set(names)
        taken = self._taken & given
        self._taken |= given
        return {name: f"{kind}:{name}" for name in taken}

    def jwt_prefix(self, form: JwtAuth[StoredSecret]) -> str:
        """Return the text before the names that the tokens of an issuer have; empty for the only form.

        An issuer chooses these names, so that any of them may equal a name in the document.
        """
        if not self._is_mixed:
            return ""
        issuer = form.issuer or form.jwks or "".join(map(source_of, (*form.key, *form.secret)[:1]))
        # A name may contain the separator, so the issuer must not.
        escaped = issuer.replace("%", "%25").replace("#", "%23")
        return f"jwt:{escaped}#"
