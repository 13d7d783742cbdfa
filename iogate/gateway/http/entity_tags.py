"""Versions of objects: the header ETag of a result, and If-Match of a change.

Used by `operators.operator_api`. Pure. Invariant: a change that needs a version is refused without one, so
that nobody overwrites unseen changes; `If-Match: *` says that any version may be replaced.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from iogate.gateway.http.responses import ErrorResponse, HTTPError, invalid

if TYPE_CHECKING:
    from iogate.gateway.http.request import Request

_HEADER: Final = b"if-match"
_TAG: Final = re.compile(rb'\s*(?:"([0-9A-Za-z_.-]{1,64})"|(\*))\s*')
_REQUIRED: Final = ErrorResponse(
    428,
    "requestError.preconditionRequired",
    'If-Match is required: the ETag of the object that you have read, such as "42", or * for any version',
)


def header(version: str) -> tuple[bytes, bytes]:
    """Return the header ETag of a result with this version."""
    return b"etag", f'"{version}"'.encode()


def expected(request: Request) -> str | None:
    """Return the version in If-Match that a request may change; None if it may change any.

    Raises HTTPError: the 428 without If-Match, the 400 for another form.
    """
    given = request.headers.get(_HEADER)
    if given is None:
        raise HTTPError(_REQUIRED)
    found = _TAG.fullmatch(given)
    if found is None or _HEADER in request.repeated:
        raise invalid('The header If-Match must be one ETag in quotes, such as "42", or *')
    return None if found[2] else found[1].decode()
