"""Opens the store and hands out its parts.

Called once by each process: gateway, worker, cli. Invariant: whatever goes wrong with the connection
is a StoreUnavailable, and nothing needs to be opened again afterwards.
"""

from __future__ import annotations

import asyncio
from typing import Any

from iogate.store.checkup import Finding, findings
from iogate.store.drains import Drains
from iogate.store.endpoint import Endpoint
from iogate.store.events import Events
from iogate.store.gates import Gates
from iogate.store.intake import Intake
from iogate.store.leases import Leases
from iogate.store.line import Line, StoreUnavailable, time_ms
from iogate.store.memory import Memory
from iogate.store.outbox import Outbox
from iogate.store.presence import Presence
from iogate.store.revisions import Revisions
from iogate.store.runs import Runs
from iogate.store.schedules import Schedules
from iogate.store.signals import Signals

__all__ = ["Store", "StoreUnavailable", "open_store"]


class Store:
    """The parts share one connection; an intake has its own, and the signals another."""

    def __init__(self, url: str, *, client_name: str, replicas: int = 0) -> None:
        self.url = url
        self._client_name = client_name
        self._endpoint = Endpoint(url)
        self._line = Line(self._endpoint, name=client_name, replicas=replicas)
        self._signals = Signals(self._endpoint, name=client_name)
        self._intakes: list[Intake] = []
        self.revisions = Revisions(self._line)
        self.gates = Gates(self._line, self._signals)
        self.leases = Leases(self._line, self._signals)
        self.runs = Runs(self._line, self._signals)
        self.events = Events(self._line, self._signals, Memory(self._line))
        self.outbox = Outbox(self._line, self._signals)
        self.schedules = Schedules(self._line)
        self.presence = Presence(self._line)
        self.drains = Drains(self._line)

    @property
    def address(self) -> str:
        """Where the store is, without credentials; safe to print."""
        return self._line.address

    def intake(self) -> Intake:
        """A way in for calls; one a gateway process."""
        name = f"{self._client_name}-intake"
        intake = Intake(Line(self._endpoint, name=name, timeout_s=1.0, replicas=self._line.replicas))
        self._intakes.append(intake)
        return intake

    async def look(self) -> None:
        """Return if the server is the primary of a store that can be used.

        Raises StoreUnavailable or WrongStore if not.
        """
        await self._line.look()

    async def ready(self) -> None:
        """Return if a call could be stored now: each connection is to the primary, and replicas are there.

        Raises StoreUnavailable if not.
        """
        await asyncio.gather(self._line.look(), *(intake.look() for intake in self._intakes))
        await self.drains.check()
        await self._line.confirm()

    async def confirm(self) -> None:
        """Return once as many replicas as the settings want have all that was written before.

        Raises StoreUnavailable if they take too long.
        """
        await self._line.confirm()

    async def now_ms(self) -> int:
        """Return the store's time, which all processes go by."""
        return time_ms(await self._line.call("TIME"))

    async def server_info(self) -> dict[str, str]:
        """What INFO says."""
        text: bytes = await self._line.call("INFO")
        pairs = (line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
        return {name: value.strip() for name, value in pairs}

    async def findings(self) -> list[Finding]:
        """What is unsafe in the server's settings, and what was lost; for `doctor`."""
        return await findings(self._line, await self.outbox.sinks())

    async def call(self, *arguments: Any) -> Any:
        """One raw command, for `doctor` and tests."""
        return await self._line.call(*arguments)

    async def close(self) -> None:
        for intake in self._intakes:
            await intake.close()
        await self.runs.followers.close()
        await self._signals.close()
        await self._line.close()
        self._endpoint.close()


async def open_store(url: str, *, client_name: str = "iogate", replicas: int = 0) -> Store:
    """Open the store at `url`: redis://, rediss://, unix:// or redis+sentinel://.

    `replicas`: how many must confirm what is acknowledged. Raises StoreUnavailable if nobody answers or the
    server is a replica, WrongStore if it refuses us, is older than 6.2, a cluster or a sentinel.
    """
    store = Store(url, client_name=client_name, replicas=replicas)
    try:
        await store.look()
    except BaseException:
        await store.close()
        raise
    return store
