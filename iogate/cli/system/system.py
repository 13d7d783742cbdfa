"""Port of commands to the live system: its operations, apart from the way to it.

Implemented by `StoreSystem` and `HttpSystem`. Results are the values that the functions of `iogate.operators`
return, as JSON. Each operation raises the errors of those functions; over HTTP also Refused without the role,
and Unreachable without a usable response. Invariant: each change is recorded in the activity with its reason.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from iogate.errors import NotFound, Refused, Unreachable

if TYPE_CHECKING:
    from iogate.compiler.revision import Api, Bundle
    from iogate.operators.batches.batch_selection import BatchRequest
    from iogate.operators.live_revision import ApiSelection
    from iogate.operators.publication_plan import PublicationPlan
    from iogate.operators.publications import Publication
    from iogate.operators.revisions import Version
    from iogate.reconcile.deletion_guard import Allowed
    from iogate.reconcile.live_plan import CaseReader
    from iogate.reconcile.wanted_revision import Scope
    from iogate.store.revisions.origin import Origin
    from iogate.store.runs.run_index import RunFilter
    from iogate.testing.behaviour.replays import WorkflowReplay

Json: TypeAlias = dict[str, Any]
INTERRUPTED: Final = "IOG655"
RunAction: TypeAlias = Literal["cancel", "retry", "suspend", "resume", "redeliver"]


@dataclass(frozen=True, kw_only=True)
class RunChange:
    """Change that a command makes of one or more runs."""

    action: RunAction
    verb: str
    """Past tense of the action, for the activity."""
    reason: str = ""
    operation: str = ""
    """Id of the command; repeated with the same id, it changes no run twice."""
    pointer: str | None = None
    """Task from which a retry continues; None: the one that faulted."""
    current: bool = False
    """Whether a retry uses the live definition."""


@dataclass(kw_only=True)
class RunChanges:
    """Outcome of a change of runs."""

    done: list[Json] = field(default_factory=list)
    """Result of each run that was not refused: `uid`, `outcome`, and remarks."""
    left: list[Refused | NotFound] = field(default_factory=list)
    """Errors of the runs that cannot be changed."""


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """Deletion of ended runs before the end of their retention."""

    filter: RunFilter
    before_ms: int
    """Time before which they ended."""
    reason: str
    confirm: Callable[[Json], None]
    """Takes the preview, as `Prunable.to_json` returns it, and raises unless the runs are to be deleted."""


def interrupted(message: str, operation: str) -> Unreachable:
    """Return the error after a lost response of the live system to the change `operation` of runs."""
    return Unreachable(
        f"{message}: some runs may have been changed",
        code=INTERRUPTED,
        hint=f"repeat the command with --id {operation}, which changes no run twice",
    )


class Runs(Protocol):
    """Operations on runs, with the results of `run_actions`, `run_files` and `operators.statistics`.

    `statistics` and `errors` raise NotFound for an unknown API or workflow; `prune` as `run_deletion` does.
    """

    async def list(
        self, wanted: RunFilter, *, limit: int, cursor: str | None = None, complete: bool = False
    ) -> Json:
        """Return the newest runs that match in the live system.

        It ends early after many runs that do not match, unless it is to be `complete`.
        """
        ...

    async def show(self, uid: str, *, data: bool = False, task: str | None = None) -> Json:
        """Return a run of the live system."""
        ...

    async def wait(self, uid: str, wait_s: float) -> Json:
        """Return a run of the live system with its tasks, at its end or after a time."""
        ...

    async def journal(self, uid: str) -> Json:
        """Return `uid` and kept journal `entries` of a run of the live system."""
        ...

    def follow(self, uid: str) -> AsyncIterator[Json]:
        """Yield the journal of a run of the live system, kept and new entries, until it ends."""
        ...

    async def input(self, uid: str) -> Any:
        """Return the input of a run of the live system; raise Refused if values are redacted."""
        ...

    async def files(self, uid: str) -> Sequence[Json]:
        """Return the metadata of a run's files in the live system."""
        ...

    async def read_file(self, uid: str, file: Json) -> bytes:
        """Return the content of a file of a run of the live system; raise NotFound if it is gone."""
        ...

    async def statistics(
        self, *, api: str | None, workflow: str | None, since_ms: int | None, until_ms: int | None
    ) -> Json:
        """Return counts and times of the live system's runs."""
        ...

    async def errors(self, *, api: str | None, since_ms: int | None) -> Json:
        """Return the distinct errors of the live system's runs."""
        ...

    async def change(self, change: RunChange, uids: Sequence[str]) -> RunChanges:
        """Change those runs of the live system that can be changed, one by one."""
        ...

    async def prune(self, wanted: Deletion) -> int:
        """Delete ended runs of the live system if the caller confirms; return their number."""
        ...


