"""Syntax tree of a document: values in the author's notation, with comments and empty lines.

Built by `parser`, reordered by `key_order`, printed by `printer`. Invariant: each comment of the file is in
exactly one place of the tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Style = Literal["", "'", '"', "|", ">"]


@dataclass(slots=True, kw_only=True)
class Scalar:
    """`raw` is the notation in the file without properties; of a block scalar only its header."""

    value: str
    style: Style
    raw: str
    properties: str = ""
    """Anchor and tag, as they are printed."""
    lines: list[str] = field(default_factory=list)
    """Of a block scalar: its content without the indentation."""


@dataclass(slots=True, kw_only=True)
class Alias:
    name: str


@dataclass(slots=True, kw_only=True)
class Collection:
    mapping: bool
    flow: bool
    properties: str = ""
    entries: list[Entry] = field(default_factory=list)
    end: list[str] = field(default_factory=list)
    """Comments after the last entry; an empty text is an empty line."""
    lines: list[str] = field(default_factory=list)
    """Of brackets with a line to which an ignore comment applies: their lines, with all comments inside; from
    the second one on with the indentation beyond that of the entry."""

    def has_comments(self) -> bool:
        """Tell whether a comment is inside the collection of the syntax tree."""
        return any(self.end) or any(entry.has_comments() for entry in self.entries)

    def drop_comments(self) -> None:
        """Remove all comments inside the collection of the syntax tree."""
        self.end = []
        for entry in self.entries:
            entry.before, entry.behind, entry.within, entry.after = [], "", [], ""
            if isinstance(entry.value, Collection):
                entry.value.drop_comments()

    def anchors(self) -> bool:
        """Tell whether an anchor or alias is inside the collection of the syntax tree, or on it."""
        return "&" in self.properties or any(entry.anchors() for entry in self.entries)


@dataclass(slots=True, kw_only=True)
class Entry:
    """Entry of a mapping, or item of a sequence, which has no key."""

    key: Scalar | Alias | None
    value: Value
    before: list[str] = field(default_factory=list)
    """Comments on lines of their own above; an empty text is an empty line."""
    behind: str = ""
    """Comment on the line of the key or dash, before the value; it starts with its distance beyond one."""
    within: list[str] = field(default_factory=list)
    """Comments on lines of their own between the key and a value that is no block collection."""
    after: str = ""
    """Comment on the line on which the value ends, with its distance."""

    def comments(self) -> Iterator[str]:
        """Yield the comments of the entry itself in the syntax tree, not those inside of its value."""
        yield from (text for text in self.before if text)
        yield from (text for text in (self.behind, *self.within, self.after) if text)

    def has_comments(self) -> bool:
        """Tell whether the entry of the syntax tree has a comment, or its value has one inside."""
        inside = isinstance(self.value, Collection) and self.value.has_comments()
        return inside or any(self.comments())

    def anchors(self) -> bool:
        """Tell whether an anchor or alias is in the entry of the syntax tree."""
        return any(
            part.anchors()
            if isinstance(part, Collection)
            else isinstance(part, Alias) or "&" in part.properties
            for part in (self.key, self.value)
            if part is not None
        )


Value = Scalar | Alias | Collection


@dataclass(slots=True, kw_only=True)
class Document:
    head: list[str]
    """Comments and directives at the top of the file; `---` if the author wrote it."""
    root: Collection
