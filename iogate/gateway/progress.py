"""Progress of one request, for the code that ends it whatever happened on the way.

Used by `calls` and `arrivals`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iogate.gateway import body
from iogate.gateway.answers import CLOSE

if TYPE_CHECKING:
    from litestar.types import HTTPScope, Receive

    from iogate.gateway.answers import ErrorAnswer


class Progress:
    """State of one request."""

    __slots__ = ("unread",)

    def __init__(self) -> None:
        self.unread = True
        """Whether its body has not been read to its end."""

    async def refuse(self, answer: ErrorAnswer, scope: HTTPScope, receive: Receive) -> None:
        """Prepare an error response: let the client finish sending, unless the connection ends anyway."""
        if self.unread and scope["method"] != "GET" and CLOSE not in answer.headers:
            await body.drain(receive, dict(scope["headers"]))