class Batches(Protocol):
    """Bulk actions on runs, with the results of `operators.batches`."""

    @property
    def carries_out(self) -> bool:
        """Whether `step` may carry out a batch here without a worker: only by the live system's store."""
        ...

    async def preview(self, request: BatchRequest, reason: str) -> Json:
        """Return the number of runs that a batch would have in the live system, and a sample."""
        ...

    async def create(
        self, request: BatchRequest, *, reason: str, operation: str, at_most: int | None
    ) -> Json:
        """Create a batch in the live system, or return the one of the same `operation`."""
        ...

    async def list(self, limit: int) -> Json:
        """Return the newest batches of the live system."""
        ...

    async def show(self, id_: str) -> Json:
        """Return a batch of the live system with its progress."""
        ...

    async def stop(self, id_: str, reason: str) -> Json:
        """Stop a batch of the live system, and return it."""
        ...

    async def proceed(self, id_: str, reason: str) -> Json:
        """Continue a stopped batch of the live system, and return it."""
        ...

    async def step(self) -> float | None:
        """Carry out a step of a due batch in the store; return the seconds to the next one, or None."""
        ...


@dataclass(frozen=True, kw_only=True)
class GateSwitch:
    """Switch of the gates of selected APIs, all in one step."""

    selection: ApiSelection
    enabled: bool
    hold: bool = False
    reason: str = ""
    ttl_s: float | None = None
    rate: float | None = None
    """Number of runs on hold to release per second; None: all at once."""
    confirm: Callable[[Sequence[str]], None] | None = None
    """Asks about the ids of the selected APIs, and raises if the answer is no; None: do not ask."""


class Apis(Protocol):
    """Operations on APIs, with the results of `apis`, `gates` and `debug_cases`."""

    async def list(self) -> Json:
        """Return the APIs of the live system."""
        ...

    async def show(self, api: str) -> Json:
        """Return an API of the live system."""
        ...

    async def contract(self, api: str) -> Api:
        """Return all that a call of an API of the live system needs. Raises NotFound."""
        ...

    async def switch(self, wanted: GateSwitch) -> Json:
        """Switch selected APIs of the live system; ask again if the selection has moved."""
        ...

    async def debug(self, api: str, case: str, *, reason: str, wait_s: float) -> Json:
        """Replay a debug case that the live system keeps with its revision; only over HTTP.

        On the store, the command calls the gateway itself.
        """
        ...

    async def overrides(self) -> Json:
        """Return the APIs of the live system with an override."""
        ...

    async def clear_overrides(self, names: Sequence[str] | None, *, reason: str, rate: float | None) -> Json:
        """End overrides of APIs of the live system, all without names."""
        ...


class Workflows(Protocol):
    """Operations on workflows, with the results of `operators.workflows`."""

    async def list(self) -> Json:
        """Return the workflows of the live system."""
        ...

    async def show(self, workflow: str) -> Json:
        """Return a workflow of the live system."""
        ...


