"""All forms of authentication: a new one is a module of this folder and a line in `FORMS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from iogate.auth.model import JwtAuth, NoAuth, SignatureAuth, TokenAuth, UserAuth
from iogate.gateway.authentication.forms.form import Form, HeaderForm
from iogate.gateway.authentication.forms.jwts import Jwts
from iogate.gateway.authentication.forms.open_to_all import OpenToAll
from iogate.gateway.authentication.forms.tokens import Tokens
from iogate.gateway.authentication.forms.users import Users
from iogate.gateway.authentication.signature_verification import Signatures

FORMS: Final[Mapping[type, type[Form]]] = {
    TokenAuth: Tokens,
    JwtAuth: Jwts,
    UserAuth: Users,
    SignatureAuth: Signatures,
    NoAuth: OpenToAll,
}
"""Form of each struct of `auth.model`, in the order in which messages and challenges name them.

The order also decides which form keeps the plain name of a caller that two of them have (`caller_names`).
"""

CARRIERS: Final = tuple(
    dict.fromkeys(form.carrier for form in FORMS.values() if issubclass(form, HeaderForm))
)
"""Carriers of all credentials that are in headers, in the order in which they are read."""
HEADERS: Final = frozenset({b"authorization"}).union(*(each.headers for each in CARRIERS))
"""Headers that carry credentials."""
