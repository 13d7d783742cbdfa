"""The setting `endpoints`: rewrites URL prefixes of calls, for example to a staging host.

Called by `transport` for each request, and for offline tests, which call only the targets.
"""

from __future__ import annotations

from collections.abc import Mapping

from yarl import URL

from iogate.effects.http import urls


class Endpoints:
    """Map from URL prefixes to URL prefixes; the longest match at a path boundary wins."""

    def __init__(self, prefixes: Mapping[str, str]) -> None:
        pairs = ((str(URL(source)).rstrip("/"), target.rstrip("/")) for source, target in prefixes.items())
        self._prefixes = sorted(pairs, key=lambda pair: len(pair[0]), reverse=True)

    def rewrite(self, url: URL) -> URL | None:
        """Return the URL to call instead, by the setting `endpoints`; None if no prefix matches.

        A user in the URL is kept, unless the target prefix has its own.
        """
        text = str(url.with_user(None))
        for source, target in self._prefixes:
            rest = text[len(source) :]
            if text.startswith(source) and (not rest or rest[0] in "/?#"):
                return _keep_user(url, urls.parse(target + rest))
        return None

    def is_target(self, url: URL) -> bool:
        """Tell whether a URL has the origin of one of the targets of the setting `endpoints`."""
        return any(url.origin() == URL(target).origin() for _, target in self._prefixes)


def _keep_user(url: URL, target: URL) -> URL:
    if url.raw_user is None or target.raw_user is not None:
        return target
    return target.with_user(url.user).with_password(url.password)
