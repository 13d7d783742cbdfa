"""Check of the variable names of loops and handlers: an expression can contain them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from iogate.compiler.checked_definition import Definition
from iogate.compiler.diagnostics import CheckContext, warning_at
from iogate.compiler.tasks import For, Listen, Task, Try
from iogate.compiler.tasks import Iterator as EventIterator
from iogate.documents.problems import Problem
from iogate.messages import quoted

_NAME: Final = re.compile(r"(?!(?:ENV|__loc__)\Z)[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
"""What jq reads behind a `$`; two of them are its own."""


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    del context
    document = definition.document
    for task in definition.index.tasks:
        holder, names = _declared(task)
        pointer = (*task.location, holder)
        for key, name in names.items():
            if _NAME.fullmatch(name):
                continue
            bare = name.removeprefix("$")
            yield warning_at(
                document,
                (*pointer, key),
                "IOG516",
                f"no expression can reach a variable called {quoted(name)}",
                hint=f"write {bare}" if _NAME.fullmatch(bare) else 'use ASCII letters, digits and "_"',
            )
        if len(names) > len(set(names.values())):
            yield warning_at(
                document,
                (*pointer, "at"),
                "IOG516",
                f'"{next(iter(names))}" and "at" name one variable, which cannot hold the item and its index',
                hint="give the index another name",
            )


def declared_names(task: Task) -> tuple[str, ...]:
    """Return the names of the variables that a loop or handler declares for the tasks in it."""
    return tuple(_declared(task)[1].values())


def _declared(task: Task) -> tuple[str, dict[str, str]]:
    """Return the key of the task that declares variables, and their names by the keys below it."""
    match task.body:
        case For(each=each, at=at):
            return "for", {"each": each, "at": at}
        case Listen(each=EventIterator(item=item, at=at)):
            return "foreach", {"item": item, "at": at}
        case Try(name=name):
            return "catch", {"as": name}
        case _:
            return "", {}
