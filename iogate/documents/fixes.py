"""Corrections of a document that `iogate lint --fix` can make, as problems carry them.

A fix names its place by pointer or by position; `documents.yaml.edits` applies it to the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from iogate.json_pointer import Pointer


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameKey:
    pointer: Pointer
    """The last step is the present key."""
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceText:
    """Another text as the value at the pointer, which must be a text on one line."""

    pointer: Pointer
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceComment:
    """Another text for the comment at this position; "" removes it."""

    line: int
    column: int
    text: str


Fix: TypeAlias = RenameKey | ReplaceText | ReplaceComment
