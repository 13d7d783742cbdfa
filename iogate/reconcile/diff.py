"""Difference between two revisions, for apply, plan, diff and drift.

Pure. Invariant: an empty difference means that gateways and workers behave the same under both revisions. The
paths of files in the project are not compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from iogate import json_values
from iogate.compiler.revision import Api, Revision, Workflow
from iogate.compiler.schedules import Schedule

_NOT_COMPARED = frozenset({"source", "schedule"})
"""Fields of APIs and workflows that are not compared, or compared separately."""

Comparable = Api | Workflow | Schedule | str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedField:
    """Changed property, as plain JSON values; secrets appear as references or hashes only."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedObject:
    """Changed object with its fields."""

    id: str
    fields: tuple[ChangedField, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Added, changed and removed objects of one kind, each sorted by id."""

    added: tuple[str, ...] = ()
    changed: tuple[ChangedObject, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def to_json(self) -> dict[str, Any]:
        return {
            "added": list(self.added),
            "changed": [
                {
                    "id": changed.id,
                    "fields": [
                        {"name": field.name, "before": field.before, "after": field.after}
                        for field in changed.fields
                    ],
                }
                for changed in self.changed
            ],
            "removed": list(self.removed),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Difference between two revisions, by kind of object."""

    apis: Changes
    workflows: Changes
    schedules: Changes
    resources: Changes

    def __bool__(self) -> bool:
        return bool(self.apis or self.workflows or self.schedules or self.resources)

    def to_json(self) -> dict[str, Any]:
        return {
            "apis": self.apis.to_json(),
            "workflows": self.workflows.to_json(),
            "schedules": self.schedules.to_json(),
            "resources": self.resources.to_json(),
        }

    def summary(self) -> str:
        """Return one line for people: `2 APIs added, 1 changed; 1 workflow removed`, or `no changes`."""
        parts = (
            _count(self.apis, "API", "APIs"),
            _count(self.workflows, "workflow", "workflows"),
            _count(self.schedules, "schedule", "schedules"),
            _count(self.resources, "resource", "resources"),
        )
        return "; ".join(part for part in parts if part) or "no changes"


def difference(before: Revision | None, after: Revision) -> Difference:
    """Return the changes from `before` (None: nothing was ever applied) to `after`."""
    return Difference(
        apis=_changes(before.apis if before else {}, after.apis),
        workflows=_changes(before.workflows if before else {}, after.workflows),
        schedules=_changes(_schedules(before) if before else {}, _schedules(after)),
        resources=_changes(before.resources if before else {}, after.resources),
    )


def _schedules(revision: Revision) -> dict[str, Schedule]:
    """Return schedules by `namespace/name`, without programs except for `on`; workflows have these too."""
    return {
        name: schedule if schedule.kind == "on" else msgspec.structs.replace(schedule, program="")
        for name, (_, schedule) in revision.scheduled.items()
    }


def _changes(
    before: Mapping[str, Comparable],
    after: Mapping[str, Comparable],
) -> Changes:
    changed = []
    for name in sorted(before.keys() & after.keys()):
        fields = _fields(before[name], after[name])
        if fields:
            changed.append(ChangedObject(id=name, fields=fields))
    return Changes(
        added=tuple(sorted(after.keys() - before.keys())),
        changed=tuple(changed),
        removed=tuple(sorted(before.keys() - after.keys())),
    )


def _fields(before: Comparable, after: Comparable) -> tuple[ChangedField, ...]:
    old, new = _plain(before), _plain(after)
    if json_values.is_equal(old, new):
        return ()
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return (ChangedField(name="content", before=old, after=new),)
    return tuple(
        ChangedField(name=name, before=old.get(name), after=new.get(name))
        for name in sorted(old.keys() | new.keys())
        if name not in _NOT_COMPARED and not json_values.is_equal(old.get(name), new.get(name))
    )


def _plain(value: Comparable) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def _count(changes: Changes, one: str, many: str) -> str:
    counts = [
        (number, word)
        for number, word in (
            (len(changes.added), "added"),
            (len(changes.changed), "changed"),
            (len(changes.removed), "removed"),
        )
        if number
    ]
    if not counts:
        return ""
    (number, word), *rest = counts
    noun = one if number == 1 else many
    return ", ".join([f"{number} {noun} {word}", *(f"{number} {word}" for number, word in rest)])
