"""Meanings of the changes of the links of a workflow, with which people continue its runs.

Called by `workflows`. Pure. A run has the links of the definition that it started with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from iogate.compiler.reader.links import POINTER, declared, ttl_ms
from iogate.json_pointer import join
from iogate.json_values import JsonObject
from iogate.messages import quoted
from iogate.reconcile.json_diff import JsonChange, changes, is_same
from iogate.reconcile.meanings.change_kinds import Meaning
from iogate.reconcile.meanings.schemas import comparison
from iogate.timing.durations import format_seconds

_TEXTS: Final = ("title", "description")
_DIRECTIONS: Final = {
    "narrowed": "accepts less data",
    "widened": "accepts more data",
    "changed": "accepts other data",
}


def is_in_links(path: tuple[Any, ...]) -> bool:
    """Tell whether a changed path is inside the links of a workflow."""
    return path[: len(POINTER)] == POINTER


def without_links(definition: JsonObject) -> JsonObject:
    """Return a definition to compare without its links, and without metadata that holds nothing else."""
    if not declared(definition):
        return definition
    head = definition["document"]
    said = {name: value for name, value in head["metadata"]["iogate"].items() if name != POINTER[-1]}
    metadata = {name: value for name, value in head["metadata"].items() if name != "iogate"}
    metadata |= {"iogate": said} if said else {}
    head = {name: value for name, value in head.items() if name != "metadata"}
    return {**definition, "document": {**head, "metadata": metadata} if metadata else head}


def changed_places(before: JsonObject, after: JsonObject) -> Iterator[JsonChange]:
    """Yield the changed places of the links of a workflow."""
    return changes(dict(declared(before)), dict(declared(after)), POINTER)


def link_meanings(before: JsonObject, after: JsonObject) -> Iterator[Meaning]:
    """Yield the meanings of all differences between the links of two definitions."""
    old, new = declared(before), declared(after)
    for name in new:
        if name not in old:
            text = f"link {quoted(name)} added: who has its URL can use it once within {_ttl(new[name])}"
            yield _meaning("link.added", text, name)
        else:
            yield from _changed(name, old[name], new[name])
    for name in old:
        if name not in new:
            text = f"link {quoted(name)} removed: new runs have no such link"
            yield _meaning("link.removed", text, name)


def _changed(name: str, old: JsonObject, new: JsonObject) -> Iterator[Meaning]:
    label = f"link {quoted(name)}"
    if ttl_ms(old) != ttl_ms(new):
        word, kind = (
            ("shorter", "link.shortened") if ttl_ms(new) < ttl_ms(old) else ("longer", "link.lengthened")
        )
        text = f"{label} of new runs is valid for a {word} time ({_ttl(old)} → {_ttl(new)})"
        yield _meaning(kind, text, name, "ttl")
    if not is_same(old.get("schema"), new.get("schema")):
        yield _schema(name, old.get("schema"), new.get("schema"))
    for key in _TEXTS:
        if old.get(key) != new.get(key):
            yield _meaning("link.changed", f"{key} on the page of {label} changed", name, key)


def _schema(name: str, old: Any, new: Any) -> Meaning:
    label = f"link {quoted(name)}"
    if old is None:
        return _meaning("link.changed", f"{label} takes data: its page has a form", name, "schema")
    if new is None:
        return _meaning("link.changed", f"{label} takes no data: its page has only a button", name, "schema")
    found = comparison.compare(old, new)
    if found.direction is None:
        return _meaning("link.changed", f"texts of the form of {label} changed", name, "schema")
    details = found.details()
    text = f"{label} {_DIRECTIONS[found.direction]}" + (f": {details}" if details else "")
    return _meaning("link.changed", text, name, "schema")


def _ttl(link: JsonObject) -> str:
    return format_seconds(ttl_ms(link) / 1000)


def _meaning(kind: str, text: str, *place: str) -> Meaning:
    return Meaning(kind=kind, text=text, pointer=join((*POINTER, *place)))
