"""The header `Callback-Url`, with which a caller names the receiver of the end of its run.

Used by `call_handler` for APIs whose `callback` has `allow`. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from iogate.gateway.http.responses import invalid
from iogate.security import callback_urls
from iogate.store.runs.run_ends import RunEnds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iogate.gateway.http.request import Request

HEADER: Final = b"callback-url"


def named_ends(
    request: Request, hosts: Sequence[str], letters: str, otherwise: RunEnds | None
) -> RunEnds | None:
    """Return the callback of a call by its header `Callback-Url`; `otherwise` if it names no receiver.

    Raises HTTPError, a 400, for a URL that cannot be called or whose host is not one of `hosts`.
    """
    given = request.headers.get(HEADER)
    if given is None:
        return otherwise
    if HEADER in request.repeated:
        raise invalid("The header Callback-Url is given more than once")
    url = given.decode("latin-1")
    reason = callback_urls.fault(url)
    if reason is not None:
        raise invalid(f"The header Callback-Url cannot be used: {reason}")
    if not callback_urls.is_allowed(url, hosts):
        host = urlsplit(url).netloc[:100]
        raise invalid(f"The header Callback-Url names the host {host}, which this API does not allow")
    return RunEnds(letters=letters, url=url)
