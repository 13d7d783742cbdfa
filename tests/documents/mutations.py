"""Systematic mutations of a document: at each place, each way of getting it wrong."""

from __future__ import annotations

import copy
from collections.abc import Iterator
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

Mutation = tuple[str, Any]


def mutations(document: Any) -> Iterator[Mutation]:
    """What was done, and the document after it."""
    for pointer in _pointers(document):
        value = _at(document, pointer)
        if pointer:
            yield from _of_place(document, pointer)
        if isinstance(value, dict):
            yield from _of_mapping(document, pointer, value)
        elif isinstance(value, list):
            for what, item in (("again", value[0] if value else 1), ("text", "x")):
                changed = copy.deepcopy(document)
                _at(changed, pointer).append(copy.deepcopy(item))
                yield f"append {what} to {pointer}", changed


def _of_place(document: Any, pointer: Pointer) -> Iterator[Mutation]:
    *above, last = pointer
    for value in REPLACEMENTS:
        changed = copy.deepcopy(document)
        _at(changed, above)[last] = value
        yield f"set {pointer} to {value!r}", changed
    changed = copy.deepcopy(document)
    del _at(changed, above)[last]
    yield f"delete {pointer}", changed
    if isinstance(last, str):
        for name in NAMES:
            changed = copy.deepcopy(document)
            holder = _at(changed, above)
            renamed = {name if key == last else key: value for key, value in holder.items()}
            holder.clear()
            holder.update(renamed)
            yield f"rename {pointer} to {name}", changed


def _of_mapping(document: Any, pointer: Pointer, value: dict[str, Any]) -> Iterator[Mutation]:
    for name, addition in ADDITIONS.items():
        if name not in value:
            changed = copy.deepcopy(document)
            _at(changed, pointer)[name] = addition
            yield f"add {name} to {pointer}", changed


def _pointers(value: Any, at: Pointer = ()) -> Iterator[Pointer]:
    yield at
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _pointers(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _pointers(inner, (*at, index))


def _at(value: Any, pointer: Any) -> Any:
    for step in pointer:
        value = value[step]
    return value
