"""Check of the names in a filter of runs that no run matches.

Used by the operations that select runs or statistics. Invariant: a mistyped name is an error with a
suggestion, since an empty list would say that there is nothing; a name that is right is never one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iogate.compiler.schedules import PREFIX
from iogate.errors import Misused, NotFound, WrongStore
from iogate.messages import did_you_mean, listed, quoted
from iogate.operators.live_revision import live_revision, require_project
from iogate.operators.workflows import workflow_not_found
from iogate.store.connection.failures import CommandFailed
from iogate.store.revisions.revision_errors import NotAuthentic
from iogate.store.runs.run_index import LOOKED_AT_MOST, RunFilter

if TYPE_CHECKING:
    from iogate.compiler.revision import Revision
    from iogate.store.store import Store

SEARCHED_S = 0.25
"""Maximum time of the search for a run of a name that nothing else knows."""


async def require_known_names(store: Store, wanted: RunFilter) -> None:
    """Check the project, the API, the workflow and the attribute of a filter that no run matches.

    A project that is no longer live is known by its runs, a workflow by its runs or statistics. Raises
    NotFound for an unknown project, API or workflow, Misused for an attribute that no live API of the filter
    declares.
    """
    if wanted.project is not None and not await _has_run(store, RunFilter(project=wanted.project)):
        await require_project(store, wanted.project)
    if wanted.api is not None:
        await _require_api(store, wanted.api)
    if wanted.workflow is not None:
        await _require_workflow(store, wanted.workflow)
    if wanted.where is not None:
        await _require_attribute(store, wanted.where[0], wanted)


async def _has_run(store: Store, wanted: RunFilter) -> bool:
    """Tell whether a run matches a filter with a name; True also if the search ends before the oldest run."""
    page = await store.runs.page(wanted, limit=1, most=LOOKED_AT_MOST, most_s=SEARCHED_S)
    return bool(page.runs) or page.next_cursor is not None


async def _require_api(store: Store, api: str) -> None:
    """Raise NotFound if neither an API, live or deleted, nor a schedule has this name of a filter."""
    apis = await store.gates.states(everywhere=True)
    schedules = await store.schedules.upcoming(everywhere=True)
    known = [*apis, *await store.gates.deleted(), *(PREFIX + name for name in schedules)]
    if api not in known:
        raise NotFound(f"no API {api}{did_you_mean(api, known)}", hint='list them with "iogate api list"')


async def _require_workflow(store: Store, workflow: str) -> None:
    """Raise NotFound for the name of an unknown workflow in a filter, if all live revisions can be read."""
    revisions = await _live_revisions(store, None)
    if revisions is None:
        return
    known = {name for revision in revisions for name in revision.workflows}
    # A version that is not live is no mistake: runs of it may have been deleted.
    name = workflow.partition(":")[0]
    if (
        name not in {each.partition(":")[0] for each in known}
        and not await store.statistics.series(workflow=name)
        and not await _has_run(store, RunFilter(workflow=name))
    ):
        raise workflow_not_found(workflow, known)


async def _require_attribute(store: Store, name: str, wanted: RunFilter) -> None:
    """Raise Misused for an unknown attribute in a filter, if all live revisions can be read."""
    revisions = await _live_revisions(store, wanted.project)
    if revisions is None:
        return
    known: dict[str, None] = {}
    for revision in revisions:
        apis = revision.apis.values()
        known |= dict.fromkeys(each for api in apis if wanted.api in (None, api.id) for each in api.indexed)
    if name not in known:
        declares = "no live API declares" if wanted.api is None else f"API {wanted.api} does not declare"
        raise Misused(
            f"{declares} the attribute {quoted(name)}{did_you_mean(name, known)}",
            hint=f"declared: {listed(sorted(known))}"
            if known
            else "declare it under `attributes` of the method, apply, and find the runs that are made then",
        )


async def _live_revisions(store: Store, project: str | None) -> list[Revision] | None:
    """Return the live revision of a project, or of each project; None if one cannot be read."""
    try:
        found = await store.revisions.live_of_all()
        projects = [*found.live, *found.invalid]
        names = projects if project is None else [name for name in projects if name == project]
        return [(await live_revision(store.of_project(name)))[1] for name in names]
    except (NotAuthentic, NotFound, WrongStore, CommandFailed):
        return None
