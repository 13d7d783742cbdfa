"""URL paths of the gateway: the two of each API, and those that no API may have as a path of its own.

Used by the documents, the gateway and the commands. Pure. Invariant: a path of an API is never one that
iogate serves itself, in this release or, as far as it is planned, in a later one.
"""

from __future__ import annotations

import re
from typing import Final, Literal

Mode = Literal["async", "sync"]

MODES: Final[tuple[Mode, ...]] = ("async", "sync")
MAX_PATH: Final = 200
_PATH: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~!$&'()*+,;=:@-]+)+")
"""Segments of the characters that need no encoding (RFC 3986, section 3.3), none of them `.` or `..`."""
_OF_AN_API: Final = re.compile(r"/v1/api/([^/]+/[^/]+)/(?:async|sync)")
_CALLS: Final = "/v1/api/"
_OWN: Final = ("v1", "health", "metrics", "openapi.json", "docs", "console", "mcp", ".well-known")
"""First segments of the paths of iogate."""


def api_path(api: str, mode: Mode = "async") -> str:
    """Return the path that each API has by its id."""
    return f"{_CALLS}{api}/{mode}"


def is_plain(path: str) -> bool:
    """Tell whether a URL path is absolute, exact and without encoding, as clients and proxies leave it."""
    return len(path) <= MAX_PATH and _PATH.fullmatch(path) is not None


def reserved_for(path: str) -> str:
    """Return the owner of a URL path that no API may choose, as text; empty if an API may have it.

    Below `/v1/api/` an API may have every path except those of the form `{module}/{method}/async` and `sync`.
    """
    if found := _OF_AN_API.fullmatch(path):
        return f"the API {found[1]}"
    if path.startswith(_CALLS):
        return ""
    return "iogate" if path.split("/", 2)[1:2] in ([name] for name in _OWN) else ""
