"""Loader of the routing table from the live revisions of all projects.

Used by `revision_refresher`. Invariants: a revision that cannot be loaded leaves the last good one of its
project in the table, and affects no other project; each failure is known with its reason, for the
announcement.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from iogate.auth.model import JwtAuth, alternatives
from iogate.errors import WrongStore
from iogate.gateway.authentication.jwt_keys import load_library
from iogate.gateway.calls import routing_table
from iogate.gateway.state import STORE_TIMEOUT_S
from iogate.store.maintenance.process_presence import Failure, concerns_revision, failure

if TYPE_CHECKING:
    from iogate.compiler.revision import Bundle, Revision
    from iogate.gateway.calls.routing_table import Release, Table
    from iogate.gateway.state import GatewayState
    from iogate.store.revisions.gate_states import Gate
    from iogate.store.revisions.projects import LiveRevisions
    from iogate.store.revisions.revisions import Revisions


class TableLoader:
    """Loader of routing tables for one gateway process."""

    def __init__(self, state: GatewayState) -> None:
        self._state = state
        self.failed: dict[str, Failure] = {}
        """Live revision of a project that could not be loaded."""

    async def load(self, revisions: Revisions, found: LiveRevisions) -> tuple[Table, Exception | None]:
        """Load the routing table of the live revisions; return it, and the first error of one that fails.

        The time that building takes is not limited. Raises StoreUnavailable or TimeoutError, or another error
        that concerns no revision.
        """
        before = self._state.table
        kept = before.releases if before is not None else {}
        releases: dict[str, Release] = {}
        failed: dict[str, Failure] = {}
        first: Exception | None = None
        for project in sorted(found.live.keys() | found.invalid.keys()):
            old = kept.get(project)
            invalid = found.invalid.get(project)
            number, digest = found.live.get(project, (0 if invalid is None else invalid.number, ""))
            if old is not None and (old.number, old.digest) == (number, digest):
                releases[project] = old
                continue
            try:
                if invalid is not None:
                    raise revisions.invalid(project, invalid)  # noqa: TRY301 - handled as each other failure
                async with asyncio.timeout(STORE_TIMEOUT_S * 2):
                    revision = await revisions.load(number, project=project)
                if _accepts_jwts(revision):
                    await load_library()
                shared = _shared(self._state)
                await asyncio.to_thread(
                    routing_table.read_address_files, revision, before=before, shared=shared
                )
                releases[project] = self._build(project, number, digest, revision, shared)
            except Exception as error:
                if not concerns_revision(error):
                    raise
                failed[project] = failure(number, error)
                first = first or error
                if old is not None:
                    releases[project] = old
        self.failed = failed
        if before is not None and before.releases == releases:
            return before, first
        return routing_table.Table(releases.values()), first

    def _build(
        self, project: str, number: int, digest: str, revision: Revision, shared: routing_table.Shared
    ) -> Release:
        state = self._state
        try:
            return routing_table.build(
                (number, digest),
                revision,
                project=project,
                counts=state.counts,
                before=state.table,
                shared=shared,
            )
        except ValueError as error:
            # Revisions of this release's compiler always build; another release may have compiled this one.
            old = state.table.releases.get(project) if state.table is not None else None
            served = f"{old.number} stays live" if old is not None else "no revision is live"
            raise WrongStore(
                f"revision {number} cannot be used, {served}: {str(error).splitlines()[0]}"
            ) from error


def _shared(state: GatewayState) -> routing_table.Shared:
    return routing_table.Shared(
        root=state.root,
        hashing=state.hashing,
        fingerprint=state.fingerprint,
        proxies=state.trusted_proxies,
        key_sets=state.key_sets,
    )


async def read_bundle(state: GatewayState, value: Any) -> Bundle:
    """Return the bundle in decoded JSON, after a check that a routing table can be built of it.

    The check reads no secret and no file that the bundle names, since its sender may only have the right to
    read the system. Raises InvalidFiles if it is not complete and consistent, or could not be served: a
    process that cannot load a revision would only say so after it is live.
    """
    from iogate.reconcile import bundle_codec  # noqa: PLC0415 - only for a publication

    bundle = await asyncio.to_thread(bundle_codec.decode, value)
    if _accepts_jwts(bundle.revision):
        await load_library()
    try:
        await asyncio.to_thread(
            routing_table.build,
            (0, ""),
            bundle.revision,
            counts={},
            before=state.table,
            shared=routing_table.Shared(check_only=True),
        )
    except ValueError as error:
        raise bundle_codec.invalid(str(error).splitlines()[0]) from error
    return bundle


def _accepts_jwts(revision: Revision) -> bool:
    return any(isinstance(form, JwtAuth) for api in revision.apis.values() for form in alternatives(api.auth))


def mismatch(gate: Gate, table: Table) -> str:
    """Return how a gate contradicts the routing table of its project; empty if it does not."""
    release = table.releases.get(gate.project)
    number = release.number if release is not None else 0
    route = release.routes.get(gate.api) if release is not None else None
    if route is None:
        return f"revision {number} has no such API"
    if gate.digest != route.digest or gate.git != route.api.enabled:
        return f"revision {number} says something else of this API"
    return ""
