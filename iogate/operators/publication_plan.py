"""Plan of a publication, as it is shown, checked and confirmed, and its JSON for a command elsewhere.

Used by the commands that plan and publish, and by the route of plans. Invariants: it contains no bundle and
no secret; read from its JSON, it is shown and checked like the one that was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iogate.operators.gates import override_json
from iogate.operators.secrets import missing_secrets
from iogate.reconcile import deletion_guard
from iogate.reconcile.deletion_guard import Allowed, Deletions
from iogate.reconcile.drift import Drift
from iogate.reconcile.live_plan import LivePlan
from iogate.reconcile.plan import NOTHING, Plan
from iogate.reconcile.plan_reader import read_plan
from iogate.store.revisions.convergence import Convergence, read_convergence
from iogate.store.revisions.gate_states import Gate
from iogate.store.store import Store


@dataclass(frozen=True, kw_only=True)
class PublicationPlan:
    """Changes that a publication makes, the revision that it replaces, and the state of the live system."""

    store: str
    """URL of the store without its password."""
    identity: str
    """Random name of the store; empty if nothing was ever published there."""
    project: str
    number: int
    """Number of the live revision; 0 if nothing was ever applied."""
    digest: str
    """Digest of the live revision; of an empty one without a number."""
    restored: int | None
    """Number of the revision whose content the live one has again; None if it is no rollback."""
    wanted: str
    """Digest of the revision to publish."""
    files: str
    """Digest of the compiled files, of which the wanted revision may be a part."""
    plan: Plan
    overrides: tuple[Mapping[str, Any], ...]
    """Overrides that a publication keeps: `api`, and the members of `override_json`."""
    drift: tuple[Drift, ...]
    deletions: Deletions
    unknown: tuple[str, ...] = ()
    """For a repair: APIs that only the store names, because no revision that it keeps is authentic."""
    faults: tuple[str, ...] = ()
    """Why the live revision is refused; only for a repair."""
    processes: Convergence | None = None
    """Which processes have loaded the live revision; None without one, and if it was not asked for."""
    missing: tuple[Mapping[str, Any], ...] = ()
    """Secrets that they lack, as `missing_secrets.of_revision` returns them."""

    @property
    def changes(self) -> bool:
        """Whether the publication changes anything."""
        return bool(self.plan or self.drift or self.faults)

    @property
    def needs(self) -> list[str]:
        """Options that permit the deletions of the publication."""
        return self.deletions.needed()

    def check(self, allowed: Allowed) -> None:
        """Check that the publication deletes no more than the options allow.

        Raises Refused if it does.
        """
        self.deletions.check(allowed)
        deletion_guard.check_unknown(self.unknown, allowed)

    def head(self) -> dict[str, Any]:
        """Return the head of a publication's plan: members of `iogate plan -o json` before the changes."""
        return {
            "store": self.store,
            "base": {"revision": self.number, "digest": self.digest} if self.number else None,
            "wanted": {"digest": self.wanted},
            "overrides": list(self.overrides),
            "processes": None if self.processes is None else self.processes.to_json(),
            "needs": self.needs,
            "drift": [each.to_json() for each in self.drift],
            "missing": list(self.missing),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the plan of a publication that is no repair; `read` is the inverse."""
        return {
            **self.head(),
            "project": self.project,
            "identity": self.identity or None,
            "restored": self.restored,
            "files": {"digest": self.files},
            "deletions": self.deletions.to_json(),
            **self.plan.to_json(),
        }

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> PublicationPlan:
        """Return the plan of a publication from its JSON."""
        number = value["base"]["revision"] if value["base"] is not None else 0
        state = value["processes"]
        return cls(
            store=value["store"],
            identity=value["identity"] or "",
            project=value["project"],
            number=number,
            digest=value["base"]["digest"] if number else NOTHING.revision.digest,
            restored=value["restored"],
            wanted=value["wanted"]["digest"],
            files=value["files"]["digest"],
            plan=read_plan(value),
            overrides=tuple(value["overrides"]),
            drift=tuple(Drift(**each) for each in value["drift"]),
            deletions=Deletions.read(value["deletions"]),
            processes=None if state is None else read_convergence(number, state),
            missing=tuple(value["missing"]),
        )


def overrides_of(gates: Mapping[str, Gate]) -> tuple[Mapping[str, Any], ...]:
    """Return the overrides that a publication keeps, in the order of their APIs."""
    return tuple(
        {"api": api, **override_json(gate.override)}
        for api, gate in sorted(gates.items())
        if gate.override is not None
    )


async def describe_plan(store: Store, found: LivePlan, *, with_processes: bool = True) -> PublicationPlan:
    """Return a plan against the live revision as it is shown; with the state of the processes, or without.

    Raises StoreUnavailable.
    """
    state, missing = None, []
    if with_processes:
        state = await store.convergence.look(found.number) if found.number else None
        missing = await missing_secrets.of_revision(store, found.bundle.revision, found.bundle.programs)
    # A repair has no trustworthy origin.
    origin = await store.revisions.origin(found.number) if found.number and not found.faults else None
    return PublicationPlan(
        store=store.shown_url,
        identity=await store.identity(),
        project=store.revisions.project,
        number=found.number,
        digest=found.before.digest,
        restored=origin.restores if origin is not None else None,
        wanted=found.bundle.revision.digest,
        files=found.files,
        plan=found.plan,
        overrides=overrides_of(found.facts.gates),
        drift=found.drift,
        deletions=found.deletions,
        unknown=found.unknown,
        faults=found.faults,
        processes=state,
        missing=tuple(missing),
    )
