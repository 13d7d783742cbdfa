"""Task names are unique in their list, and lists hold tasks where something must run."""

from __future__ import annotations

from collections.abc import Iterator

from iogate.compiler import outline
from iogate.compiler.faults import Placed, Surroundings, fault
from iogate.documents.problems import Problem, quoted


def check(document: Placed, surroundings: Surroundings) -> Iterator[Problem]:
    del surroundings
    for found in outline.lists(document.data):
        yield from _twice(document, found)
        if not found.tasks and not _may_be_empty(found):
            yield _empty(document, found)


def _twice(document: Placed, found: outline.TaskList) -> Iterator[Problem]:
    seen: dict[str, outline.Task] = {}
    for task in found.tasks:
        first = seen.setdefault(task.name, task)
        if first is not task:
            line = document.at(first.pointer, key=True).line
            yield fault(
                document,
                task.pointer,
                "IOG310",
                f"task {quoted(task.name)} stands twice in this list, first in line {line}: "
                '"then" could not tell them apart',
                key=True,
                hint="give one of them another name",
            )


def _may_be_empty(found: outline.TaskList) -> bool:
    """Handling an error by doing nothing is handling it, and extensions may add nothing."""
    return found.pointer[-2:] == ("catch", "do") or found.pointer[:2] == ("use", "extensions")


def _empty(document: Placed, found: outline.TaskList) -> Problem:
    what = '"branches"' if found.pointer[-1] == "branches" else f'"{found.pointer[-1]}"'
    return fault(
        document,
        found.pointer,
        "IOG312",
        f"{what} holds no task; it needs at least one",
        key=True,
    )
