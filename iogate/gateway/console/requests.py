"""Parts of a request of a browser: the query, and what it accepts.

Used by `console`, `login` and the pages. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from iogate.gateway.console.static_files import takes_gzip

if TYPE_CHECKING:
    from iogate.gateway.http.request import Request

PARAMETERS: Final = 100


def query_of(request: Request) -> Mapping[str, Sequence[str]]:
    """Return the parameters of a query; one with too many counts as empty."""
    try:
        return parse_qs(request.query.decode("latin-1"), keep_blank_values=True, max_num_fields=PARAMETERS)
    except ValueError:
        return {}


def is_packed(request: Request) -> bool:
    """Tell whether the browser takes a compressed response."""
    return takes_gzip(request.headers.get(b"accept-encoding", b"").decode("latin-1"))
