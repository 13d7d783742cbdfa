"""Difference of two JSON documents, place by place, with lists of tasks aligned by name.

Used by plan for API documents and workflow definitions. Pure. Invariant: applying no change means that the
two documents are the same JSON value; the order of members never matters, the order of elements does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final

import msgspec

from iogate.json_pointer import Pointer, join


class Absent:
    """Type of ABSENT."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()
"""Value of a place that a document does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonChange:
    """Changed place of a document."""

    path: Pointer
    """Place in the new document, or in the old one if the new one has no such place."""
    before: Any = ABSENT
    after: Any = ABSENT
    was: Pointer | None = None
    """Previous place of a task that was moved or renamed; its value is then the same."""

    @property
    def pointer(self) -> str:
        """JSON Pointer of the changed place in a JSON diff."""
        return join(self.path)

    @property
    def mark(self) -> str:
        """Mark of the change in a JSON diff: `+`, `-` or `~`."""
        if self.was is not None:
            return "~"
        return "+" if self.before is ABSENT else "-" if self.after is ABSENT else "~"


def changes(before: Any, after: Any, path: Pointer = ()) -> Iterator[JsonChange]:
    """Yield the changed places of a JSON document, in the order of the new one."""
    if before is ABSENT or after is ABSENT:
        if before is not after:
            yield JsonChange(path=path, before=before, after=after)
    elif type(before) is dict and type(after) is dict:
        if is_same(before, after):
            return
        for name in [*after, *(name for name in before if name not in after)]:
            yield from changes(before.get(name, ABSENT), after.get(name, ABSENT), (*path, name))
    elif _is_list(before) and _is_list(after):
        if not is_same(before, after):
            yield from _list_changes(before, after, path)
    elif not is_same(before, after):
        yield JsonChange(path=path, before=before, after=after)


def _list_changes(before: Sequence[Any], after: Sequence[Any], path: Pointer) -> Iterator[JsonChange]:
    if _is_task_list(before) and _is_task_list(after):
        yield from _task_changes(before, after, path)
    elif len(before) == len(after) and any(isinstance(each, dict | list | tuple) for each in after):
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from changes(old, new, (*path, number))
    else:
        yield JsonChange(path=path, before=before, after=after)


def _task_changes(before: Sequence[Any], after: Sequence[Any], path: Pointer) -> Iterator[JsonChange]:
    old_names = [next(iter(each)) for each in before]
    new_names = [next(iter(each)) for each in after]
    pairs: dict[int, int] = {}
    """Position in `after` to that in `before`, of tasks that kept their place among the others."""
    for block in SequenceMatcher(None, old_names, new_names, autojunk=False).get_matching_blocks():
        pairs |= {block.b + offset: block.a + offset for offset in range(block.size)}
    taken, kept = set(pairs.values()), set(new_names)
    left = dict.fromkeys(number for number in range(len(before)) if number not in taken)
    by_name = {old_names[number]: number for number in left}
    by_content: dict[bytes, list[int]] = {}
    """Positions of tasks whose name is gone; the first one is at the end."""
    for number in reversed(left):
        if old_names[number] not in kept:
            by_content.setdefault(_encode(before[number][old_names[number]]), []).append(number)
    moved: dict[int, int] = {}
    for number, name in enumerate(new_names):
        if number in pairs:
            continue
        same = by_name.get(name)
        if same is None:  # a renamed task has the same content
            equal = by_content.get(_encode(after[number][name]))
            same = equal.pop() if equal else None
        if same is not None:
            del left[same]
            moved[number] = same
    for number, name in enumerate(new_names):
        place = (*path, number, name)
        old = pairs.get(number, moved.get(number))
        if old is None:
            yield JsonChange(path=place, after=after[number][name])
            continue
        if number in moved:
            value = after[number][name]
            yield JsonChange(path=place, before=value, after=value, was=(*path, old, old_names[old]))
        yield from changes(before[old][old_names[old]], after[number][name], place)
    for old in left:
        yield JsonChange(path=(*path, old, old_names[old]), before=before[old][old_names[old]])


_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def is_same(first: Any, second: Any) -> bool:
    """Tell whether a JSON diff takes two values for the same: true is not 1, and 1 is not 1.0."""
    if isinstance(first, str) and isinstance(second, str):
        return first == second
    return _encode(first) == _encode(second)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_task_list(value: Sequence[Any]) -> bool:
    """Tell whether a list can be aligned by names of tasks: mappings with one member, all different."""
    if not value or not all(type(each) is dict and len(each) == 1 for each in value):
        return False
    return len({next(iter(each)) for each in value}) == len(value)
