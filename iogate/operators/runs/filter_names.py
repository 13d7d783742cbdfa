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
from iogate.store.revisions.refused import NotAuthentic
from iogate.store.runs.run_index import RunFilter

if TYPE_CHECKING:
    from iogate.compiler.revision import Revision
    from iogate.store.store import Store


async def require_known_names(store: Store, wanted: RunFilter) -> None:
    """Check the project, the API, the workflow and the attribute of a filter that no run matches.

    A project and a workflow that are no longer live are known if a run of theirs is stored. Raises NotFound
    for an unknown project, API or workflow, Misused for an attribute that no live API of the filter declares.
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
    """Tell whether a run matches; True also if the search ends before the oldest run."""
    page = await store.runs.page(wanted, limit=1)
    return bool(page.runs) or page.next_cursor is not None


async def _require_api(store: Store, api: str) -> None:
    """Raise NotFound if neither an API, live or deleted, nor a schedule has this name."""
    apis = await store.gates.states(everywhere=True)
    known = [*apis, *(PREFIX + name for name in await store.schedules.upcoming(everywhere=True))]
    if api not in known:
        raise NotFound(f"no API {api}{did_you_mean(api, known)}", hint='list them with "iogate api list"')


async def _require_workflow(store: Store, workflow: str) -> None:
    """Raise NotFound for an unknown workflow; none is refused if a live revision cannot be read."""
    try:
        revisions = await _live_revisions(store, None)
    except (NotAuthentic, NotFound, WrongStore):
        return  # the workflow may be in this revision
    known = {name for revision in revisions for name in revision.workflows}
    names = {name.partition(":")[0] for name in known}
    # A version that is not live is no mistake: runs of it may have been deleted.
    if workflow.partition(":")[0] not in names and not await _has_run(store, RunFilter(workflow=workflow)):
        raise workflow_not_found(workflow, known)


async def _require_attribute(store: Store, name: str, wanted: RunFilter) -> None:
    known: dict[str, None] = {}
    for revision in await _live_revisions(store, wanted.project):
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


async def _live_revisions(store: Store, project: str | None) -> list[Revision]:
    """Return the live revision of a project, or of each project."""
    live = (await store.revisions.live_of_all()).live
    names = live if project is None else [name for name in live if name == project]
    return [(await live_revision(store.of_project(name)))[1] for name in names]
