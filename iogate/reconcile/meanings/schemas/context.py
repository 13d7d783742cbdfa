"""Keywords of a JSON Schema that change the effect of others elsewhere in it.

Called by `comparison`. Pure. Invariant: a definition that may be below a reversing keyword is named as such.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

_REVERSING: Final = frozenset({"not", "oneOf", "if", "contains"})
"""Keywords that may refuse a value because a schema below them accepts it."""
_UNEVALUATED: Final = frozenset({"unevaluatedProperties", "unevaluatedItems"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaContext:
    """Keywords anywhere in two compared schemas that change the effect of others."""

    unevaluated: bool
    """One of the schemas has a keyword that refuses members that other keywords do not evaluate."""
    reversed: frozenset[str] | None
    """Names of the definitions that may be below a reversing keyword; None: any part of the schema may."""


def context_of(before: Any, after: Any) -> SchemaContext:
    """Return the context of the comparison of two schemas."""
    return SchemaContext(
        unevaluated=any(_UNEVALUATED & node.keys() for each in (before, after) for node in _nodes(each)),
        reversed=_reversed(before, after),
    )


def _nodes(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Yield all objects in a JSON Schema."""
    pending = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, Mapping):
            yield node
            pending += node.values()
        elif isinstance(node, list | tuple):
            pending += node


def _reversed(*schemas: Any) -> frozenset[str] | None:
    """Return the names of the definitions below a reversing keyword, also through others; None: any part."""
    definitions: dict[str, list[Any]] = {}
    pending: list[Any] = []
    for node in (node for schema in schemas for node in _nodes(schema)):
        pending += (node[name] for name in _REVERSING & node.keys())
        for group in (node.get("$defs"), node.get("definitions")):
            if isinstance(group, Mapping):
                for name, schema in group.items():
                    definitions.setdefault(name, []).append(schema)
    found: set[str] = set()
    while pending:
        for node in _nodes(pending.pop()):
            if "$dynamicRef" in node or "$recursiveRef" in node:
                return None
            if "$ref" not in node:
                continue
            path, _, name = str(node["$ref"]).rpartition("/")
            if path not in ("#/$defs", "#/definitions") or name not in definitions:
                return None
            if name not in found:
                found.add(name)
                pending += definitions[name]
    return frozenset(found)
