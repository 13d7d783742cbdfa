"""Plan: the differences between two revisions, field by field, with the meaning of each.

Called by the commands that show or apply a difference. Pure over the two revisions, their programs and the
facts about the live system. Invariant: an empty plan means that gateways and workers behave the same under
both revisions; formatting, order of keys, defaults written out and names of files are no difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from iogate import json_values
from iogate.auth.model import simplest
from iogate.compiler.program import load
from iogate.compiler.revision import Api, Bundle, FaultHandler, Revision, canonical, resource_name
from iogate.compiler.schedules import Schedule
from iogate.compiler.tasks import Child
from iogate.json_values import JsonObject
from iogate.reconcile.document_form import api_form
from iogate.reconcile.json_diff import JsonChange, changes
from iogate.reconcile.meanings import apis, workflows
from iogate.reconcile.meanings.change_kinds import Meaning, Severity, rank
from iogate.reconcile.plan_facts import Facts
from iogate.reconcile.shown_values import shown
from iogate.value_types.semantic_versions import newest_version, replaced_versions

Type = Literal["api", "workflow", "schedule", "resource"]
Action = Literal["add", "change", "delete"]

TYPES: Final[Mapping[Type, str]] = {
    "api": "API",
    "workflow": "workflow",
    "schedule": "schedule",
    "resource": "resource",
}
"""Types of objects in the order of a plan, with their names in sentences."""
_DONE: Final[Mapping[Action, str]] = {"add": "added", "change": "changed", "delete": "deleted"}
_NOT_SHOWN: Final = frozenset({"source", "program", "id"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Revision with the programs that the comparison needs: those that only one of the revisions has."""

    revision: Revision
    programs: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, bundle: Bundle) -> Side:
        """Return a side of a plan, that of a compiled bundle."""
        return cls(revision=bundle.revision, programs=bundle.programs)


NOTHING: Final = Side(revision=Revision(apis={}, workflows={}))
"""Side of a store to which nothing was ever applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectChange:
    """Change of one API, workflow, schedule or resource."""

    action: Action
    type: Type
    id: str
    meanings: tuple[Meaning, ...]
    fields: tuple[JsonChange, ...] = ()
    """Changed places of its document, of a new version those that differ from the version that it replaces;
    empty if it is added or deleted as a whole."""
    source: str = ""
    """File that declares it."""
    used_by: tuple[str, ...] = ()
    """APIs that start a changed workflow, or a new version that replaces another one."""

    @property
    def severity(self) -> Severity:
        """The severity of a planned change: the most severe one of its meanings."""
        return min((meaning.severity for meaning in self.meanings), key=rank, default="neutral")

    def to_json(self) -> dict[str, Any]:
        return {
            "action": self.action,
            "type": self.type,
            "id": self.id,
            "severity": self.severity,
            "source": self.source or None,
            "meanings": [meaning.to_json() for meaning in self.meanings],
            "fields": [
                {
                    "pointer": change.pointer,
                    "before": shown(change.path, change.before),
                    "after": shown(change.path, change.after),
                }
                for change in self.fields
            ],
            "usedBy": list(self.used_by),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All changes from one revision to another, the most severe first."""

    changes: tuple[ObjectChange, ...]

    def __bool__(self) -> bool:
        return bool(self.changes)

    def count(self, action: Action) -> int:
        """Return the number of planned objects with this action."""
        return len(self.ids(action))

    @property
    def marked(self) -> dict[str, int]:
        """Number of breaking and of weakening meanings of the plan."""
        found = [meaning.severity for change in self.changes for meaning in change.meanings]
        return {severity: found.count(severity) for severity in ("breaking", "weakening")}

    def ids(self, action: Action, type_: Type | None = None) -> list[str]:
        """Return the ids of the planned objects with this action, of one type or of all types, sorted."""
        return sorted(
            change.id
            for change in self.changes
            if change.action == action and (type_ is None or change.type == type_)
        )

    def summary(self) -> str:
        """Return one line: `Plan: 2 to add, 1 to change, 1 to delete`."""
        if not self.changes:
            return "No changes: live is the same as the files"
        counts = f"{self.count('add')} to add, {self.count('change')} to change"
        return f"Plan: {counts}, {self.count('delete')} to delete{self._marks()}"

    def past_summary(self) -> str:
        """Return a plan as one line about two revisions: `2 APIs added, 1 changed (1 breaking)`."""
        return self.past_counts() + self._marks()

    def past_counts(self) -> str:
        """Return a plan as one line about its publish: `2 APIs added, 1 changed; 1 workflow deleted`."""
        found = (_past_counts(self, type_) for type_ in TYPES)
        return "; ".join(counts for counts in found if counts) or "no changes"

    def _marks(self) -> str:
        """Return the numbers of breaking and weakening meanings of the plan: ` (1 breaking)`; or empty."""
        marks = [f"{number} {severity}" for severity, number in self.marked.items() if number]
        return f" ({', '.join(marks)})" if marks else ""

    def to_json(self) -> dict[str, Any]:
        return {
            "summary": {
                "add": self.count("add"),
                "change": self.count("change"),
                "delete": self.count("delete"),
                **self.marked,
            },
            "changes": [change.to_json() for change in self.changes],
        }


