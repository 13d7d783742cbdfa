"""Check of `atMostOnce`: it belongs to a task that can be repeated, a call, a process or a container."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from iogate.compiler.checked_definition import Definition
from iogate.compiler.diagnostics import CheckContext, problem_at
from iogate.compiler.tasks import Child, Do, Emit, For, Fork, Listen, Raise, Set, Switch, Try, Wait
from iogate.documents.problems import Problem
from iogate.messages import quoted

_COMMITTED: Final = (Child, Do, Emit, For, Fork, Listen, Raise, Set, Switch, Try, Wait)
"""Kinds of tasks that never repeat: their result is stored with the state of the run."""
_KEY: Final = ("metadata", "iogate", "atMostOnce")


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    del context
    for task in definition.index.tasks:
        if task.at_most_once and isinstance(task.body, _COMMITTED):
            what = "run: workflow" if isinstance(task.body, Child) else task.kind
            yield problem_at(
                definition.document,
                (*task.location, *_KEY),
                "IOG350",
                '"atMostOnce" belongs to a call, a process or a container,'
                f' and {quoted(task.name)} has "{what}"',
                key=True,
                hint="move it to the metadata of each call and process inside, or remove it",
            )
