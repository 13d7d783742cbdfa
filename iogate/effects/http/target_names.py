"""Names of request targets in messages: the address as the author wrote it, without secrets.

Called by `http_calls` and `authentication`. Data in an address is never shown, nor are query, user and
password; a path segment that looks like a key becomes `…`, because chat services have keys there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from yarl import URL

from iogate.messages import shorten

MAX_LENGTH: Final = 120
"""Maximum length of a shown expression."""

_SEGMENT: Final = re.compile(r"[^/{}]{16,}")
_SWITCH: Final = re.compile(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")
_USER: Final = re.compile(r'://[^/"\s]*@')
_QUERY: Final = re.compile(r'\?[^"\s\\{}]+=[^"\s\\]*')
_SWITCHES: Final = 4
"""Number of changes between letters and digits from which a long segment is taken for a key."""


@dataclass(frozen=True)
class TargetName:
    """Name of the target of a request, for errors."""

    text: str
    sent_to: str | None = None
    """Origin to which the setting `endpoints` sends the request; not for callers, so not in the text."""

    def __str__(self) -> str:
        return self.text


def name_target(method: str, address: str, written: URL, sent: URL) -> TargetName:
    """Name a call's target: `GET https://api.example/orders/{id}`.

    `address` is the author's text, "" to show only the origin; `written` and `sent` differ if the setting
    `endpoints` rewrites the URL.
    """
    place = str(written.origin())
    if "${" in address:
        text = redact_address(" ".join(address.split()))
        place += f" (from {shorten(text, MAX_LENGTH)})"
    elif address:
        place += redacted_path(address)
    return TargetName(f"{method} {place}", _rewritten_origin(written, sent))


def redacted_path(address: str) -> str:
    """Return the path of a target as the author wrote it, without keys; empty if it has none."""
    return _SEGMENT.sub(_redact_key, _path_of(address))


def name_server(role: str, written: URL, sent: URL) -> TargetName:
    """Name a server as the target of a request, by its role and its origin."""
    return TargetName(f"{role} {written.origin()}", _rewritten_origin(written, sent))


def _rewritten_origin(written: URL, sent: URL) -> str | None:
    return str(sent.origin()) if sent.origin() != written.origin() else None


def _path_of(address: str) -> str:
    try:
        return urlsplit(address).path
    except ValueError:  # `http://[{ip}]/`: not a valid URL before its expansion
        return ""


def redact_address(text: str) -> str:
    """Redact the address of a target in a message: user, password, query, segments that look like keys."""
    text = _QUERY.sub("?…", _USER.sub("://…@", text))
    return _SEGMENT.sub(_redact_key, text)


def _redact_key(segment: re.Match[str]) -> str:
    return "…" if len(_SWITCH.findall(segment[0])) >= _SWITCHES else segment[0]
