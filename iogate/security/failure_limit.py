"""Limit of wrong credentials per address.

Used by `password_hashing` for the credentials of callers, and by `operator_tokens` for those of operators.
Invariant: the memory for addresses is bounded.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from typing import Final

FAILURES: Final = 20
"""Wrong credentials that an address may send at once."""
FAILURE_S: Final = 1.0
"""Interval after which an address may send one more."""
ADDRESSES: Final = 10_000


class Busy(Exception):
    """Too many computations are waiting, or the address has sent too many wrong credentials."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"retry in {retry_after_s:g} s")
        self.retry_after_s = retry_after_s


class FailureLimit:
    """Rate limit for the failures of each address."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._failures: dict[str, tuple[float, float]] = {}
        """Failures of each address, and the time of the last update; least recent first."""

    def __len__(self) -> int:
        return len(self._failures)

    def wait_s(self, address: str) -> float:
        """Return the seconds that an address has to wait because of its failures; 0 if it may try now."""
        count, _ = self._current(address)
        return (count - FAILURES + 1) * FAILURE_S if count > FAILURES - 1 else 0.0

    def count_attempt(self, address: str) -> None:
        """Count an attempt as a failure until `succeeded`. Raises Busy if the address has to wait."""
        if not address:
            return
        key = network(address)
        count, now = self._current(address)
        self._failures.pop(key, None)
        if count > FAILURES - 1:
            self._failures[key] = (count, now)
            raise Busy((count - FAILURES + 1) * FAILURE_S)
        while len(self._failures) >= ADDRESSES:
            del self._failures[next(iter(self._failures))]
        self._failures[key] = (count + 1, now)

    def succeeded(self, address: str) -> None:
        """Uncount the last failure of an address that sent correct credentials."""
        if address and (found := self._failures.get(key := network(address))):
            self._failures[key] = (max(0.0, found[0] - 1), found[1])

    def _current(self, address: str) -> tuple[float, float]:
        """Return the failures of an address that still count, and the time now."""
        now = self._monotonic()
        count, since = self._failures.get(network(address), (0.0, now))
        return max(0.0, count - (now - since) / FAILURE_S), now


def network(address: str) -> str:
    """Return the network whose failures count together: an IPv4 address, or the /64 of an IPv6 address."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(found.ipv4_mapped or ipaddress.IPv6Network((found, 64), strict=False))
