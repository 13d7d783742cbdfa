"""A workflow's definition as the engine walks it: every task addressable, every name resolved.

`load` is called by workers, once a digest, and by the compiler, whose checks walk the tasks.
Invariants: immutable, pure, and complete: what a definition names is in the program or is marked
as missing, and raises the standard's configuration error when it is reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from iogate.compiler import bound
from iogate.compiler.building import events
from iogate.compiler.building.builder import Builder
from iogate.compiler.outline import escape
from iogate.compiler.tasks import FUNCTIONS, Flow, Task, TaskList, Timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    definition: Mapping[str, Any]
    """The document, as `$workflow.definition` shows it."""
    flow: Flow
    timeout: Timeout | None = None
    tasks: Mapping[str, Task] = field(default_factory=dict)
    """Every task by its static pointer; those of functions under `/use/functions/NAME`."""
    lists: Mapping[str, TaskList] = field(default_factory=dict)
    """Every list of tasks by its static pointer; `/do` is the workflow's."""
    secrets: tuple[str, ...] = ()
    """Names that `use.secrets` declares."""
    foreign: Mapping[str, Any] = field(default_factory=dict)
    """Definitions of functions from elsewhere, by their pointers: `/use/functions/NAME`."""

    @property
    def name(self) -> str:
        document = self.definition["document"]
        return f"{document['namespace']}/{document['name']}:{document['version']}"


def load(definition: Mapping[str, Any], resources: Mapping[str, Any] | None = None) -> Program:
    """Return the program of a valid definition in JSON with its resolved references.

    `resources` holds the decoded JSON documents that it names, by absolute URI. What `schedules.standing`
    made gives the program of a standing run.
    """
    if "do" not in definition:  # no document is without
        return trigger(definition["standing"], resources)
    definition, beside = bound.part(definition)
    builder = Builder(definition, resources or {}, beside)
    builder.build()
    return Program(
        definition=definition,
        flow=builder.flow(definition),
        timeout=builder.timeout(definition),
        tasks=builder.tasks,
        lists=builder.lists,
        secrets=tuple(builder.use.get("secrets") or ()),
        foreign={f"{FUNCTIONS}{escape(name)}": function for name, function in beside.functions.items()},
    )


def trigger(definition: Mapping[str, Any], resources: Mapping[str, Any] | None = None) -> Program:
    """The program of the standing run behind `schedule.on` of a valid definition.

    One task, `/do/0/on`, which never ends: whenever its strategy is met, it starts the workflow
    itself, not awaited, with the array of events as input.
    """
    definition, beside = bound.part(definition)
    builder = Builder(definition, resources or {}, beside)
    task = Task(
        pointer="/do/0/on",
        name="on",
        kind="listen",
        definition=definition["schedule"],
        condition=None,
        flow=Flow(),
        plain=True,
        then="continue",
        body=events.trigger(builder, definition["schedule"]),
    )
    return Program(
        definition=definition,
        flow=Flow(),
        tasks={task.pointer: task},
        lists={"/do": TaskList("/do", (task,))},
        secrets=tuple(builder.use.get("secrets") or ()),
    )
