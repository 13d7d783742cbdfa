"""Systematic mutations of a document: at each position, each kind of error."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

Pointer = tuple[str | int, ...]

REPLACEMENTS: tuple[Any, ...] = (
    None,
    True,
    7,
    1.0,
    2.5,
    -3,
    "text",
    "${ .x }",
    "",
    "end",
    "PT5S",
    "1.0.0",
    "http://x/y",
    [],
    [1],
    ["a"],
    [{}],
    {},
    {"a": 1},
)
NAMES = ("zzz", "do", "with", "use", "until", "then", "for", "container")
ADDITIONS: dict[str, Any] = {
    "zzz": 1,
    "if": "${ .x }",
    "then": "end",
    "while": ".x",
    "do": [],
    "set": {"a": 1},
    "until": "${ .x }",
    "after": {"seconds": 1},
    "document": {},
    "catch": {},
    "message": {},
    "operation": "a",
    "amount": 1,
    "use": "x",
    "basic": {"use": "x"},
    "resource": {"endpoint": "http://x"},
    "shell": {"command": "x"},
    "read": "data",
    "one": {"with": {"type": "a"}},
    "all": [],
    "linear": {},
    "source": {"endpoint": "x"},
    "cleanup": "never",
    "endpoints": {},
    "stdio": {"command": "x"},
    "foreach": {},
    "status": 3,
    "with": {},
}

Mutation = tuple[str, Callable[[], Any]]


def mutations(document: Any) -> Iterator[Mutation]:
    """What is done, and how to get the document after it: most are never made, so copies wait."""
    for pointer in _pointers(document):
        value = _at(document, pointer)
        if pointer:
            for replacement in REPLACEMENTS:
                what = f"set {pointer} to {replacement!r}"
                yield what, partial(_changed, document, pointer[:-1], partial(_put, pointer[-1], replacement))
            yield f"delete {pointer}", partial(_changed, document, pointer[:-1], partial(_drop, pointer[-1]))
            if isinstance(pointer[-1], str):
                for name in NAMES:
                    rename = partial(_rename, pointer[-1], name)
                    yield f"rename {pointer} to {name}", partial(_changed, document, pointer[:-1], rename)
        if isinstance(value, dict):
            for name, addition in ADDITIONS.items():
                if name not in value:
                    add = partial(_put, name, addition)
                    yield f"add {name} to {pointer}", partial(_changed, document, pointer, add)
        elif isinstance(value, list):
            for what, item in (("again", value[0] if value else 1), ("text", "x")):
                append = partial(_append, copy.deepcopy(item))
                yield f"append {what} to {pointer}", partial(_changed, document, pointer, append)


def _changed(document: Any, pointer: Pointer, change: Callable[[Any], None]) -> Any:
    changed = copy.deepcopy(document)
    change(_at(changed, pointer))
    return changed


def _put(step: str | int, value: Any, holder: Any) -> None:
    holder[step] = value


def _drop(step: str | int, holder: Any) -> None:
    del holder[step]


def _append(item: Any, holder: list[Any]) -> None:
    holder.append(item)


def _rename(old: str, new: str, holder: dict[str, Any]) -> None:
    renamed = {new if key == old else key: value for key, value in holder.items()}
    holder.clear()
    holder.update(renamed)


def _pointers(value: Any, at: Pointer = ()) -> Iterator[Pointer]:
    yield at
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _pointers(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _pointers(inner, (*at, index))


def _at(value: Any, pointer: Pointer) -> Any:
    for step in pointer:
        value = value[step]
    return value
