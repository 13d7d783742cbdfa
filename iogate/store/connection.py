"""Opens the store and hands out its parts.

Called once by each process: gateway, worker, cli. Invariant: whatever goes wrong with the connection
is a StoreUnavailable, and nothing needs to be opened again afterwards.
"""

from __future__ import annotations

from typing import Any

from iogate.errors import WrongStore
from iogate.store.checkup import Finding, findings, too_old
from iogate.store.events import Events
from iogate.store.gates import Gates
from iogate.store.intake import Intake
from iogate.store.leases import Leases
from iogate.store.line import CommandFailed, Line, StoreUnavailable, time_ms
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

    def __init__(self, url: str, *, client_name: str) -> None:
        self.url = url
        self._client_name = client_name
        self._line = Line(url, name=client_name)
        self._signals = Signals(url, name=client_name)
        self._intakes: list[Intake] = []
        self.revisions = Revisions(self._line)
        self.gates = Gates(self._line, self._signals)
        self.leases = Leases(self._line, self._signals)
        self.runs = Runs(self._line, self._signals)
        self.events = Events(self._line, self._signals, Memory(self._line))
        self.outbox = Outbox(self._line, self._signals)
        self.schedules = Schedules(self._line)
        self.presence = Presence(self._line)

    @property
    def address(self) -> str:
        """Where the store is, without credentials; safe to print."""
        return self._line.address

    def intake(self) -> Intake:
        """A way in for calls; one a gateway process."""
        intake = Intake(Line(self.url, name=f"{self._client_name}-intake", timeout_s=1.0))
        self._intakes.append(intake)
        return intake

    async def ping(self) -> None:
        await self._line.call("PING")

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


async def open_store(url: str, *, client_name: str = "iogate") -> Store:
    """Open the store at `url`: redis://, rediss:// or unix://.

    Raises StoreUnavailable where nobody answers, WrongStore where it refuses us or is older than 6.2.
    """
    store = Store(url, client_name=client_name)
    try:
        await _check_version(store)
    except BaseException:
        await store.close()
        raise
    return store


async def _check_version(store: Store) -> None:
    try:
        info = await store.server_info()
    except CommandFailed:
        # A user who may not ask for INFO; the scripts have been loaded all the same.
        return
    version = info.get("redis_version", "")
    if version and too_old(version):
        raise WrongStore(
            f"the store at {store.address} is Redis {version}; iogate needs 6.2 or later",
            code="IOG612",
            hint="upgrade it, or set redis_url to a newer server",
        )
