"""Addresses of one-time links: `UID.NAME.EXPIRY.SIGNATURE`, made by workers and verified by gateways.

Pure. Invariant: a signature is valid for one run, one name and one expiry; nothing is stored for a link until
it is used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from iogate.security.keyring import Keyring

PATH: Final = "/v1/links/"
NAME: Final = r"[A-Za-z][A-Za-z0-9_-]{0,39}"
"""Names of links; they are a part of the type of the event, and of the address."""
EVENT: Final = "iogate.link."
"""Beginning of the types of the events that links deliver."""

_TOKEN: Final = re.compile(rf"([0-9]{{1,19}})\.({NAME})\.([0-9]{{1,11}})\.([A-Za-z0-9_-]{{22}})", re.ASCII)
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTimeLink:
    """A link with a valid signature."""

    uid: str
    name: str
    expires_s: int
    """Seconds since 1970, by the store's clock."""


def address(ring: Keyring, public_url: str, uid: str, name: str, expires_s: int) -> str:
    """Return the absolute URL of a one-time link.

    Raises Misused for a keyring without keys.
    """
    signature = ring.sign("link", *_parts(uid, name, str(expires_s))).translate(_URL_SAFE).decode()
    return f"{public_url}{PATH}{uid}.{name}.{expires_s}.{signature}"


def verified(ring: Keyring, token: str) -> OneTimeLink | None:
    """Return the one-time link of a token, which may have expired; None if its signature is not valid."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        return None
    uid, name, expires_s, signature = found.groups()
    if not ring.verify("link", signature.encode().translate(_STANDARD), *_parts(uid, name, expires_s)):
        return None
    return OneTimeLink(uid=uid, name=name, expires_s=int(expires_s))


def _parts(*texts: str) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in texts)