def plan(before: Side | None, after: Side, facts: Facts) -> Plan:
    """Return the plan: the changes from `before` (None: nothing was ever applied) to `after`."""
    old = before or NOTHING
    found = [
        *_api_changes(old.revision, after.revision, facts),
        *_workflow_changes(old, after, facts),
        *_schedule_changes(old.revision, after.revision, facts),
        *_resource_changes(old.revision, after.revision),
    ]
    order = list(TYPES)
    ordered = sorted(found, key=lambda each: (rank(each.severity), order.index(each.type), each.id))
    return Plan(changes=tuple(ordered))


def _past_counts(plan: Plan, type_: Type) -> str:
    """Return the counts of one type; only the first names the type: `2 APIs added, 1 changed`."""
    counts: list[str] = []
    for action, done in _DONE.items():
        number = len(plan.ids(action, type_))
        if number:
            name = "" if counts else f" {TYPES[type_]}" if number == 1 else f" {TYPES[type_]}s"
            counts.append(f"{number}{name} {done}")
    return ", ".join(counts)


def programs_to_compare(before: Revision, after: Revision) -> set[str]:
    """Return the digests in `before` of the programs that differ in `after`, for a plan to compare."""
    replaced = replaced_versions(before.workflows, after.workflows).values()
    return {before.workflows[name].program for name in replaced} | {
        workflow.program
        for name, workflow in before.workflows.items()
        if name in after.workflows and after.workflows[name].program != workflow.program
    }


def _change(
    action: Action,
    type_: Type,
    id_: str,
    meanings: Iterator[Meaning] | list[Meaning],
    *,
    fields: tuple[JsonChange, ...] = (),
    source: str = "",
    used_by: tuple[str, ...] = (),
) -> ObjectChange:
    unique = list(dict.fromkeys(meanings))
    return ObjectChange(
        action=action,
        type=type_,
        id=id_,
        meanings=tuple(sorted(unique, key=lambda meaning: rank(meaning.severity))),
        fields=fields,
        source=source,
        used_by=used_by,
    )


def _api_changes(before: Revision, after: Revision, facts: Facts) -> Iterator[ObjectChange]:
    for name in after.apis.keys() - before.apis.keys():
        api = after.apis[name]
        yield _change("add", "api", name, apis.added(api, facts), source=api.source)
    for name in before.apis.keys() - after.apis.keys():
        api = before.apis[name]
        meanings = [*apis.removed(api, facts), *workflows.pinned(name, facts)]
        yield _change("delete", "api", name, meanings, source=api.source)
    for name in before.apis.keys() & after.apis.keys():
        old, new = before.apis[name], after.apis[name]
        if _is_same_api(old, new):
            continue
        meanings = list(apis.changed(old, new, facts))
        if old.workflow != new.workflow:
            meanings += workflows.pinned(name, facts)
        fields = tuple(changes(api_form(old), api_form(new)))
        yield _change("change", "api", name, meanings, fields=fields, source=new.source)


def _is_same_api(old: Api, new: Api) -> bool:
    """Tell whether two APIs are equal for a plan, which compares their programs as workflows."""
    first, second = map(_without_programs, (old, new))
    if first != second:
        return False
    # Python takes true for 1.
    return canonical(first) == canonical(second) or json_values.is_equal(
        msgspec.to_builtins(first), msgspec.to_builtins(second)
    )


def _without_programs(api: Api) -> Api:
    handler = api.on_fault
    if isinstance(handler, FaultHandler):
        handler = msgspec.structs.replace(handler, program="")
    return msgspec.structs.replace(api, source="", program="", on_fault=handler, auth=simplest(api.auth))


