"""Places of tasks by name: pointers without the positions of tasks in their lists.

Used by all of `behaviour`. Pure. Invariant: a task that moves within its list keeps its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from iogate.compiler.program import Program
from iogate.compiler.tasks import (
    FUNCTIONS,
    Child,
    Container,
    Emit,
    Function,
    Http,
    Inline,
    OpenApi,
    Process,
    Task,
)
from iogate.json_pointer import join

_LISTS: Final = frozenset({"do", "try", "branches", "before", "after", "extensions"})
"""Members of a definition that are lists of tasks or extensions, or have a list below `do`."""


def place_of(pointer: str) -> str:
    """Return a pointer without positions: `/do/3/each/for/7/do/1/call` is `/do/each/for/7/do/call`.

    The index of an iteration stays.
    """
    kept: list[str] = []
    previous, named = "", True
    for token in pointer.split("/")[1:]:
        if named and token.isdigit() and previous in _LISTS:
            previous, named = "", False
            continue
        kept.append(token)
        # The name of a task is no keyword, and the task's members follow it.
        previous, named = (token, True) if named else ("", True)
    return "".join(f"/{token}" for token in kept)


_ITERATION: Final = re.compile(r"/(for|foreach)/\d+/do(?=/)")
_OUTSIDE: Final = (Http, OpenApi, Function, Process, Container, Child, Emit)


class Places:
    """Tasks of a program by their places."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.tasks: Mapping[str, Task] = {place_of(pointer): task for pointer, task in program.tasks.items()}
        self.outside = {place for place, task in self.tasks.items() if isinstance(task.body, _OUTSIDE)}
        """Places of tasks that call, run or emit something themselves."""
        self.lists = {place_of(pointer) for pointer in program.lists}

    def has_outside(self, place: str) -> bool:
        """Tell whether a task at this place, which may be in functions, calls, runs or emits something."""
        first, *called = _ITERATION.sub(r"/\1/do", place).split(FUNCTIONS)
        *callers, last = [first, *(FUNCTIONS + each for each in called)]
        found = [self.tasks.get(caller) for caller in callers]
        return last in self.outside and all(
            task is not None and isinstance(task.body, Inline) for task in found
        )

    def document_pointer(self, pointer: str) -> str | None:
        """Return the JSON Pointer in the document of the task at a program pointer; None if there is none.

        They differ for the tasks of a loop, which are in `for/do` of the program and in `do` of the document.
        """
        task = self.tasks.get(place_of(pointer))
        return None if task is None else join(task.location)

    def pointer(self, place: str) -> str | None:
        """Return the pointer of the task at a place; None if there is none."""
        task = self.tasks.get(place)
        return None if task is None else task.pointer


def common_places(old: Places, new: Places) -> frozenset[str]:
    """Return the places that have a task of the same kind in both programs."""
    return frozenset(
        place
        for place in old.tasks.keys() & new.tasks.keys()
        if old.tasks[place].kind == new.tasks[place].kind
    )
