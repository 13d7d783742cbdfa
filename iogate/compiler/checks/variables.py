"""Check of the variable names of loops and handlers: an expression can contain them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from iogate.compiler import outline
from iogate.compiler.faults import Placed, Surroundings, warning
from iogate.compiler.outline import Pointer
from iogate.documents.problems import Problem, quoted

_NAME: Final = re.compile(r"(?!(?:ENV|__loc__)\Z)[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
"""What jq reads behind a `$`; two of them are its own."""


def check(document: Placed, surroundings: Surroundings) -> Iterator[Problem]:
    del surroundings
    for task in outline.tasks(document.data):
        for pointer, holder, keys in _holders(task):
            for key in keys:
                yield from _unwritable(document, (*pointer, key), holder.get(key))
            if len(keys) == 2 and (holder.get(keys[0]) or "item") == (holder.get("at") or "index"):
                yield warning(
                    document,
                    (*pointer, "at"),
                    "IOG516",
                    f'"{keys[0]}" and "at" name one variable, which cannot hold the item and its index',
                    hint="give the index another name",
                )


def _holders(task: outline.Task) -> Iterator[tuple[Pointer, Mapping[str, Any], tuple[str, ...]]]:
    match task.data:
        case {"for": Mapping() as loop}:
            yield (*task.pointer, "for"), loop, ("each", "at")
        case {"foreach": Mapping() as each}:
            yield (*task.pointer, "foreach"), each, ("item", "at")
        case {"catch": Mapping() as catch}:
            yield (*task.pointer, "catch"), catch, ("as",)
        case _:
            pass


def _unwritable(document: Placed, pointer: Pointer, name: str | None) -> Iterator[Problem]:
    if not name or _NAME.fullmatch(name):
        return
    bare = name.removeprefix("$")
    hint = f"write {bare}" if _NAME.fullmatch(bare) else 'use ASCII letters, digits and "_"'
    yield warning(
        document, pointer, "IOG516", f"no expression can reach a variable called {quoted(name)}", hint=hint
    )
