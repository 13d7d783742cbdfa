"""State of one gateway process: the live revision, the store, limits and counts.

Written by `revision_refresher` and `http_server`, read by every route. Each reference is replaced as a whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iogate.auth.secret_reader import Fingerprint, no_fingerprint
from iogate.errors import Unreachable
from iogate.gateway.authentication.key_sets import KeySets
from iogate.gateway.http.access_log import AccessLog
from iogate.gateway.http.body import Bodies
from iogate.gateway.http.hosts import Hosts
from iogate.gateway.http.large_responses import LargeResponses
from iogate.gateway.http.origins import Origins
from iogate.gateway.http.responses import STORE_DOWN, STORE_SLOW, HTTPError, store_error
from iogate.gateway.observability.metrics import EventCounts, Snapshot
from iogate.gateway.runs.run_stream import Streams
from iogate.gateway.validation.validator import Validation
from iogate.security.password_hashing import Hashing
from iogate.settings import Settings
from iogate.timing.clock import StoreClock

if TYPE_CHECKING:
    from pathlib import Path

    from iogate.auth.model import StoredAuth
    from iogate.compiler.revision import Revision
    from iogate.gateway.authentication.run_links import Links
    from iogate.gateway.calls.operator_calls import OperatorCalls
    from iogate.gateway.calls.routing_table import Table
    from iogate.gateway.certificates import Certificates
    from iogate.gateway.console.session import Sessions
    from iogate.gateway.http.client_address import TrustedProxies
    from iogate.gateway.observability.metrics import Counts
    from iogate.gateway.observability.shared_metrics import SharedMetrics
    from iogate.gateway.operators.operator_api import OperatorApi
    from iogate.store.revisions.projects import Live
    from iogate.store.runs.intake import Intake
    from iogate.store.store import Store

LAST_BODY_S = 5.0
STORE_TIMEOUT_S = 0.9
"""Longest wait of a route for the store; the whole call then takes less than a second."""


@dataclass(kw_only=True)
class GatewayState:
    """State that all routes of the process share."""

    links: Links
    loopback: bool
    """Whether only this machine can reach the gateway."""
    public_url: str
    access_log: AccessLog = field(default_factory=AccessLog)
    hosts: Hosts = field(default_factory=Hosts)
    origins: Origins = field(default_factory=Origins)
    trusted_proxies: TrustedProxies | None = None
    """None if the peer of each connection is the client."""
    root: Path | None = None
    """The project's folder, which paths of secret files are relative to."""
    store: Store | None = None
    """None until the first connection."""
    clock: StoreClock = field(default_factory=StoreClock)
    """Links expire by the store's time, since the clocks of gateways differ."""
    intake: Intake | None = None
    table: Table | None = None
    """None until a revision is loaded."""
    streams: Streams = field(default_factory=lambda: Streams(Settings.streams))
    counts: dict[str, Counts] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    operator_calls: OperatorCalls | None = None
    """Handler of calls that operators make; None without operators."""
    operators: OperatorApi | None = None
    """HTTP API of operators; None without the setting."""
    sessions: Sessions | None = None
    """Sessions of the console; None without operators."""
    senders: StoredAuth | None = None
    """Credentials that may send events; None: the path is closed."""
    sender_fingerprints: Callable[[], Mapping[str, str]] = dict
    """Returns the fingerprints of the secrets of event senders, by their source."""
    fingerprint: Fingerprint = no_fingerprint
    """Makes the fingerprints of secrets of this process."""
    events: EventCounts = field(default_factory=EventCounts)
    shared: SharedMetrics | None = None
    """Counts of the other processes on this port; None if there is only one process."""
    certificates: Certificates | None = None
    """Files of the gateway's own TLS; None without it."""
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    """The process is about to end: requests that wait for a run are answered now."""

    bodies: Bodies = field(default_factory=Bodies)
    operator_bodies: Bodies = field(default_factory=Bodies)
    """Bodies of operators that are or may be large; they do not count towards the budget of calls."""
    large_responses: LargeResponses = field(default_factory=LargeResponses)
    hashing: Hashing = field(default_factory=Hashing)
    key_sets: KeySets = field(default_factory=KeySets)
    validation: Validation = field(default_factory=Validation)

    def snapshot(self) -> Snapshot:
        """Return the counts in the state of this gateway process, without a copy."""
        return Snapshot(
            apis=self.counts,
            events=self.events,
            processes=1,
            streams=len(self.streams),
            revision=self.table.number if self.table is not None else None,
            certificate_expiry_s=None if self.certificates is None else self.certificates.expires_s,
        )

    def verified_revision(self, project: str, live: Live) -> Revision | None:
        """Return the content of a live revision if this gateway serves it, and so has verified it."""
        release = None if self.table is None else self.table.releases.get(project)
        if release is None or (release.number, release.digest) != live:
            return None
        return release.revision

    def drain(self) -> None:
        """Drain the state of the gateway: end all waits for runs; unfinished bodies get a few seconds."""
        self.draining.set()
        self.bodies.shorten(LAST_BODY_S)
        self.operator_bodies.shorten(LAST_BODY_S)

    @asynccontextmanager
    async def reach(self) -> AsyncIterator[Store]:
        """Yield the store of the gateway's state for a short exchange. Raises HTTPError: a 503."""
        if self.store is None:
            raise HTTPError(STORE_DOWN)
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                yield self.store
        except (TimeoutError, Unreachable) as error:
            raise HTTPError(store_error(error, STORE_SLOW)) from None

    async def check_store(self) -> Store:
        """Return the store if it answers now, before an operation of several exchanges.

        Raises HTTPError: the 503.
        """
        async with self.reach() as store:
            await store.check_server()
            return store
