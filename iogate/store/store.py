"""Store: the facade that opens the connections and holds all parts.

Opened once by each process: gateway, worker, cli. Invariant: each failure of the connection is a
StoreUnavailable, and the store reconnects by itself afterwards.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from iogate.security.keyring import NO_KEYS, Keyring
from iogate.security.redaction_patterns import redact_url
from iogate.store import keys
from iogate.store.connection.connection import (
    CLOCK,
    CommandFailed,
    Connection,
    StoreUnavailable,
    store_time_ms,
    time_ms,
)
from iogate.store.connection.memory_watermark import Memory
from iogate.store.connection.primary_endpoint import Endpoint
from iogate.store.connection.pubsub import PubSub
from iogate.store.events.bus import EventBus
from iogate.store.events.due_callbacks import Callbacks
from iogate.store.events.outbox import Outbox
from iogate.store.integrity import store_format, trust
from iogate.store.integrity.newest_seals import NewestSeals
from iogate.store.integrity.refusals import Refusals
from iogate.store.maintenance.drains import Drains
from iogate.store.maintenance.durability_check import Finding, findings
from iogate.store.maintenance.process_presence import Presence
from iogate.store.operators.activity import Activity
from iogate.store.operators.batches import Batches
from iogate.store.operators.replies import Replies
from iogate.store.revisions.convergence import Convergences
from iogate.store.revisions.due_schedules import Schedules
from iogate.store.revisions.gates import Gates
from iogate.store.revisions.live_record import LiveRecord
from iogate.store.revisions.origin import DEFAULT_PROJECT
from iogate.store.revisions.revisions import Revisions
from iogate.store.revisions.schedule_states import ScheduleStates
from iogate.store.run_files import RunFiles
from iogate.store.runs.intake import Intake
from iogate.store.runs.leases import Leases
from iogate.store.runs.link_use import OneTimeLinks
from iogate.store.runs.operations import RunOperations
from iogate.store.statistics.statistics import Statistics

if TYPE_CHECKING:
    from iogate.compiler.revision import Revision
    from iogate.store.revisions.projects import Live

__all__ = ["Store", "StoreUnavailable", "open_store"]

INTAKE_TIMEOUT_S = 1.0
"""Longest wait of an intake for one reply of the server."""

Verified: TypeAlias = "Callable[[str, Live], Revision | None]"


def _none_verified(_project: str, _live: Live) -> None:
    return None


class Store:
    """Facade of all parts, which share one connection; intakes and publish/subscribe have their own."""

    def __init__(
        self,
        url: str,
        *,
        client_name: str,
        keyring: Keyring,
        replicas: int = 0,
        project: str | None = None,
        seals: NewestSeals | None = None,
    ) -> None:
        """With a project, the parts show and change only its revisions, APIs and schedules.

        `seals`: memory of the records of live revisions that earlier processes have seen.
        """
        self.url = url
        self.keyring = keyring
        self._client_name = client_name
        self._endpoint = Endpoint(url)
        self._connection = Connection(self._endpoint, name=client_name, replicas=replicas)
        self._pubsub = PubSub(self._endpoint, name=client_name)
        self._intakes: list[Intake] = []
        self.refusals = Refusals(self._connection)
        self._record = LiveRecord(self._connection, keyring, seals)
        self.leases = Leases(self._connection, self._pubsub, keyring, self.refusals)
        self.runs = RunOperations(self._connection, self._pubsub, keyring, self.refusals)
        self.callbacks = Callbacks(self._connection, self._pubsub)
        self.links = OneTimeLinks(self._connection, keyring)
        self.files = RunFiles(self._connection, Memory(self._connection))
        self.events = EventBus(
            self._connection, self._pubsub, Memory(self._connection), keyring, self.refusals
        )
        self.outbox = Outbox(self._connection, self._pubsub)
        self.presence = Presence(self._connection, self._pubsub)
        self.drains = Drains(self._connection)
        self.activity = Activity(self._connection)
        self.replies = Replies(self._connection)
        self.batches = Batches(self._connection, self._pubsub, keyring, self.refusals)
        self.statistics = Statistics(self._connection)
        self.verified: Verified = _none_verified
        """Returns the content of a live revision that this process has verified; None if it has not."""
        self._set_project(project)

    def _set_project(self, project: str | None) -> None:
        """Set the parts of the store that show and change only what belongs to a project."""
        connection, owner = self._connection, project or DEFAULT_PROJECT
        self.revisions = Revisions(connection, self.keyring, self.refusals, self._record, owner)
        self.gates = Gates(connection, self._pubsub, project)
        self.schedules = Schedules(connection, self.keyring, self.refusals, self._record, project)
        self.schedule_states = ScheduleStates(connection, project)
        self.convergence = Convergences(self.presence, owner)

    def of_project(self, project: str) -> Store:
        """Return this store for one project; it shares all connections, and only this one is closed."""
        found = copy.copy(self)
        found._set_project(project)  # noqa: SLF001 - of the same class
        return found

    @property
    def address(self) -> str:
        """Address of the store, without credentials; safe to print."""
        return self._connection.address

    @property
    def shown_url(self) -> str:
        """URL of the store without its passwords; with the current primary if Sentinels name it."""
        url = redact_url(self.url)
        return f"{url} ({self.address})" if url.startswith("redis+sentinel:") else url

    def intake(self) -> Intake:
        """Return a new intake of the store for calls; one per gateway process."""
        name = f"{self._client_name}-intake"
        connection = Connection(
            self._endpoint, name=name, timeout_s=INTAKE_TIMEOUT_S, replicas=self._connection.replicas
        )
        intake = Intake(connection, self.keyring)
        self._intakes.append(intake)
        return intake

    async def check_server(self) -> None:
        """Check that the server is the primary of a store that can be used.

        Raises StoreUnavailable or WrongStore if not.
        """
        await self._connection.check_primary()

    async def ready(self) -> None:
        """Check that the store could take a call now: each connection is to the primary, replicas confirm.

        Raises StoreUnavailable if not.
        """
        await asyncio.gather(
            self._connection.check_primary(), *(intake.check_primary() for intake in self._intakes)
        )
        await self.drains.check()
        await self._connection.confirm()

    async def confirm(self) -> None:
        """Wait until as many replicas of the store as the settings require have all previous writes.

        Raises StoreUnavailable if they take too long.
        """
        await self._connection.confirm()

    async def identity(self) -> str:
        """Return the random name of the store, which its first publish sets; empty before."""
        name: bytes | None = await self._connection.call("GET", keys.IDENTITY)
        return "" if name is None else name.decode("utf-8", "replace")

    async def now_ms(self) -> int:
        """Return the time of the store's server, the common clock of all processes."""
        return time_ms(await self._connection.call("TIME"))

    async def timer_now_ms(self) -> int:
        """Return the time by which the scripts of the store wake timers, and workers watch deadlines.

        After the clock of the server was set back, it is ahead of `now_ms`.
        """
        return store_time_ms(*await self._connection.calls(CLOCK))

    async def server_info(self) -> dict[str, str]:
        """Return the fields of INFO of the store's server."""
        return _fields(await self._connection.call("INFO"))

    async def memory(self) -> tuple[int, int] | None:
        """Return the memory in use by the store's server, and its limit (0: none), in bytes.

        None if the user of the store may not ask.
        """
        try:
            found = _fields(await self._connection.call("INFO", "memory"))
        except CommandFailed:
            return None
        return int(found.get("used_memory", 0)), int(found.get("maxmemory", 0))

    async def findings(self) -> list[Finding]:
        """Return unsafe settings of the store's server and lost events, for `doctor`."""
        return await findings(self._connection, await self.outbox.sinks())

    async def is_older(self) -> bool:
        """Return whether an earlier release wrote the store and it was not adopted since."""
        return await store_format.is_older(self._connection)

    async def was_signed(self) -> bool:
        """Return whether processes with keys have used the store."""
        return await store_format.was_signed(self._connection)

    async def check(self, ring: Keyring) -> None:
        """Check that a process with these keys may use the store.

        Raises WrongStore, like `open_store`.
        """
        await store_format.check(self._connection, ring)

    async def check_unused(self) -> None:
        """Check that no process has used the store with a key.

        Raises WrongStore if one has.
        """
        known = await trust.key_names(self._connection)
        if known:
            raise trust.wrong_key(self.address, known, self.keyring)

    async def call(self, *arguments: Any) -> Any:
        """Send one raw command to the store, for `doctor` and tests.

        Raises the errors of `Connection.call`.
        """
        return await self._connection.call(*arguments)

    async def close(self) -> None:
        for intake in self._intakes:
            await intake.close()
        await self.runs.followers.close()
        await self._pubsub.close()
        await self._connection.close()
        self._endpoint.close()


def _fields(info: bytes) -> dict[str, str]:
    """Return the fields of a response to INFO."""
    pairs = (line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
    return {name: value.strip() for name, value in pairs}


async def open_store(
    url: str,
    *,
    client_name: str = "iogate",
    keyring: Keyring = NO_KEYS,
    adopts: bool = False,
    replicas: int = 0,
    project: str | None = None,
    seals: NewestSeals | None = None,
) -> Store:
    """Open the store at `url`: redis://, rediss://, unix:// or redis+sentinel://.

    With keys in `keyring`, reads are verified and writes are signed. `adopts` also opens a store of an
    earlier release or of another key. `replicas`: number of replicas that must confirm each acknowledged
    write. `project`, `seals`: see `Store`. Raises StoreUnavailable if the server does not answer or is a
    replica, WrongStore if it rejects the login, is older than 6.2, a cluster or a sentinel, has an unknown
    format, or is used with another key.
    """
    store = Store(
        url, client_name=client_name, keyring=keyring, replicas=replicas, project=project, seals=seals
    )
    try:
        await store.check_server()
        await store_format.check(store._connection, keyring, adopts=adopts)  # noqa: SLF001 - its other half
    except BaseException:
        await store.close()
        raise
    return store
