"""What differs between two revisions: pure, for apply, plan, diff and drift.

Invariant: an empty difference means that gateways and workers behave the same under both revisions.
Where a file lies in the project is not part of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from iogate.compiler.revision import Api, Revision, Workflow

_UNSEEN = frozenset({"source"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One property that changed, as plain JSON values; secrets appear as references or hashes only."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    id: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The ids of one sort of thing that came, went or changed, each in order."""

    added: tuple[str, ...] = ()
    changed: tuple[Changed, ...] = ()
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
    apis: Part
    workflows: Part
    resources: Part

    def __bool__(self) -> bool:
        return bool(self.apis or self.workflows or self.resources)

    def to_json(self) -> dict[str, Any]:
        return {
            "apis": self.apis.to_json(),
            "workflows": self.workflows.to_json(),
            "resources": self.resources.to_json(),
        }

    def summary(self) -> str:
        """One line for people: `2 APIs added, 1 changed; 1 workflow removed`; `no changes`."""
        parts = (
            _count(self.apis, "API", "APIs"),
            _count(self.workflows, "workflow", "workflows"),
            _count(self.resources, "resource", "resources"),
        )
        return "; ".join(part for part in parts if part) or "no changes"


def difference(before: Revision | None, after: Revision) -> Difference:
    """What has to change for `before` (None: nothing was ever applied) to become `after`."""
    return Difference(
        apis=_part(before.apis if before else {}, after.apis),
        workflows=_part(before.workflows if before else {}, after.workflows),
        resources=_part(before.resources if before else {}, after.resources),
    )


def _part(
    before: Mapping[str, Api] | Mapping[str, Workflow] | Mapping[str, str],
    after: Mapping[str, Api] | Mapping[str, Workflow] | Mapping[str, str],
) -> Part:
    changed = []
    for name in sorted(before.keys() & after.keys()):
        fields = _fields(before[name], after[name])
        if fields:
            changed.append(Changed(id=name, fields=fields))
    return Part(
        added=tuple(sorted(after.keys() - before.keys())),
        changed=tuple(changed),
        removed=tuple(sorted(before.keys() - after.keys())),
    )


def _fields(before: Api | Workflow | str, after: Api | Workflow | str) -> tuple[Field, ...]:
    if before == after:
        return ()
    old, new = _plain(before), _plain(after)
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return (Field(name="content", before=old, after=new),)
    return tuple(
        Field(name=name, before=old.get(name), after=new.get(name))
        for name in sorted(old.keys() | new.keys())
        if name not in _UNSEEN and old.get(name) != new.get(name)
    )


def _plain(value: Api | Workflow | str) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def _count(part: Part, one: str, many: str) -> str:
    counts = [
        (number, word)
        for number, word in (
            (len(part.added), "added"),
            (len(part.changed), "changed"),
            (len(part.removed), "removed"),
        )
        if number
    ]
    if not counts:
        return ""
    (number, word), *rest = counts
    noun = one if number == 1 else many
    return ", ".join([f"{number} {noun} {word}", *(f"{number} {word}" for number, word in rest)])
