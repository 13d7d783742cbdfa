"""Names of request targets in messages: the address as the author wrote it, without secrets.

Called by `calls` and `authentication`. Data in an address is never shown, nor are query, user and password;
a path segment that looks like a key becomes `…`, because chat services have keys there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from yarl import URL

LONGEST: Final = 120
"""Maximum length of a shown expression."""

_SEGMENT: Final = re.compile(r"[^/{}]{16,}")
_SWITCH: Final = re.compile(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")
_USER: Final = re.compile(r'://[^/"\s]*@')
_QUERY: Final = re.compile(r'\?[^"\s\\{}]+=[^"\s\\]*')
_SWITCHES: Final = 4
"""Number of changes between letters and digits from which a long segment is taken for a key."""


@dataclass(frozen=True)
class Called:
    """Name of the target of a request, for errors."""

    text: str
    sent_to: str | None = None
    """Origin to which the setting `endpoints` sends the request; not for callers, so not in the text."""

    def __str__(self) -> str:
        return self.text


def called(method: str, address: str, written: URL, sent: URL) -> Called:
    """Return the name of a call's target: `GET https://api.example/orders/{id}`.

    `address` is the author's text, "" to show only the origin; `written` and `sent` differ if the setting
    `endpoints` rewrites the URL.
    """
    place = str(written.origin())
    if "${" in address:
        text = safe(" ".join(address.split()))
        place += f" (from {text if len(text) <= LONGEST else text[: LONGEST - 1] + '…'})"
    elif address:
        place += _SEGMENT.sub(_without_key, _path(address))
    return Called(f"{method} {place}", _elsewhere(written, sent))


def server(role: str, written: URL, sent: URL) -> Called:
    """Return the name of a server by its role and origin."""
    return Called(f"{role} {written.origin()}", _elsewhere(written, sent))


def _elsewhere(written: URL, sent: URL) -> str | None:
    return str(sent.origin()) if sent.origin() != written.origin() else None


def _path(address: str) -> str:
    try:
        return urlsplit(address).path
    except ValueError:  # `http://[{ip}]/`: not a valid URL before its expansion
        return ""


def safe(text: str) -> str:
    """Remove possible secrets from an author's expression or address: user, query, keys in the path."""
    text = _QUERY.sub("?…", _USER.sub("://…@", text))
    return _SEGMENT.sub(_without_key, text)


def _without_key(segment: re.Match[str]) -> str:
    return "…" if len(_SWITCH.findall(segment[0])) >= _SWITCHES else segment[0]
