"""Tree of a YAML text: each value with the position of everything in it.

Built by the reader; documents keep the root so that later checks can point at the place of a problem.
An aliased node is one object that stands at several pointers; its place is its anchor's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iogate.documents.yaml.source import Span
    from iogate.json_pointer import Pointer


class Positions(Protocol):
    """Positions in a file that was read: a node, or a reading that composes its nodes when it is asked."""

    def place(self, pointer: Pointer, *, key: bool = False) -> Span:
        """Return the position of the node at `pointer`, or of its nearest existing parent."""


@dataclass(slots=True, eq=False, kw_only=True)
class Node:
    """`value` is plain JSON-able data that shares the values of the children."""

    span: Span
    value: Any
    size: int = 1
    """Number of nodes, with all aliases expanded."""
    height: int = 1
    """Number of levels."""
    items: Sequence[Node] = ()
    entries: dict[str, tuple[Span, Node]] | None = None
    """Of a mapping: the key's place and the value."""
    points: bool = True
    """True if a message can point at the span: false for block collections and missing values."""

    def child(self, step: str | int) -> tuple[Span | None, Node] | None:
        """Return the position of the key (None for items) and the node one level below."""
        if self.entries is not None:
            return self.entries.get(str(step))
        if isinstance(step, int) and 0 <= step < len(self.items):
            return None, self.items[step]
        return None

    def place(self, pointer: Pointer, *, key: bool = False) -> Span:
        """Return the position of the node at `pointer` below this one, or of its nearest existing parent.

        `key` asks for the key instead of the value. A value that is no good to point at, a block or
        one left out, gives its key.
        """
        node, key_span = self, None
        for step in pointer:
            found = node.child(step)
            if found is None:
                continue
            key_span, node = found
        if key_span is not None and (key or not node.points):
            return key_span
        return node.span
