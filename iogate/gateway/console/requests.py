"""Parts of a request of a browser: the query, the fields of a form, and the accepted compression.

Used by `console`, `login` and the pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from iogate.gateway.console.static_files import takes_gzip
from iogate.gateway.http.responses import invalid

if TYPE_CHECKING:
    from iogate.gateway.http.body import Bodies
    from iogate.gateway.http.request import Request

PARAMETERS: Final = 100
FORM_BYTES: Final = 64 * 1024
"""Largest body of a submitted form."""
FIELDS: Final = 100


def query_of(request: Request) -> Mapping[str, Sequence[str]]:
    """Return the parameters in the query of a browser's request; one with too many counts as empty."""
    try:
        return parse_qs(request.query.decode("latin-1"), keep_blank_values=True, max_num_fields=PARAMETERS)
    except ValueError:
        return {}


async def read_form(bodies: Bodies, request: Request) -> dict[str, str]:
    """Read the fields of a form from a browser's request. Raises HTTPError: a 400, 413 or 415."""
    kind = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/x-www-form-urlencoded":
        raise invalid("The body must be a form")
    try:
        await bodies.read(request, limit=FORM_BYTES)
        text = request.body.decode("utf-8", "replace")
        fields = parse_qs(text, keep_blank_values=True, max_num_fields=FIELDS)
    except ValueError:
        raise invalid("The form has too many fields") from None
    finally:
        bodies.release(request)
    return {name: values[-1].strip() for name, values in fields.items()}


def is_packed(request: Request) -> bool:
    """Tell whether the browser of a request takes a compressed response."""
    return takes_gzip(request.headers.get(b"accept-encoding", b"").decode("latin-1"))
