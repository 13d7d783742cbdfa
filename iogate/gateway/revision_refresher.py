"""Reload of the live revision: the gateway loads a new one within a second, without a restart.

Runs beside the server for as long as the process lives. Invariant: a table goes live only when it is
complete; after any failure the last good table stays live and the gateway tries again.

    unreachable ──store answers──▶ watching ──revision changed──▶ build ──▶ swap ──▶ announce
         ▲                            │    ├──gates changed──▶ set enabled
         │                            │    └──no revision──▶ serve nothing
         └──────store is lost─────────┘
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from typing import TYPE_CHECKING

from iogate.gateway.refresh_log import BROKEN, RefreshLog
from iogate.gateway.state import STORE_TIMEOUT_S
from iogate.gateway.table_loader import TableLoader, mismatch
from iogate.store.integrity.newest_seals import NewestSeals
from iogate.store.maintenance.fingerprints import Fingerprints
from iogate.store.maintenance.process_presence import GATEWAY, UNSET, Process
from iogate.store.revisions.origin import DEFAULT_PROJECT
from iogate.store.store import open_store
from iogate.supervision import heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from iogate.gateway.calls.routing_table import Route, Table
    from iogate.gateway.state import GatewayState
    from iogate.security.keyring import Keyring
    from iogate.store.store import Store

log = logging.getLogger(__name__)

AGAIN_S = 0.25
ANNOUNCE_S = 4.0
EMPTY_S = 1.0
LOOK_S = 1.0
"""Interval between checks of the secret files, which may have been replaced."""


class Refresher:
    """Background task that keeps `state.table`, `state.store` and `state.intake` current."""

    def __init__(
        self,
        state: GatewayState,
        find_store: Callable[[], str],
        keyring: Keyring,
        *,
        replicas: int = 0,
        data_dir: Path | None = None,
    ) -> None:
        """Create the refresher; in `data_dir` it remembers the newest seal that it has seen."""
        self._state = state
        self._keyring = keyring
        self._fingerprints = Fingerprints(keyring)
        state.fingerprint = keyring.fingerprint
        self._find_store = find_store
        self._replicas = replicas
        self._data_dir = data_dir
        self._reading: asyncio.Task[None] | None = None
        self._gates: dict[str, asyncio.Task[None]] = {}
        """Pending requests to the store for the gate of an API, by API id."""
        self._log = RefreshLog(quiet_s=ANNOUNCE_S)
        self._loader = TableLoader(state)
        self._refusal: BaseException | None = None
        """Error of a revision that could not be loaded, until it is logged."""
        self.tried = asyncio.Event()
        """Set after the first attempt to load the revision."""
        self._started_at_ms = int(time.time() * 1000)
        self.id = heartbeat.identity("gateway")

    async def run(self) -> None:
        """Refresh the live revision of the gateway until cancelled."""
        while True:
            try:
                store = await self._connect()
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._stay_connected(store))
                    group.create_task(self._watch(store))
                    group.create_task(self._announce_periodically(store))
                    group.create_task(self._reload_secrets())
                    group.create_task(self._recover_revision())
            except* Exception as errors:  # noqa: BLE001 - logged, and tried again
                self._report(_first(errors))
            await asyncio.sleep(AGAIN_S)

    async def close(self) -> None:
        """Stop refreshing: remove this gateway from the store's list of processes, and disconnect."""
        store, self._state.intake = self._state.store, None
        if store is None:
            return
        with contextlib.suppress(*BROKEN):
            async with asyncio.timeout(STORE_TIMEOUT_S):
                await store.refusals.flush()
                await store.presence.leave(GATEWAY, self.id)
        await store.close()

    async def _connect(self) -> Store:
        if self._state.store is None:
            url = await asyncio.to_thread(self._find_store)
            async with asyncio.timeout(2):
                name = f"iogate-gateway-{os.getpid()}"
                seals = None if self._data_dir is None else NewestSeals(self._data_dir, url)
                store = await open_store(
                    url, client_name=name, keyring=self._keyring, replicas=self._replicas, seals=seals
                )
            store.verified = self._state.verified_revision
            await self._read_clock(store)
            self._state.intake = store.intake()
            self._state.store = store
        return self._state.store

    async def _watch(self, store: Store) -> None:
        async for _ in store.gates.watch():
            while True:
                try:
                    await self.reload()
                except Exception as error:  # noqa: BLE001 - logged, and tried again
                    # The last good table stays live; the pause limits the rate of attempts for a broken
                    # revision.
                    self._report(error)
                    await asyncio.sleep(AGAIN_S)
                else:
                    self.tried.set()
                    break

    async def reload(self) -> None:
        """Refresh the live revision and gates; concurrent calls share one read of the store.

        Raises IogateError or TimeoutError if that fails.
        """
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        await asyncio.shield(self._reading)

    async def _read(self) -> None:
        state, store = self._state, self._state.store
        if store is None:
            raise TimeoutError
        async with asyncio.timeout(STORE_TIMEOUT_S * 2):
            found = await store.revisions.live_of_all()
        if not found.live and not found.invalid:
            self._lose(state.table)
            return
        known = self._loader.failed
        table, error = await self._loader.load(store.revisions, found)
        async with asyncio.timeout(STORE_TIMEOUT_S * 2):
            # Without any revision, calls get a 503, not a 404.
            if table.releases:
                await self._set_enabled(store, table)
            if table.releases and table is not state.table:
                before, state.table = state.table, table
                self._log_taken(before, table)
                await self._announce(store)
            elif self._loader.failed != known:
                await self._announce(store)
        if error is not None:
            self._refusal = error
            raise error

    def _lose(self, table: Table | None) -> None:
        """Serve nothing while a refresh finds no revision: an emptied store has neither gates nor runs."""
        if table is None:
            return
        self._state.table = None
        log.error(
            "the store has lost its revision: it was emptied, or started without its files; "
            "calls get 503 until a revision is applied",
            extra={"action": "store.emptied", "revision": table.number},
        )

    @staticmethod
    async def _set_enabled(store: Store, table: Table) -> None:
        states = await store.gates.states()
        table.enable(
            (name for name, gate in states.items() if gate.enabled),
            (name for name, gate in states.items() if gate.held or gate.release_per_s is not None),
        )
        mismatches = {name: why for name, gate in states.items() if (why := mismatch(gate, table))}
        # Gates may belong to a newer revision.
        if mismatches and (await store.revisions.live_of_all()).version == table.version:
            for name, why in mismatches.items():
                store.refusals.note("gate", f"{name}@{table.number}", why)

    async def is_enabled(self, route: Route) -> bool:
        """Refresh the gate of one API that this gateway takes for disabled; return whether it is enabled.

        A caller who knows that the API was just enabled must not get a 403 from a gateway that is behind.
        Concurrent callers share one request to the store, for this API only, since none is authenticated yet.
        The state stays as it is if the store is unreachable.
        """
        api = route.api.id
        # A request that began before this call may return an older state: another request follows it.
        if (before := self._gates.get(api)) is not None:
            await asyncio.wait({before})
            if route.enabled:
                return True
        request = self._gates.get(api)
        if request is None:
            request = self._gates[api] = asyncio.create_task(self._ask_gate(route))
            request.add_done_callback(lambda _: self._gates.pop(api, None))
        await asyncio.wait({request})
        return route.enabled

    async def _ask_gate(self, route: Route) -> None:
        store = self._state.store
        if store is None:
            return
        with contextlib.suppress(*BROKEN):
            async with asyncio.timeout(STORE_TIMEOUT_S / 2):
                route.enabled = await store.gates.is_enabled(route.api.id)

    async def _reload_secrets(self) -> None:
        """Refresh the secrets and addresses of an API when one of its files has changed."""
        while True:
            await asyncio.sleep(LOOK_S)
            table = self._state.table
            if table is None:
                continue
            changed = await asyncio.to_thread(_changed, list(table.routes.values()))
            for route in changed:
                before = route.unset, route.authenticator.spare
                await route.reload_files()
                if (route.unset, route.authenticator.spare) != before:
                    _log_secrets(route)
                else:
                    log.info(
                        "%s: files reloaded",
                        route.api.id,
                        extra={"action": "api.secrets", "api": route.api.id},
                    )
            if changed and (store := self._state.store) is not None:
                with contextlib.suppress(*BROKEN):
                    await self._announce(store)  # otherwise the next announcement has them

    async def _recover_revision(self) -> None:
        """Refresh the revision from a store that was emptied and refilled between two reads."""
        while True:
            await asyncio.sleep(EMPTY_S)
            if self._state.table is None:
                with contextlib.suppress(*BROKEN):
                    await self.reload()

    async def _stay_connected(self, store: Store) -> None:
        async with store.presence.connected(GATEWAY, self.id):
            await asyncio.Event().wait()

    async def _announce_periodically(self, store: Store) -> None:
        while True:
            await self._announce(store)
            self._log.announced()
            await self._read_clock(store)
            await asyncio.sleep(ANNOUNCE_S)

    async def _read_clock(self, store: Store) -> None:
        """Refresh the offset to the store's clock; keep the last one if the clock cannot be read."""
        with contextlib.suppress(*BROKEN):
            async with asyncio.timeout(STORE_TIMEOUT_S):
                self._state.clock.observe(await store.now_ms())

    async def _announce(self, store: Store) -> None:
        await store.refusals.flush()
        table, operators = self._state.table, self._state.operators
        unset = table.unset if table is not None else {}
        await store.presence.announce(
            Process(
                kind=GATEWAY,
                id=self.id,
                pid=os.getpid(),
                host=socket.gethostname(),
                started_at_ms=self._started_at_ms,
                revision=table.number if table is not None else 0,
                loaded=table.loaded if table is not None else {},
                failed=self._loader.failed,
                detail={"url": self._state.public_url}
                | {UNSET + name: "; ".join(lacks) for name, lacks in unset.items()},
                fingerprints=self._fingerprints.update(
                    {
                        **(table.fingerprints if table is not None else {}),
                        **self._state.sender_fingerprints(),
                        **(operators.fingerprints if operators is not None else {}),
                    }
                ),
                fingerprint_key=self._fingerprints.key,
            )
        )

    def _log_taken(self, before: Table | None, table: Table) -> None:
        self._log.revision_loaded()
        kept = before.releases if before is not None else {}
        for project, release in table.releases.items():
            if kept.get(project) is release:
                continue
            log.info(
                "revision %d is live%s, with %d API%s",
                release.number,
                "" if project == DEFAULT_PROJECT else f" in project {project}",
                len(release.routes),
                "" if len(release.routes) == 1 else "s",
                extra={"action": "revision.taken", "revision": release.number},
            )
            for route in release.routes.values():
                if route.unset or route.authenticator.spare:
                    _log_secrets(route)

    def _report(self, error: BaseException) -> None:
        self.tried.set()
        self._log.failed(error, about_revision=error is self._refusal)
        self._refusal = None  # its traceback keeps the routing table before alive


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first exception in a group from a refresh, of any depth."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _changed(routes: list[Route]) -> list[Route]:
    return [route for route in routes if route.has_changed_files]


def _log_secrets(route: Route) -> None:
    name, authenticator = route.api.id, route.authenticator
    if route.addresses is not None and route.addresses.unset:
        log.warning(
            "%s responds with 503 to every caller: %s",
            name,
            "; ".join(route.unset),
            extra={"action": "api.closed", "api": name},
        )
    elif authenticator.unset:
        log.warning(
            "%s responds with 503 to callers whose secrets are missing: %s",
            name,
            "; ".join(authenticator.unset),
            extra={"action": "api.unconfigured", "api": name},
        )
    elif authenticator.spare:
        log.warning(
            "%s is available, but a secret is missing: %s",
            name,
            "; ".join(authenticator.spare),
            extra={"action": "api.spare_missing", "api": name},
        )
    else:
        log.info("%s has all its secrets and files", name, extra={"action": "api.configured", "api": name})
