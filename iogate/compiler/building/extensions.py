"""Extensions of `use.extensions`, by the kinds of tasks that they extend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from iogate.compiler.building.draft import Draft
from iogate.compiler.outline import KINDS, escape
from iogate.compiler.tasks import Extension

_COMPOSITE = ("do", "fork")


def by_kind(draft: Draft, entries: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Extension, ...]]:
    """The extensions of each kind of task, in the order of their declaration."""
    extending: dict[str, tuple[Extension, ...]] = {}
    for index, entry in enumerate(entries):
        for name, definition in entry.items():
            extension = _extension(draft, f"/use/extensions/{index}/{escape(name)}", name, definition)
            for kind in _kinds(definition["extend"]):
                extending[kind] = (*extending.get(kind, ()), extension)
    return extending


def _extension(draft: Draft, pointer: str, name: str, definition: Mapping[str, Any]) -> Extension:
    before, after = (
        draft.list(f"{pointer}/{moment}", definition[moment]) if definition.get(moment) else None
        for moment in ("before", "after")
    )
    return Extension(name, draft.optional_expression(definition.get("when")), before, after)


def _kinds(extend: str) -> tuple[str, ...]:
    match extend:
        case "all":
            return KINDS
        case "composite":
            return _COMPOSITE
        case _:
            return (extend,)
