"""JSON values as trees that a reader can fold, for the pages of the console.

Used by the pages that show data of runs. Pure. Invariant: the number of nodes is bounded, whatever the value
is; a value with more is shown as text up to a limit, with a link to all of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from iogate.gateway.console.formatting import indent_json

MOST_BYTES: Final = 256 * 1024
"""Bytes of a value that is decoded for a tree: its objects take up to 60 times as much memory."""
MOST_NODES: Final = 1_500
MOST_TEXT: Final = 64 * 1024
"""Characters of a value that is too large for a tree."""
MOST_STRING: Final = 4_096
OPEN_NODES: Final = 40
"""Nodes of a part that is unfolded from the start."""
DEEPEST: Final = 24


@dataclass(frozen=True, kw_only=True)
class Node:
    """A value with the name of its place in the value around it."""

    name: str
    """Name of the member, or its number in a list; empty for the root."""
    kind: str
    """object, list, text, number, or literal."""
    text: str
    """The value, or the number of its members."""
    members: tuple[Node, ...] = ()
    is_open: bool = False
    rest: int = 0
    """Characters of a text that are left out."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A value as a page shows it: a tree, or text."""

    root: Node | None
    text: str = ""
    """Beginning of a value that is too large for a tree."""
    size: int = 0
    """Characters, or bytes, of the value in JSON."""

    @property
    def is_cut(self) -> bool:
        """Tell whether the text in place of a tree is only the beginning of the value."""
        return self.root is None and len(self.text) < self.size


def tree(value: Any) -> Tree:
    """Return a JSON value as a tree, or as text if it has too many members."""
    if _count(value, MOST_NODES, 0) > MOST_NODES:
        return _text(msgspec.json.encode(value))
    root, _ = _node("", value)
    return Tree(root=root)


def encoded_tree(encoded: bytes) -> Tree:
    """Return a value in JSON as a tree, or as text if it is large or has too many members."""
    return _text(encoded) if len(encoded) > MOST_BYTES else tree(msgspec.json.decode(encoded))


def _text(encoded: bytes) -> Tree:
    shown = indent_json(encoded)
    text = shown[:MOST_TEXT].decode(errors="ignore")
    return Tree(root=None, text=text, size=len(text) if len(shown) <= MOST_TEXT else len(shown))


def _count(value: Any, limit: int, depth: int) -> int:
    """Count the nodes of the tree of a JSON value, up to a little more than the limit."""
    if depth > DEEPEST:
        return limit + 1
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = 1
    for each in members:
        found += _count(each, limit - found, depth + 1)
        if found > limit:
            return found
    return found


def _node(name: str, value: Any) -> tuple[Node, int]:
    """Return a JSON value as a node of a tree, and the number of nodes in it."""
    match value:
        case dict() | list():
            pairs = (
                value.items() if isinstance(value, dict) else ((str(at), it) for at, it in enumerate(value))
            )
            made = [_node(str(key), each) for key, each in pairs]
            count = 1 + sum(each for _, each in made)
            is_object = isinstance(value, dict)
            node = Node(
                name=name,
                kind="object" if is_object else "list",
                text=_size(len(value), is_object=is_object),
                members=tuple(each for each, _ in made),
                is_open=not name or count <= OPEN_NODES,
            )
            return node, count
        case str():
            shown = json.dumps(value[:MOST_STRING], ensure_ascii=False)
            rest = max(0, len(value) - MOST_STRING)
            return Node(name=name, kind="text", text=shown, rest=rest), 1
        case bool() | None:
            return Node(name=name, kind="literal", text=json.dumps(value)), 1
        case _:
            return Node(name=name, kind="number", text=str(value)), 1


def _size(number: int, *, is_object: bool) -> str:
    noun = ("member" if is_object else "element") + ("" if number == 1 else "s")
    return f"{'{' if is_object else '['}{'…' if number else ''}{'}' if is_object else ']'} {number} {noun}"