class Schedules(Protocol):
    """Operations on schedules, with the results of `operators.schedules`."""

    async def list(self) -> Json:
        """Return the schedules of the live system."""
        ...

    async def enable(self, names: Sequence[str], *, reason: str) -> Json:
        """Enable schedules of the live system."""
        ...

    async def disable(self, names: Sequence[str], *, reason: str, ttl_s: float | None) -> Json:
        """Disable schedules of the live system."""
        ...

    async def run(self, names: Sequence[str], *, reason: str) -> Json:
        """Start a run of each schedule in the live system."""
        ...


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """Compiled files, and the part of them that is compared and published."""

    bundle: Bundle
    scope: Scope
    cases: CaseReader | None = None
    """Returns how debug cases of the files fare under two revisions; None: not compared."""


@dataclass(frozen=True, kw_only=True)
class PublicationRequest:
    """Publication of files, or of the content of an earlier revision."""

    source: PlanRequest | int
    """The files, or the number of the revision."""
    origin: Origin
    """Author, message, and for files the commit; a server knows the author by the token."""
    allowed: Allowed
    wait_s: float
    """Longest time to wait for gateways and workers."""
    clear_overrides: bool = False
    rollback_on_failure: bool = False
    repair: bool = False
    """Whether a live revision that is refused is replaced."""
    confirm: Callable[[PublicationPlan], Awaitable[None]]
    """Shows and checks the plan, asks, and raises if it is not to be published."""


class Revisions(Protocol):
    """Operations on revisions, with the results of `revisions`, `drift` and `publications`."""

    async def history(self, limit: int) -> Json:
        """Return the newest kept revisions of the live system."""
        ...

    async def show(self, number: int | None) -> Json:
        """Return a revision of the live system; None is the live one."""
        ...

    async def diff(self, before: int | None, after: int | None) -> Json:
        """Return the difference between two revisions of the live system; None is the live one."""
        ...

    async def version(self, number: int | None) -> Version:
        """Return a kept revision of the live system with its bundle; None is the live one."""
        ...

    async def drift(self) -> Json:
        """Return overrides and drift of the live system from its revision."""
        ...

    async def previous(self) -> int:
        """Return the number of the live system's previous revision. Raises NotFound."""
        ...

    async def plan(self, wanted: PlanRequest) -> PublicationPlan:
        """Return the plan of files against the live system."""
        ...

    async def replay(self, wanted: PlanRequest, *, count: int, limit_s: float) -> tuple[WorkflowReplay, ...]:
        """Replay the last runs of changed workflows of the live system; raise Misused over HTTP."""
        ...

    async def publish(self, wanted: PublicationRequest) -> Publication:
        """Plan, let the caller confirm, and publish that plan in the live system.

        Raises Stale if another revision went live in between, and Misused for what the way to the system
        cannot do.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """Gateway that takes calls of APIs."""

    url: str
    certificate: str | None = None
    """File with the only certificates to trust; None: those that this machine trusts."""
    names_secrets: bool = True
    """Whether the system may name the secrets of this machine that a call sends; a server may not."""


class System(Protocol):
    """The live system of a project."""

    @property
    def runs(self) -> Runs:
        """Operations on the runs of the live system."""
        ...

    @property
    def batches(self) -> Batches:
        """Bulk actions on the runs of the live system."""
        ...

    @property
    def apis(self) -> Apis:
        """Operations on the APIs of the live system."""
        ...

    @property
    def workflows(self) -> Workflows:
        """Operations on the workflows of the live system."""
        ...

    @property
    def schedules(self) -> Schedules:
        """Operations on the schedules of the live system."""
        ...

    @property
    def revisions(self) -> Revisions:
        """Operations on the revisions of the live system."""
        ...

    async def gateway(self) -> Gateway:
        """Return the gateway of the live system that takes calls of APIs."""
        ...

    async def status(self) -> Json:
        """Return the overview of the live system."""
        ...

    async def activity(
        self,
        *,
        since_ms: int | None,
        operator: str | None,
        action: str | None,
        target: str | None,
        limit: int,
    ) -> Json:
        """Return recorded changes of the live system, newest first."""
        ...
