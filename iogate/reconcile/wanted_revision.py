"""Revision that a publish is to make live: the files, restricted to a selection, or with orphans kept.

Called by plan and apply. Pure. Invariants: the result is consistent, as a compiled project is: one program
per workflow, one schedule per name of a workflow; everything outside of the selection stays as it is live.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from iogate.compiler import program
from iogate.compiler.revision import Api, Bundle, FaultHandler, Revision, Workflow
from iogate.compiler.tasks import Child
from iogate.errors import NotFound, Refused
from iogate.messages import nearest
from iogate.value_types.semantic_versions import newest_version

SHARED = "IOG710"
NOT_SELECTED = "IOG711"
SAME_PATH = "IOG159"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Part of the files that is compared and published."""

    select: str = ""
    """Tag or module of APIs; empty: everything."""
    keep_orphans: bool = False
    """What the files lack stays live."""


EVERYTHING = Scope()


def wanted(live: Revision, bundle: Bundle, scope: Scope) -> Bundle:
    """Return the bundle to publish over a live revision: the files, a selection, or with orphans kept.

    Raises NotFound if nothing has the selected tag or module, Refused if the selection shares a changed
    workflow with an API that is not selected, or has the path of an API that stays.
    """
    revision = bundle.revision
    if scope.select:
        revision = _selected(live, bundle, scope)
    elif scope.keep_orphans:
        named = {name.partition(":")[0] for name in revision.workflows}
        revision = _joined(live, revision, live.apis.keys(), live.workflows.keys(), named)
    else:
        return bundle
    _check_paths(revision, bundle.revision)
    return msgspec.structs.replace(bundle, revision=revision)


def _check_paths(revision: Revision, new: Revision) -> None:
    """Raise Refused if an API of the wanted revision has the own path of one that stays live."""
    holders: dict[str, Api] = {}
    for api in revision.apis.values():
        if (own := api.own_path) is None:
            continue
        other = holders.setdefault(own[0].lower(), api)
        if other is not api:
            stays, wants = (other, api) if api.id in new.apis else (api, other)
            raise Refused(
                f"path {own[0]} of {wants.id} in {wants.source} is that of {stays.id}, which stays live",
                code=SAME_PATH,
                hint="apply everything, or give one of them another path",
            )


def _joined(
    live: Revision,
    new: Revision,
    apis: Iterable[str],
    workflows: Iterable[str],
    scheduled: Collection[str],
) -> Revision:
    """Return the wanted revision: `new`, with these APIs and workflows of `live` that it does not have.

    A name has one schedule: for those of `scheduled`, that of its newest version in the files, if any.
    """
    kept = {name: live.workflows[name] for name in workflows if name not in new.workflows}
    kept = {
        name: msgspec.structs.replace(workflow, schedule=None)
        if name.partition(":")[0] in scheduled
        else workflow
        for name, workflow in kept.items()
    }
    orphans = {name: _with_program(live.apis[name], new.workflows) for name in apis if name not in new.apis}
    return Revision(
        apis=_sorted({**orphans, **new.apis}),
        workflows=_sorted({**kept, **new.workflows}),
        resources=_sorted({**live.resources, **new.resources} if kept or orphans else new.resources),
    )


def _with_program(api: Api, workflows: Mapping[str, Workflow]) -> Api:
    """Return an API of the wanted revision that starts its workflow as `workflows` has it, if they do."""
    workflow = workflows.get(api.workflow)
    if workflow is not None:
        api = msgspec.structs.replace(api, program=workflow.program)
    handler = api.on_fault
    if isinstance(handler, FaultHandler) and (workflow := workflows.get(handler.workflow)) is not None:
        api = msgspec.structs.replace(
            api, on_fault=msgspec.structs.replace(handler, program=workflow.program)
        )
    return api


