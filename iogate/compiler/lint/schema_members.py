"""Members of objects that a JSON Schema describes, for the rule about reads of the input.

Invariant: a member counts as absent only if the schema describes the members of its object and says
nowhere that there may be others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from iogate.expressions.reads import EACH
from iogate.json_pointer import resolve_fragment
from iogate.json_values import JsonObject

_BRANCHES: Final = ("allOf", "anyOf", "oneOf")
_CONDITIONS: Final = ("if", "then", "else")
_OPEN: Final = (
    "patternProperties",
    "unevaluatedProperties",
    "dependentSchemas",
    "$dynamicRef",
    "propertyNames",
)
_DEPTH: Final = 12
_MOST_PARTS: Final = 500
"""Schemas that are combined at one place; references in alternatives multiply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A step of a path that the schema does not describe."""

    path: tuple[str | int, ...]
    """The path up to the step, without it."""
    name: str
    known: tuple[str, ...]
    """Names that the schema describes at this place."""


def absent_member(schema: object, steps: tuple[str | int, ...]) -> Absent | None:
    """Return the first member of a path that the schema lacks; None if there may be all of them."""
    node = schema
    for index, step in enumerate(steps):
        parts = list(islice(_parts(node, schema, _DEPTH), _MOST_PARTS))
        if len(parts) == _MOST_PARTS or any(each is None for each in parts):
            return None
        plain = [each for each in parts if each is not None]
        if step == EACH:
            items = [each["items"] for each in plain if "items" in each and "prefixItems" not in each]
            if len(items) != 1:
                return None
            node = items[0]
            continue
        members: dict[str, list[JsonObject | bool]] = {}
        for part in plain:
            for name, member in (part.get("properties") or {}).items():
                members.setdefault(name, []).append(member)
        if not members or any(map(_is_open, plain)):
            return None
        if step not in members:
            return Absent(path=steps[:index], name=str(step), known=tuple(members))
        if len(members[str(step)]) != 1:
            return None
        node = members[str(step)][0]
    return None


def _is_open(part: JsonObject) -> bool:
    return part.get("additionalProperties", False) is not False or any(key in part for key in _OPEN)


def _parts(node: object, root: object, depth: int) -> Iterator[JsonObject | None]:
    """Yield a schema with members and all that it combines; None for a part that may allow anything."""
    if not isinstance(node, Mapping) or depth == 0:
        yield None
        return
    reference = node.get("$ref")
    if reference is not None:
        try:
            target = resolve_fragment(root, reference)
        except (LookupError, AttributeError):
            target = None
        yield from _parts(target, root, depth - 1)
    yield node
    for key in _BRANCHES:
        branches = node.get(key)
        for branch in branches if isinstance(branches, list) else ():
            yield from _branch(branch, root, depth - 1)
    for key in _CONDITIONS:
        if key in node:
            yield from _branch(node[key], root, depth - 1)


def _branch(node: object, root: object, depth: int) -> Iterator[JsonObject | None]:
    """Yield the parts of an alternative of a schema; an object without members allows anything."""
    if isinstance(node, Mapping) and node.get("type") == "object" and "properties" not in node:
        yield None if "required" not in node else node
        return
    yield from _parts(node, root, depth)
