"""Periodic maintenance of a worker: presence, secret refresh, and audits of the store.

Used by `worker_process`. The tasks are independent; an error of the store skips one iteration of one task.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable

from iogate.errors import Unreachable
from iogate.store.connection.connection import CommandFailed
from iogate.store.maintenance.fingerprints import Fingerprints
from iogate.store.maintenance.process_presence import WORKER, Process
from iogate.store.store import Store
from iogate.timing.backoff import with_jitter
from iogate.timing.clock import epoch_ms
from iogate.worker.revision_follower import RevisionFollower
from iogate.worker.secrets.callback_secrets import CallbackSecrets
from iogate.worker.secrets.secret_store import SecretStore

log = logging.getLogger(__name__)

ANNOUNCE_S = 4.0
AUDIT_S = 20.0
AUDIT_SHARE = 0.2
"""Largest share of the time in which an audit goes on: it reads every run, and there may be millions."""
SECRETS_S = 30.0


class Maintenance:
    """Periodic tasks of one worker; `audits` allows audits, which the oldest such worker performs."""

    def __init__(
        self,
        *,
        store: Store,
        name: str,
        secrets: SecretStore,
        audits: bool,
        facts: Callable[[], dict[str, str]],
        callbacks: CallbackSecrets,
    ) -> None:
        self._store = store
        self._name = name
        self._secrets = secrets
        self._audits = audits
        self._facts = facts
        self._callbacks = callbacks
        self._follower = RevisionFollower(store, callbacks.take)
        self._fingerprints = Fingerprints(store.keyring)
        self._started_at_ms = epoch_ms()
        self._next_audit = 0.0

    async def run(self) -> None:
        """Run the worker's maintenance, all periodic tasks, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._every(ANNOUNCE_S, self.announce), name="announce")
            tasks.create_task(self._follow(), name="revisions")
            tasks.create_task(self._every(SECRETS_S, self._refresh), name="secrets")
            if self._audits:
                tasks.create_task(self._every(AUDIT_S, self._audit), name="audit")

    async def _every(self, period_s: float, do: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await do()
            except (Unreachable, CommandFailed) as error:
                log.debug("maintenance: %s", error, extra={"action": "maintenance.postponed"})
            except Exception:
                log.exception("maintenance failed", extra={"action": "maintenance.failed"})
            await asyncio.sleep(with_jitter(period_s, 0.1))

    async def _follow(self) -> None:
        """Follow the live revisions as maintenance of the worker, and announce each at once."""
        async with self._store.presence.connected(WORKER, self._name):
            await self._follower.run(self.announce)

    async def announce(self) -> None:
        """Announce the worker, as part of its maintenance, with the revisions that it has loaded."""
        await self._store.refusals.flush()
        if self._callbacks.appeared:
            self._callbacks.appeared = False
            try:
                await self._store.callbacks.hasten()
            except BaseException:
                self._callbacks.appeared = True
                raise
        await self._store.presence.announce(
            Process(
                kind=WORKER,
                id=self._name,
                pid=os.getpid(),
                host=socket.gethostname(),
                started_at_ms=self._started_at_ms,
                revision=max(self._follower.loaded.values(), default=0),
                loaded=dict(self._follower.loaded),
                failed=dict(self._follower.failed),
                detail={
                    **self._facts(),
                    "audits": str(self._audits).lower(),
                    **self._secrets.announced(),
                    **self._callbacks.announced(),
                },
                fingerprints=self._fingerprints.update(
                    {**self._callbacks.fingerprints, **self._secrets.fingerprints}
                ),
                fingerprint_key=self._fingerprints.key,
            )
        )

    async def _audit(self) -> None:
        if time.monotonic() < self._next_audit:
            return
        auditors = [
            each for each in await self._store.presence.list(WORKER) if each.detail.get("audits") == "true"
        ]
        eldest = min(auditors, key=lambda each: (each.started_at_ms, each.id), default=None)
        if eldest is not None and eldest.id != self._name:
            return
        began = time.monotonic()
        repaired = await self._store.leases.audit()
        took_s = time.monotonic() - began
        self._next_audit = time.monotonic() + took_s / AUDIT_SHARE
        if repaired:
            log.warning(
                "audit repaired %d inconsistencies: another program writes to the store",
                repaired,
                extra={"action": "audit.repaired", "repaired": repaired},
            )

    async def _refresh(self) -> None:
        """Refresh the secrets, one of the chores of maintenance, and announce a new value at once."""
        before = self._secrets.fingerprints, self._callbacks.fingerprints
        self._secrets.refresh()
        self._callbacks.refresh()
        if before != (self._secrets.fingerprints, self._callbacks.fingerprints):
            await self.announce()

    async def leave(self) -> None:
        """End the worker's maintenance: remove its presence, if the store can be reached."""
        try:
            await self._store.refusals.flush()
            await self._store.presence.leave(WORKER, self._name)
        except (Unreachable, CommandFailed) as error:
            log.debug("maintenance: %s", error, extra={"action": "maintenance.postponed"})
