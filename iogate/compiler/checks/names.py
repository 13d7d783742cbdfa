"""Check of task names, which are unique in their list, and of lists that must not be empty."""

from __future__ import annotations

from collections.abc import Iterator

from iogate.compiler.checked_definition import Definition
from iogate.compiler.diagnostics import CheckContext, problem_at
from iogate.compiler.reader.index import Listing
from iogate.compiler.tasks import Task
from iogate.documents.problems import Problem
from iogate.messages import quoted


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    del context
    for listing in definition.index.listings:
        yield from _repeated(definition, listing)
        if not listing.tasks and not _may_be_empty(listing):
            yield problem_at(
                definition.document,
                listing.pointer,
                "IOG312",
                f'"{listing.pointer[-1]}" holds no task; it needs at least one',
                key=True,
            )


def _repeated(definition: Definition, listing: Listing) -> Iterator[Problem]:
    seen: dict[str, Task] = {}
    for task in listing.tasks:
        first = seen.setdefault(task.name, task)
        if first is not task:
            line = definition.document.at(first.location, key=True).line
            yield problem_at(
                definition.document,
                task.location,
                "IOG310",
                f"task {quoted(task.name)} stands twice in this list, first in line {line}: "
                '"then" could not tell them apart',
                key=True,
                hint="give one of them another name",
            )


def _may_be_empty(listing: Listing) -> bool:
    """Tell whether a list of task names may be empty, as that of a handler or of an extension."""
    return listing.pointer[-2:] == ("catch", "do") or listing.pointer[:2] == ("use", "extensions")
