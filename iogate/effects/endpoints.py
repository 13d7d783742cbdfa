"""The setting `endpoints`: sends calls that a workflow writes for one host to another, say for staging.

Called by `http` for each hop and by the offline tests, which let a call out only where this covers it.
"""

from __future__ import annotations

from collections.abc import Mapping

from yarl import URL


class Endpoints:
    """URL prefixes to URL prefixes; the longest that matches wins, and only at a path boundary."""

    def __init__(self, prefixes: Mapping[str, str]) -> None:
        pairs = ((str(URL(source)).rstrip("/"), target.rstrip("/")) for source, target in prefixes.items())
        self._prefixes = sorted(pairs, key=lambda pair: len(pair[0]), reverse=True)

    def rewrite(self, url: URL) -> URL | None:
        """Give the URL to call instead, None where no prefix covers it."""
        text = str(url)
        for source, target in self._prefixes:
            rest = text[len(source) :]
            if text.startswith(source) and (not rest or rest[0] in "/?#"):
                return URL(target + rest)
        return None