def _workflow_changes(before: Side, after: Side, facts: Facts) -> Iterator[ObjectChange]:
    old, new = before.revision.workflows, after.revision.workflows
    latest, users = _callers_of_latest(after), _users(after.revision)
    replaced = replaced_versions(old, new)
    for name in new.keys() - old.keys():
        found = [workflows.added(replaced.get(name))]
        base = name.partition(":")[0]
        newest = newest_version(old, base)
        callers = [each for each in latest.get(base, ()) if each in old]
        if callers and newest is not None and newest_version(new, base) == name:
            found.append(workflows.latest_replaced(newest, callers))
        places: list[JsonChange] = []
        if name in replaced:
            earlier, definition = _definitions(before, after, replaced[name], name)
            earlier = workflows.with_version_of(earlier, definition)
            places = workflows.differences(earlier, definition)
            found += workflows.meanings(earlier, definition, places)
        used_by = users.get(name, ()) if name in replaced else ()
        yield _change(
            "add", "workflow", name, found, fields=tuple(places), source=new[name].source, used_by=used_by
        )
    for name in old.keys() - new.keys():
        meanings = [
            Meaning(kind="workflow.removed", text="workflow removed"),
            *workflows.pinned(name, facts),
        ]
        yield _change("delete", "workflow", name, meanings, source=old[name].source)
    for name in old.keys() & new.keys():
        if old[name].program == new[name].program:
            continue
        definitions = _definitions(before, after, name, name)
        places = workflows.differences(*definitions)
        if places:
            meanings = [*workflows.meanings(*definitions, places), *workflows.pinned(name, facts)]
            yield _change(
                "change",
                "workflow",
                name,
                meanings,
                fields=tuple(places),
                source=new[name].source,
                used_by=users.get(name, ()),
            )


def _definitions(before: Side, after: Side, old: str, new: str) -> tuple[JsonObject, JsonObject]:
    """Return the definitions of a workflow on both sides of a plan, by its full name on each."""
    return (
        msgspec.json.decode(before.programs[before.revision.workflows[old].program]),
        msgspec.json.decode(after.programs[after.revision.workflows[new].program]),
    )


def _users(revision: Revision) -> dict[str, tuple[str, ...]]:
    """Return the APIs of a plan's side that start each workflow, sorted."""
    found: dict[str, list[str]] = {}
    for api in revision.apis.values():
        for started in api.started:
            found.setdefault(started, []).append(api.id)
    return {name: tuple(sorted(ids)) for name, ids in found.items()}


def _callers_of_latest(side: Side) -> dict[str, list[str]]:
    """Return the workflows of a plan's side that run the latest version of another one, by its name."""
    found: dict[str, list[str]] = {}
    for name, workflow in sorted(side.revision.workflows.items()):
        data = side.programs.get(workflow.program, b"")
        if b'"latest"' not in data:
            continue
        tasks = load(msgspec.json.decode(data)).tasks.values()
        children = {task.body.reference for task in tasks if isinstance(task.body, Child)}
        for child in children:
            if ":" not in child:
                found.setdefault(child, []).append(name)
    return found


def _schedule_changes(before: Revision, after: Revision, facts: Facts) -> Iterator[ObjectChange]:
    old, new = _schedules(before), _schedules(after)
    sources = {name: after.workflows[full].source for name, (full, _) in after.scheduled.items()}
    for name in new.keys() - old.keys():
        meaning = workflows.schedule_added(name, new[name], facts)
        yield _change("add", "schedule", name, [meaning], source=sources[name])
    for name in old.keys() - new.keys():
        meaning = workflows.schedule_removed(name, old[name], facts)
        yield _change("delete", "schedule", name, [meaning])
    for name in old.keys() & new.keys():
        started, starts = before.scheduled[name][0], after.scheduled[name][0]
        if (started, old[name]) == (starts, new[name]):
            continue
        found = list(workflows.schedule_changed(name, old[name], new[name], facts))
        if started != starts:
            found.append(workflows.schedule_starts(started, starts))
        yield _change("change", "schedule", name, found, source=sources[name])


def _schedules(revision: Revision) -> dict[str, Schedule]:
    """Return the schedules to plan by workflow, without programs except for `on`.

    Workflows have these programs, too.
    """
    return {
        name: schedule if schedule.kind == "on" else msgspec.structs.replace(schedule, program="")
        for name, (_, schedule) in revision.scheduled.items()
    }


def _resource_changes(before: Revision, after: Revision) -> Iterator[ObjectChange]:
    old, new = _resources(before), _resources(after)
    for name in new.keys() - old.keys():
        yield _change("add", "resource", name, [Meaning(kind="resource.added", text="file added")])
    for name in old.keys() - new.keys():
        meaning = Meaning(kind="resource.removed", text="file is not used any more")
        yield _change("delete", "resource", name, [meaning])
    for name in old.keys() & new.keys():
        if old[name] != new[name]:
            text = f"content changed ({_digests(old[name])} → {_digests(new[name])})"
            yield _change("change", "resource", name, [Meaning(kind="resource.changed", text=text)])


def _resources(revision: Revision) -> dict[str, frozenset[str]]:
    """Return the digests of the contents to plan by path or URL."""
    found: dict[str, frozenset[str]] = {}
    for uri, digest in revision.resources.items():
        name = resource_name(uri) or uri
        found[name] = found.get(name, frozenset()) | {digest}
    return found


def _digests(digests: frozenset[str]) -> str:
    return ", ".join(sorted(digest[:8] for digest in digests))
