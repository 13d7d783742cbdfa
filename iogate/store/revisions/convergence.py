"""Convergence: the processes that have loaded a published revision, and the reasons of the others.

Used by `apply`, which waits, and by `status`. Invariants: a process that is connected to the store counts,
even if it does not answer; a process that has crashed does not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from iogate.store.maintenance.process_presence import WORKER, Observed, Presence, Process
from iogate.store.revisions.origin import DEFAULT_PROJECT

GONE_S = 1.0
"""Time without a connection after which a process counts as crashed: it may reconnect meanwhile."""
SILENT_S = 6.0
"""Age of the last announcement after which a process counts as crashed, if its connection is unknown. Running
processes announce themselves every four seconds."""
FAILED_S = 1.0
"""Time after which a wait ends if every late process has said why it cannot load the revision."""
LOOK_S = 0.02
NAMED = 8
"""Number of late processes that a text names."""


class Late(msgspec.Struct, frozen=True, kw_only=True):
    """Process that has not loaded a revision."""

    kind: str
    id: str
    revision: int
    """The revision that it uses; 0 for none."""
    reason: str
    """Why it could not load the new one; empty if it has not answered."""

    def __str__(self) -> str:
        name = f"{self.kind} {self.id}"
        if not self.reason:
            return f"{name} has not answered"
        kept = f"keeps revision {self.revision}" if self.revision else "has none"
        return f"{name} {kept}: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "id": self.id,
            "revision": self.revision or None,
            "reason": self.reason or None,
        }


class Convergence(msgspec.Struct, frozen=True, kw_only=True):
    """State of all processes with regard to one revision."""

    number: int
    total: int
    late: tuple[Late, ...] = ()
    took_s: float = 0.0
    """Time that the caller has waited."""

    @property
    def loaded(self) -> int:
        """Number of processes that have loaded the published revision, by its convergence."""
        return self.total - len(self.late)

    def __str__(self) -> str:
        return f"{self.loaded}/{self.total} on revision {self.number}"

    def describe_late(self) -> str:
        """Return the names of the processes that delay the convergence, with their reasons."""
        more = f"; and {len(self.late) - NAMED} more" if len(self.late) > NAMED else ""
        return "; ".join(map(str, self.late[:NAMED])) + more

    def to_json(self) -> dict[str, Any]:
        return {
            "total": self.total,
            "loaded": self.loaded,
            "tookS": round(self.took_s, 3),
            "late": [each.to_json() for each in self.late],
        }


def read_convergence(number: int, value: Mapping[str, Any]) -> Convergence:
    """Return the convergence of a revision from the value that `Convergence.to_json` has returned."""
    return Convergence(
        number=number,
        total=value["total"],
        late=tuple(
            Late(
                kind=each["kind"],
                id=each["id"],
                revision=each["revision"] or 0,
                reason=each["reason"] or "",
            )
            for each in value["late"]
        ),
        took_s=value["tookS"],
    )


class Convergences:
    """Client that compares the announcements of all processes with a published revision."""

    def __init__(self, presence: Presence, project: str = DEFAULT_PROJECT) -> None:
        self._presence = presence
        self._project = project

    async def look(self, number: int) -> Convergence:
        """Return the convergence of a revision now: which processes have loaded it."""
        return compare(await self._presence.observe(), number, self._project)

    async def wait(self, number: int, timeout_s: float) -> Convergence:
        """Wait until every process has loaded a revision, and return the convergence.

        The wait ends early if every late process keeps saying that it cannot load the revision.
        """
        began = time.monotonic()
        unconnected: dict[str, float] = {}
        failed_since: float | None = None
        while True:
            observed = await self._presence.observe()
            now = time.monotonic()
            missing = {each.process.id for each in observed if each.connected is False}
            unconnected = {name: unconnected.get(name, now) for name in missing}
            gone = {name for name, since in unconnected.items() if now - since >= GONE_S}
            state = compare(observed, number, self._project, gone=gone, took_s=now - began)
            failed = bool(state.late) and all(each.reason for each in state.late)
            failed_since = (failed_since or now) if failed else None
            if (
                not state.late
                or now - began >= timeout_s
                or (failed_since is not None and now - failed_since >= FAILED_S)
            ):
                return state
            await asyncio.sleep(LOOK_S)


def compare(
    observed: Collection[Observed],
    number: int,
    project: str = DEFAULT_PROJECT,
    *,
    gone: Collection[str] | None = None,
    took_s: float = 0.0,
) -> Convergence:
    """Return the convergence of a revision by the announcements of processes.

    `gone` names the unconnected processes that have crashed; None: all unconnected ones.
    """
    counted = [each.process for each in observed if _counts(each, gone)]
    late = [
        Late(
            kind=each.kind,
            id=each.id,
            revision=loaded_revision(each, project),
            reason=failure.reason
            if (failure := each.failed.get(project)) and _refuses(each, project, number)
            else "",
        )
        for each in counted
        if loaded_revision(each, project) < number or _refuses(each, project, number)
    ]
    return Convergence(number=number, total=len(counted), late=tuple(late), took_s=took_s)


def loaded_revision(process: Process, project: str = DEFAULT_PROJECT) -> int:
    """Return the revision that a process has loaded, for the convergence of its project; 0 for none."""
    if process.loaded is None:  # a gateway of an earlier release
        return process.revision if project == DEFAULT_PROJECT else 0
    return process.loaded.get(project, 0)


def _refuses(process: Process, project: str, number: int) -> bool:
    """Return whether a process refuses convergence: it could not load a revision or a newer one."""
    failure = process.failed.get(project)
    return failure is not None and failure.revision >= number


def _counts(observed: Observed, gone: Collection[str] | None) -> bool:
    process = observed.process
    if process.loaded is None:
        # An earlier release: its workers do not load revisions, and its gateways have no channel.
        return process.kind != WORKER and observed.age_s < SILENT_S
    if observed.connected is None:
        return observed.age_s < SILENT_S
    return observed.connected or (gone is not None and process.id not in gone)
