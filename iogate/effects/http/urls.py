"""URLs as they are written: what stands percent-encoded in a query is sent so.

Used by `request`, `calls` and `endpoints`. Reserved characters are not the same as their encoded forms
(RFC 3986, 2.2), and a signature over the query counts each byte. Scheme, host and path are normalised, since
the address guard judges them.
"""

from __future__ import annotations

import re
from typing import Final

from yarl import URL

_ENCODED: Final = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})+")


def read(text: str) -> URL:
    """Read a URL or a reference; a query that needs encoding gets it.

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
