"""Meanings of the metadata that makes the iterations of a loop run at the same time.

Used by `workflows`. Pure. Invariant: a change that is not of this metadata has no meaning here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from iogate.json_pointer import Pointer
from iogate.messages import quoted
from iogate.reconcile.json_diff import JsonChange
from iogate.reconcile.meanings.change_kinds import Meaning

_METADATA: Final = ("metadata", "iogate")
_KEYS: Final = ("parallel", "on_error")


def loop_meanings(change: JsonChange) -> Iterator[Meaning]:
    """Yield the meanings of a change of `parallel` and `on_error` in the metadata of a loop."""
    place = _place(change.path)
    if place is None or change.was is not None:
        return
    task, below = place
    name, pointer = quoted(str(task[-1])), change.pointer
    before, after = (_settings(each, below) for each in (change.before, change.after))
    old, new = before.get("parallel", 0), after.get("parallel", 0)
    if old != new and "parallel" in {*before, *after}:
        yield Meaning(kind=_kind(old, new), text=_text(name, old, new), pointer=pointer)
    kept = [each.get("on_error", "fail") == "continue" for each in (before, after)]
    if kept[0] != kept[1] and (new or "parallel" not in {*before, *after}):
        text = (
            f"an error in an iteration of {name} takes the place of its output, and no longer fails the task"
            if kept[1]
            else f"an error in an iteration of {name} cancels the others and fails the task"
        )
        yield Meaning(kind="loop.errors", text=text, pointer=pointer)


def _kind(old: int, new: int) -> str:
    return "loop.parallel" if not (old and new) else "loop.raised" if new > old else "loop.lowered"


def _text(name: str, old: int, new: int) -> str:
    if not old:
        return f"up to {new:,} iterations of {name} run at once: its output becomes the list of their outputs"
    if not new:
        return f"iterations of {name} run one after the other: its output becomes that of the last one"
    return f"up to {new:,} iterations of {name} run at once, was {old:,}"


def _place(path: Pointer) -> tuple[Pointer, Pointer] | None:
    """Return the path of the loop, and the rest of the path behind it; None for other places."""
    for length in (1, 2, 3):
        task, below = path[:-length], path[-length:]
        is_task = len(task) >= 3 and isinstance(task[-2], int)
        if is_task and below[:2] == _METADATA[:length] and below[2:] in ((), *((key,) for key in _KEYS)):
            return task, below
    return None


def _settings(value: Any, below: Pointer) -> Mapping[str, Any]:
    """Return the settings of a loop in the value at a place of its metadata."""
    for name in _METADATA[len(below) :]:
        value = value.get(name) if isinstance(value, Mapping) else None
    if len(below) == 3:
        return {str(below[2]): value} if isinstance(value, int | str) else {}
    return {key: value[key] for key in _KEYS if key in value} if isinstance(value, Mapping) else {}