def _selected(live: Revision, bundle: Bundle, scope: Scope) -> Revision:
    """Return the wanted revision: the live one with the selected APIs and workflows of the files."""
    new = bundle.revision
    chosen = {name for name, api in [*live.apis.items(), *new.apis.items()] if is_selected(api, scope.select)}
    if not chosen:
        known = {each for api in [*live.apis.values(), *new.apis.values()] for each in labels(api)}
        near = nearest(scope.select, known)
        raise NotFound(
            f"no API has the tag or module {scope.select}" + (f'; did you mean "{near}"?' if near else ""),
            code=NOT_SELECTED,
            hint="select a tag, or a module, of APIs in the files or live",
        )
    reach = _Reach(new.workflows, bundle.programs)
    taken = reach.of(started for name, api in new.apis.items() if name in chosen for started in api.started)
    part = Revision(
        apis={name: api for name, api in new.apis.items() if name in chosen},
        workflows={name: new.workflows[name] for name in taken},
        resources=new.resources,
    )
    gone = set() if scope.keep_orphans else chosen - new.apis.keys()
    joined = _joined(live, part, live.apis.keys() - gone, live.workflows.keys(), part.scheduled.keys())
    outside = _outside(live, chosen, part)
    _check_changed(outside, live, part, _Reach(live.workflows, bundle.programs, new.workflows))
    if part.workflows.keys() - live.workflows.keys():
        before, after = (_Reach(each.workflows, bundle.programs) for each in (live, joined))
        _check_added(outside, before, after)
    used = {
        **live.resources,
        **{uri: digest for uri, digest in new.resources.items() if _names(bundle, taken, uri)},
    }
    return msgspec.structs.replace(joined, resources=_sorted(used))


def _outside(live: Revision, chosen: Collection[str], part: Revision) -> dict[str, tuple[str, ...]]:
    """Return the APIs and schedules outside of a selection `part`, each with the workflows it starts."""
    found = {name: api.started for name, api in sorted(live.apis.items()) if name not in chosen}
    for name, (full, _) in sorted(live.scheduled.items()):
        if full not in part.workflows and name not in part.scheduled:
            found[f"the schedule of {name}"] = (full,)
    return found


def _check_changed(
    outside: Mapping[str, Collection[str]], live: Revision, part: Revision, reach: _Reach
) -> None:
    """Check that a selection changes no workflow that others run. Raises Refused if it does."""
    changed = {
        name
        for name, workflow in part.workflows.items()
        if name in live.workflows and live.workflows[name].program != workflow.program
    }
    if not changed:
        return
    for name, started in outside.items():
        for shared in sorted(reach.of(started) & changed):
            how = "starts too" if shared in started else "runs as a child"
            raise Refused(
                f"the selection changes workflow {shared}, which {name} {how}, and {name} is not selected",
                code=SHARED,
                hint="select both, apply everything, or give the changed workflow another version",
            )


def _check_added(outside: Mapping[str, Collection[str]], before: _Reach, after: _Reach) -> None:
    """Check that a selection adds no version of a workflow that others run by `version: latest`.

    Raises Refused if it does.
    """
    for name, started in outside.items():
        for newer in sorted(after.of(started) - before.of(started)):
            raise Refused(
                f"the selection adds workflow {newer}, which {name} would run as a child, and {name} is not "
                "selected",
                code=SHARED,
                hint="select both, apply everything, or replace `version: latest` by a version in the parent",
            )


def is_selected(api: Api, select: str) -> bool:
    """Tell whether an API is wanted by `--select`: it has a tag or belongs to a module."""
    return select in labels(api)


def labels(api: Api) -> set[str]:
    """Return the module and the tags by which `--select` finds a wanted API."""
    return {api.id.partition("/")[0], *api.tags}


class _Reach:
    """Workflows of one revision that others reach: those that are started, and those that these run."""

    def __init__(
        self,
        workflows: Mapping[str, Workflow],
        programs: Mapping[str, bytes],
        others: Mapping[str, Workflow] | None = None,
    ) -> None:
        """`others` replaces workflows with a missing program; without it, these run no other workflow."""
        self._workflows = workflows
        self._programs = programs
        self._others = others or {}
        self._run: dict[str, list[str]] = {}

    def of(self, started: Iterable[str]) -> set[str]:
        """Return the full names of these workflows that are started, and of all that they reach."""
        found: set[str] = set()
        open_ = list(started)
        while open_:
            name = open_.pop()
            if name in found or name not in self._workflows:
                continue
            found.add(name)
            if name not in self._run:
                self._run[name] = self._run_by(name)
            open_ += self._run[name]
        return found

    def _run_by(self, name: str) -> list[str]:
        data = self._programs.get(self._workflows[name].program)
        if data is None and name in self._others:
            data = self._programs[self._others[name].program]
        if data is None or b'"workflow"' not in data:
            return []
        references = [
            task.body.reference
            for task in program.load(msgspec.json.decode(data)).tasks.values()
            if isinstance(task.body, Child)
        ]
        return [each if ":" in each else newest_version(self._workflows, each) or each for each in references]


def _names(bundle: Bundle, workflows: Iterable[str], uri: str) -> bool:
    """Tell whether one of the wanted workflows names a resource."""
    encoded = uri.encode()
    return any(encoded in bundle.programs[bundle.revision.workflows[name].program] for name in workflows)


def _sorted(members: Mapping[str, _T]) -> dict[str, _T]:
    return dict(sorted(members.items()))
