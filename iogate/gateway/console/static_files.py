"""Style sheet and modules of the console, which browsers keep for a year.

Used by `rendering` for their URLs and by `console` for their content. Invariant: the name of a file contains
the digest of its content, so that no browser combines a page with files of another release.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from iogate.gateway.http.responses import Response

FOLDER: Final = Path(__file__).parent / "static"
PREFIX: Final = "/console/static/"
_TYPES: Final = {".css": b"text/css; charset=utf-8", ".js": b"text/javascript; charset=utf-8"}
_HEADERS: Final = (
    (b"cache-control", b"public, max-age=31536000, immutable"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"vary", b"Accept-Encoding"),
)
_DIGITS: Final = 12


class StaticFiles:
    """The files of the folder `static`, read once per process."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._urls: dict[str, str] = {}
        self._responses: dict[tuple[str, bool], Response] = {}
        for file in sorted(folder.iterdir()):
            if file.suffix not in _TYPES:
                continue
            content = file.read_bytes()
            name = f"{file.stem}.{hashlib.sha256(content).hexdigest()[:_DIGITS]}{file.suffix}"
            self._urls[file.name] = PREFIX + name
            kind = _TYPES[file.suffix]
            packed = gzip.compress(content, 9, mtime=0)
            encoded = (*_HEADERS, (b"content-encoding", b"gzip"))
            self._responses[name, False] = Response(200, content, _HEADERS, content_type=kind, store=True)
            self._responses[name, True] = Response(200, packed, encoded, content_type=kind, store=True)

    @property
    def urls(self) -> Mapping[str, str]:
        """URL of each static file, by its name without a digest."""
        return self._urls

    def find(self, name: str, *, packed: bool) -> Response | None:
        """Return the response with a static file, compressed if `packed`; None if there is no such file."""
        return self._responses.get((name, packed))


@functools.cache
def static_files() -> StaticFiles:
    """Return the static files of the console in this release."""
    return StaticFiles()


def takes_gzip(accepted: str) -> bool:
    """Tell whether a header Accept-Encoding allows gzip, for a static file or a page."""
    for each in accepted.split(","):
        name, _, weight = each.partition(";")
        if name.strip().lower() == "gzip":
            return weight.replace(" ", "").lower() not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
