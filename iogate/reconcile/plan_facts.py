"""Facts about the live system that give changes their meaning: switches, runs in flight, next ticks.

Read by the commands, used by plan. Without a store a plan has no facts. Invariant: the work is bounded; runs
are read only if a change concerns them, and a count that is not complete says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from iogate.compiler.revision import Revision
from iogate.store import keys
from iogate.store.revisions.due_schedules import Upcoming
from iogate.store.revisions.gate_states import Gate
from iogate.store.revisions.own_paths import Taken
from iogate.store.revisions.schedule_states import Pause
from iogate.store.store import Store

MOST_RUNS: Final = 20_000
"""Maximum number of runs that are read for one count, so that a plan takes a second at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Number of runs; `at_least` if not all runs of the store were read."""

    number: int
    at_least: bool = False

    def __str__(self) -> str:
        return f"{'at least ' if self.at_least else ''}{self.number:,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseVerdicts:
    """Debug cases of an API that the old input schema accepts."""

    total: int
    failing: tuple[str, ...]
    """Names of those that the new schema refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Facts that a plan uses; empty without a store."""

    now_ms: int | None = None
    """Time of the store."""
    gates: Mapping[str, Gate] = field(default_factory=dict)
    """By API."""
    in_flight: Mapping[str, Mapping[int, Count]] = field(default_factory=dict)
    """Runs that have not ended, by revision, of each workflow and of each API."""
    aged: Mapping[str, Count] = field(default_factory=dict)
    """Finished runs that are older than the new retention, by API with a shorter retention."""
    upcoming: Mapping[str, Upcoming] = field(default_factory=dict)
    """Schedules with their next ticks, by workflow without version."""
    pauses: Mapping[str, Pause] = field(default_factory=dict)
    """Switches of added and changed schedules that are disabled, by workflow without version."""
    cases: Mapping[str, CaseVerdicts] = field(default_factory=dict)
    """By API with another input schema."""
    foreign: Mapping[str, str] = field(default_factory=dict)
    """Projects that own new APIs already, by API."""
    taken_paths: Mapping[str, Taken] = field(default_factory=dict)
    """Own paths that other projects have, by API that wants one."""
    deleted: frozenset[str] = frozenset()
    """Ids of APIs that were deleted, and would start disabled if they return."""


NO_FACTS: Final = Facts()


async def read(store: Store, before: Revision, after: Revision) -> Facts:
    """Read the facts about the live system that the differences between two revisions need.

    Raises StoreUnavailable.
    """
    touched = _touched(before, after)
    shortened = {
        name: api.retention_s
        for name, api in after.apis.items()
        if name in before.apis and api.retention_s < before.apis[name].retention_s
    }
    added = after.apis.keys() - before.apis.keys()
    now_ms = await store.now_ms()
    return Facts(
        now_ms=now_ms,
        gates=await store.gates.states(),
        in_flight=await _in_flight(store, touched) if touched else {},
        aged=await _aged(store, now_ms, shortened) if shortened else {},
        upcoming=await store.schedules.upcoming() if before.scheduled else {},
        pauses=await _pauses(store, before, after),
        foreign=await _foreign(store, added) if added else {},
        taken_paths={each.api: each for each in await store.revisions.taken_paths(after)},
        deleted=await store.gates.deleted() if added else frozenset(),
    )


async def _foreign(store: Store, apis: Collection[str]) -> dict[str, str]:
    gates = await store.gates.states(everywhere=True)
    return {
        name: gates[name].project
        for name in apis
        if name in gates and gates[name].project != store.revisions.project
    }


async def _pauses(store: Store, before: Revision, after: Revision) -> dict[str, Pause]:
    """Return the switches of disabled schedules that a plan adds or changes: they outlive revisions."""
    names = [name for name, each in after.scheduled.items() if before.scheduled.get(name) != each]
    states = await store.schedule_states.read(names, await store.timer_now_ms())
    return {name: state.pause for name, state in states.items() if state.pause is not None}


def _touched(before: Revision, after: Revision) -> set[str]:
    """Return the workflows and APIs for the facts of a plan: their runs keep an older definition."""
    found = {
        name
        for name, workflow in before.workflows.items()
        if name not in after.workflows or after.workflows[name].program != workflow.program
    }
    for name, api in before.apis.items():
        if name not in after.apis or after.apis[name].workflow != api.workflow:
            found.add(name)
    return found


async def _in_flight(store: Store, touched: set[str]) -> dict[str, dict[int, Count]]:
    listing = await store.runs.search(statuses=keys.NOT_ENDED, limit=MOST_RUNS, most=MOST_RUNS)
    numbers: dict[str, Counter[int]] = {}
    for run in listing.runs:
        for name in {run.workflow, run.api} & touched:
            numbers.setdefault(name, Counter())[run.revision] += 1
    partial = listing.looked_back_to_ms is not None
    return {
        name: {revision: Count(number=number, at_least=partial) for revision, number in counter.items()}
        for name, counter in numbers.items()
    }


async def _aged(store: Store, now_ms: int, retentions: Mapping[str, float]) -> dict[str, Count]:
    newest_ms = now_ms - int(min(retentions.values()) * 1000)
    listing = await store.runs.search(
        statuses=sorted(keys.ENDED), until_ms=newest_ms, limit=MOST_RUNS, most=MOST_RUNS
    )
    numbers = Counter(
        run.api
        for run in listing.runs
        if run.api in retentions
        and run.ended_at_ms is not None
        and run.ended_at_ms < now_ms - retentions[run.api] * 1000
    )
    partial = listing.looked_back_to_ms is not None
    return {api: Count(number=number, at_least=partial) for api, number in numbers.items()}
