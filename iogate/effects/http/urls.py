"""Parsing of URLs that keeps the percent-encoding of the query.

Used by `request`, `http_calls` and `endpoint_rewrites`. Reserved characters differ from their encoded forms
(RFC 3986, 2.2), and a signature covers each byte of the query. Scheme, host and path are normalised for the
address policy.
"""

from __future__ import annotations

import re
from typing import Final

from yarl import URL

_ENCODED: Final = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})+")


def parse(text: str) -> URL:
    """Parse a URL and keep the percent-encoding of its query; encode a query that needs it.

    Raises ValueError.
    """
    url = URL(text)
    query = text.partition("#")[0].partition("?")[2]
    if not _ENCODED.fullmatch(query):
        return url
    return URL.build(
        scheme=url.scheme,
        authority=url.raw_authority,
        path=url.raw_path,
        query_string=query,
        fragment=url.raw_fragment,
        encoded=True,
    )
