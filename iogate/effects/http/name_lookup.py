"""Lookups of the addresses of host names, with a timeout, in threads of their own.

Used by `address_policy`, for each name that a call connects to and for that of the store. Invariant: a name
server that does not respond delays only calls.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from aiohttp.abc import ResolveResult

TIMEOUT_S: Final = 15.0
"""Timeout of a lookup in seconds: the system asks a third name server after 10 s."""
THREADS: Final = 16
"""Lookups at the same time; the system gives up a name only after up to 30 s, and no thread can be ended."""


class NameLookup:
    """Lookups of names by the system, with the hosts file and the name servers that it is configured with."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="iogate-lookup")

    async def find(
        self, host: str, port: int = 0, *, family: int = socket.AF_UNSPEC, flags: int = 0
    ) -> list[ResolveResult]:
        """Return the addresses of a host by a name lookup; `family` and `flags` are those of `getaddrinfo`.

        Raises OSError if the lookup fails, TimeoutError if it takes longer than TIMEOUT_S or cannot begin.
        """
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, 0, flags)
        try:
            pending = asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        except RuntimeError as fault:  # no thread can be started
            raise TimeoutError(str(fault)) from None
        async with asyncio.timeout(TIMEOUT_S):
            found = await pending
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    def close(self) -> None:
        """Start no further lookup."""
        self._threads.shutdown(wait=False, cancel_futures=True)
