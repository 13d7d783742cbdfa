"""How an address is told to a person: as its author wrote it, without what may be a secret.

Called by `calls` and `authentication`. What data put into an address is never shown; neither are query, user
and password, and a segment of the path that reads like a key becomes `…`: chat services have theirs there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from yarl import URL

LONGEST: Final = 120
"""Characters of an expression that are shown."""

_SEGMENT: Final = re.compile(r"[^/{}]{16,}")
_SWITCH: Final = re.compile(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")
_USER: Final = re.compile(r'://[^/"\s]*@')
_QUERY: Final = re.compile(r'\?[^"\s\\{}]+=[^"\s\\]*')
_SWITCHES: Final = 4
"""Changes between letters and digits from which on a long segment is a key and no word."""


@dataclass(frozen=True)
class Called:
    """Name of a request's target in errors."""

    text: str
    sent_to: str | None = None
    """Origin to which the setting `endpoints` sends the request; not for callers, so not in the text."""

    def __str__(self) -> str:
        return self.text


def called(method: str, address: str, written: URL, sent: URL) -> Called:
    """Say what is called: `GET https://api.example/orders/{id}`.

    `address` is the author's text, "" where only the origin may be told; `written` and `sent` differ where
    the setting `endpoints` sends the call elsewhere.
    """
    place = str(written.origin())
    if "${" in address:
        text = safe(" ".join(address.split()))
        place += f" (from {text if len(text) <= LONGEST else text[: LONGEST - 1] + '…'})"
    elif address:
        place += _SEGMENT.sub(_without_key, _path(address))
    return Called(f"{method} {place}", _elsewhere(written, sent))


def server(role: str, written: URL, sent: URL) -> Called:
    """Name a server by its role and origin; its address may be computed, so that no text is shown."""
    return Called(f"{role} {written.origin()}", _elsewhere(written, sent))


def _elsewhere(written: URL, sent: URL) -> str | None:
    return str(sent.origin()) if sent.origin() != written.origin() else None


def _path(address: str) -> str:
    try:
        return urlsplit(address).path
    except ValueError:  # `http://[{ip}]/`: only what a run makes of it is an address
        return ""


def safe(text: str) -> str:
    """Take out of an author's expression or address what may be a secret: user, query, keys in the path."""
    text = _QUERY.sub("?…", _USER.sub("://…@", text))
    return _SEGMENT.sub(_without_key, text)


def _without_key(segment: re.Match[str]) -> str:
    return "…" if len(_SWITCH.findall(segment[0])) >= _SWITCHES else segment[0]
