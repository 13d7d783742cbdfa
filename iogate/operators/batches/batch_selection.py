"""Selection of the runs of a batch, by a filter or by their uids.

Used by `batches`, and by previews. Invariant: the same filter selects the same runs in a preview and in a
batch, if no run changes meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec

from iogate.errors import Misused, NotFound, Refused
from iogate.messages import counted
from iogate.operators.runs.filter_names import require_known_names
from iogate.store import keys
from iogate.store.operators.batches import BatchAction, BatchRun
from iogate.store.revisions.due_schedules import LIVE_REVISION
from iogate.store.runs.presentation import list_item, rfc3339
from iogate.store.runs.run_index import RunFilter

if TYPE_CHECKING:
    from iogate.store.runs.views import Summary
    from iogate.store.store import Store

ACTIONS: Final[tuple[BatchAction, ...]] = get_args(BatchAction)
MOST: Final = 100_000
"""Maximum number of runs of a batch."""
NAMED_MOST: Final = 1_000
"""Maximum number of runs that a request names."""
SAMPLE: Final = 10
"""Runs that a preview shows."""
TOO_MANY: Final = "IOG781"


@dataclass(frozen=True, kw_only=True)
class ActionKind:
    """Properties of an action on runs."""

    past: str
    statuses: Sequence[str]
    """Statuses of the runs that it changes."""
    which: str
    """Description of these runs, for an error."""
    wakes: bool = False
    """Whether a changed run waits for a worker, ahead of the new runs of its API."""


KINDS: Final[Mapping[BatchAction, ActionKind]] = {
    "retry": ActionKind(past="retried", statuses=("faulted",), which="faulted runs", wakes=True),
    "cancel": ActionKind(past="cancelled", statuses=keys.NOT_ENDED, which="runs that have not ended"),
    "suspend": ActionKind(
        past="suspended",
        statuses=tuple(each for each in keys.NOT_ENDED if each != "suspended"),
        which="runs that have not ended",
    ),
    "resume": ActionKind(past="resumed", statuses=("suspended",), which="suspended runs", wakes=True),
}


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """Request for a batch: its action, and its runs.

    Raises:
        Misused: there are both a filter and uids, or neither; or the action does not change such runs.
    """

    action: BatchAction
    filter: RunFilter | None = None
    uids: Sequence[str] = ()
    pointer: str | None = None
    """Earlier task from which each run is retried; None: the task that faulted."""
    current: bool = False
    """Whether retries use the live definition."""

    def __post_init__(self) -> None:
        if (self.filter is None) == (not self.uids):
            raise Misused("give either a filter, or the uids of runs")
        if self.filter == RunFilter():
            raise Misused(
                "the filter is empty, and would match all runs", hint="name at least an API or a status"
            )
        if len(self.uids) > NAMED_MOST:
            raise Misused(f"at most {NAMED_MOST} runs can be named; choose more by a filter")
        if self.action != "retry" and (self.pointer is not None or self.current):
            raise Misused(f"from and on are for a retry, and this is: {self.action}")
        kind = KINDS[self.action]
        if self.filter is not None:
            for each in self.filter.statuses:
                if each not in kind.statuses:
                    raise Misused(f"status {each}: only {kind.which} can be {kind.past}")


@dataclass(frozen=True, kw_only=True)
class Selected:
    """Runs of a batch, in the order in which they are changed."""

    runs: Sequence[BatchRun]
    sample: Sequence[Summary] = ()
    """The first of those that a filter has chosen."""


async def select(store: Store, request: BatchRequest) -> Selected:
    """Select the runs of a batch: return those that a request selects now, the newest first.

    A retry by a filter leaves out standing runs of schedules, which have new ones, and runs that a parent has
    waited for, unless it names the parent: their result would reach nobody, and the retried parent starts
    them again.

    Raises NotFound if a filter names an unknown API, Misused if it names an attribute that no API declares,
    and Refused if it matches more than MOST runs.
    """
    if request.filter is None:
        return Selected(
            runs=[run for run, _ in await store.batches.named(tuple(dict.fromkeys(request.uids)))]
        )
    statuses = request.filter.statuses or KINDS[request.action].statuses
    wanted = msgspec.structs.replace(request.filter, statuses=tuple(statuses))
    runs: list[BatchRun] = []
    sample: list[Summary] = []
    retries = request.action == "retry"
    skips_awaited = retries and wanted.parent is None
    async for found in store.runs.pages(wanted):
        page = [
            run
            for run in found
            if not (skips_awaited and run.is_awaited) and not (retries and run.revision == LIVE_REVISION)
        ]
        sample += page[: SAMPLE - len(sample)]
        runs += [BatchRun(uid=run.uid, api=run.api, attempt=run.attempt) for run in page]
        if len(runs) > MOST:
            raise Refused(
                f"the filter matches more than {MOST} runs, the most of one batch",
                code=TOO_MANY,
                hint="narrow it, for example by since and until, and make several batches",
            )
    if not runs:
        await require_known_names(store, wanted)
    return Selected(runs=runs, sample=sample)


async def preview(store: Store, request: BatchRequest) -> dict[str, Any]:
    """Return the number of runs that a batch would change now, a sample of them, and of live workers.

    Raises as `select` does, and NotFound if a named run does not exist.
    """
    if request.filter is None:
        found = await store.batches.named(tuple(dict.fromkeys(request.uids)))
        if lost := [run.uid for run, status in found if not status]:
            raise NotFound(f"{counted(len(lost), 'run')} of {len(found)} do not exist, such as {lost[0]}")
        count, sample = (
            len(found),
            [{"uid": run.uid, "api": run.api, "status": status} for run, status in found],
        )
    else:
        selected = await select(store, request)
        count, sample = len(selected.runs), [list_item(each) for each in selected.sample]
    return {
        "action": request.action,
        "count": count,
        "sample": sample[:SAMPLE],
        "workers": await number_of_workers(store),
    }


async def number_of_workers(store: Store) -> int:
    """Return the number of live workers that carry out batches."""
    workers = await store.presence.list("worker")
    return sum(each.detail.get("audits") == "true" for each in workers)


def filter_json(wanted: RunFilter) -> dict[str, Any]:
    """Return the filter that selects the runs of a bulk action as JSON, without members that match all."""
    members = {
        "project": wanted.project,
        "api": wanted.api,
        "workflow": wanted.workflow,
        "status": list(wanted.statuses) or None,
        "since": rfc3339(wanted.since_ms),
        "until": rfc3339(wanted.until_ms),
        "caller": wanted.caller,
        "parent": wanted.parent,
        "revision": wanted.revision,
        "where": None if wanted.where is None else ":".join(wanted.where),
    }
    return {name: value for name, value in members.items() if value is not None}
