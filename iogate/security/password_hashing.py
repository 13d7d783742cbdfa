"""Argon2 password hashing, limited in concurrency, queue length, and failures per address.

Used by `secrets`. An Argon2 hash takes a processor core for about 30 ms, and any caller may request one: so
an address that sends wrong passwords is refused before a hash is computed (`failure_limit`). Invariant: the
memory for waiting computations is bounded.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, ParamSpec, TypeVar

from argon2.low_level import Type, hash_secret

from iogate.security.failure_limit import Busy, FailureLimit

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE: Final = 2
"""Concurrent computations; each takes 19 MiB and a core."""
WAITING: Final = 32
_PARAMETERS = re.compile(rb"\$argon2id\$v=\d+\$m=(\d+),t=(\d+),p=(\d+)\$")
_SALT: Final = b"a salt of no use"


class Parameters(NamedTuple):
    """Parameters of an Argon2 hash."""

    memory_kib: int
    passes: int
    lanes: int

    @property
    def cost(self) -> int:
        """Amount of work of a hash: KiB filled in all passes."""
        return self.memory_kib * self.passes

    def spend(self, presented: bytes) -> None:
        """Compute a password hash with these Argon2 parameters, only to spend its time."""
        hash_secret(
            presented,
            _SALT,
            time_cost=self.passes,
            memory_cost=self.memory_kib,
            parallelism=self.lanes,
            hash_len=32,
            type=Type.ID,
        )

    def reduced(self, cost: int) -> Parameters:
        """Return parameters of a password hash of about this cost, with the same number of passes."""
        return self._replace(memory_kib=max(8 * self.lanes, cost // self.passes))


def parameters(hashed: bytes) -> Parameters:
    """Return the parameters of an encoded password hash; those of an invalid hash cost nothing."""
    found = _PARAMETERS.match(hashed)
    return Parameters(int(found[1]), int(found[2]), int(found[3])) if found else Parameters(0, 1, 1)


def cost(hashes: Sequence[Parameters]) -> int:
    """Return the total cost of Argon2 hashes of passwords."""
    return sum(each.cost for each in hashes)


def missing(work: Sequence[Parameters], spent: Sequence[Parameters]) -> list[Parameters]:
    """Return the password hashes to compute after `spent`, so that the total cost is that of `work`."""
    if not spent:
        return list(work)
    rest = cost(work) - cost(spent)
    return [work[0].reduced(rest)] if rest > 0 else []


class Hashing:
    """Queue of Argon2 computations of one process, and rate limit for failures of each address."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._slots: asyncio.Semaphore | None = None
        self._pending = 0
        self.failures = FailureLimit(monotonic=monotonic)

    async def run(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Run `work`, which hashes a password, in a thread, at most two at once.

        Raises Busy if too many computations are waiting.
        """
        if self._slots is None:
            self._slots = asyncio.Semaphore(AT_ONCE)
        if self._pending >= AT_ONCE + WAITING:
            raise Busy(1.0)
        self._pending += 1
        try:
            await self._slots.acquire()
        except BaseException:
            self._pending -= 1
            raise
        computing = asyncio.ensure_future(asyncio.to_thread(work, *arguments, **named))
        computing.add_done_callback(self._computed)
        # If the caller disconnects, the thread continues and keeps its slot.
        return await asyncio.shield(computing)

    def _computed(self, _: object) -> None:
        assert self._slots is not None
        self._slots.release()
        self._pending -= 1

    def count_attempt(self, address: str) -> None:
        """Count a password to hash as a failure until `succeeded`. Raises Busy if the address has to wait."""
        self.failures.count_attempt(address)

    def succeeded(self, address: str) -> None:
        """Uncount the last failure of an address that sent a correct password."""
        self.failures.succeeded(address)
