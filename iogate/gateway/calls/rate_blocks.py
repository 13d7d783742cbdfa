"""Callers or addresses that have used up their rate, as far as this gateway knows.

Used by `call_handler` for APIs with `limits.per`. The store counts the calls of all gateways and decides; a
block refuses the next calls without the store, and those of an address before their credentials are checked.
Invariant: bounded, and a block never lasts longer than the store said.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from iogate.gateway.http.responses import too_many
from iogate.security.failure_limit import network

if TYPE_CHECKING:
    from iogate.gateway.http.request import Request
    from iogate.gateway.http.responses import ErrorResponse

TOO_OFTEN: Final = "The API is called too often"
OWN_TOO_OFTEN: Final = {
    "caller": "This caller calls the API too often",
    "address": "The API is called too often from this address",
}
MOST_BLOCKS: Final = 10_000


class RateBlocks:
    """Blocks of one API; `per` is `caller` or `address`."""

    def __init__(self, per: str) -> None:
        self._by_address = per == "address"
        self._message = OWN_TOO_OFTEN[per]
        self._until_s: dict[str, float] = {}

    def key(self, request: Request, caller: str) -> str:
        """Return the caller or the network by which a call counts towards a rate."""
        return network(request.address) if self._by_address else caller

    def refuse_address(self, request: Request) -> ErrorResponse | None:
        """Return the 429 for a blocked address, before its credentials are checked; else None."""
        return self._refuse(network(request.address)) if self._by_address else None

    def refuse_caller(self, caller: str) -> ErrorResponse | None:
        """Return the 429 for a blocked caller; else None."""
        return None if self._by_address else self._refuse(caller)

    def block(self, key: str, retry_after_s: float) -> ErrorResponse:
        """Block a caller or network until the store allows calls again, and return the 429."""
        if len(self._until_s) >= MOST_BLOCKS:
            now = time.monotonic()
            self._until_s = {each: until_s for each, until_s in self._until_s.items() if until_s > now}
            if len(self._until_s) >= MOST_BLOCKS:
                self._until_s.clear()
        self._until_s[key] = time.monotonic() + retry_after_s
        return too_many(self._message, retry_after_s)

    def _refuse(self, key: str) -> ErrorResponse | None:
        until_s = self._until_s.get(key)
        if until_s is None:
            return None
        left_s = until_s - time.monotonic()
        if left_s > 0:
            return too_many(self._message, left_s)
        del self._until_s[key]
        return None
