"""The setting `endpoints`: sends calls that a workflow writes for one host to another, say for staging.

Called by `calls` for each hop and by the offline tests, which let a call out only where this covers it.
"""

from __future__ import annotations

from collections.abc import Mapping

from yarl import URL

from iogate.effects.http import urls


class Endpoints:
    """URL prefixes to URL prefixes; the longest that matches wins, and only at a path boundary."""

    def __init__(self, prefixes: Mapping[str, str]) -> None:
        pairs = ((str(URL(source)).rstrip("/"), target.rstrip("/")) for source, target in prefixes.items())
        self._prefixes = sorted(pairs, key=lambda pair: len(pair[0]), reverse=True)

    def rewrite(self, url: URL) -> URL | None:
        """Give the URL to call instead, None where no prefix covers it.

        A user in the URL is no part of where it leads: it goes along, unless the prefix brings its own.
        """
        text = str(url.with_user(None))
        for source, target in self._prefixes:
            rest = text[len(source) :]
            if text.startswith(source) and (not rest or rest[0] in "/?#"):
                return _as(url, urls.read(target + rest))
        return None


def _as(url: URL, target: URL) -> URL:
    if url.raw_user is None or target.raw_user is not None:
        return target
    return target.with_user(url.user).with_password(url.password)
