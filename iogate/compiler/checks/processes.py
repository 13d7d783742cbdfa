"""Workflows start only the kinds of processes that the settings allow."""

from __future__ import annotations

from collections.abc import Iterator

from iogate.compiler.definition import Definition
from iogate.compiler.diagnostics import CheckContext, problem_at
from iogate.compiler.tasks import Child, Container, Process, Task
from iogate.documents.problems import Problem

CODE = "IOG316"


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    if context.purpose == "run":
        return
    allowed = context.settings.allow_run
    for task in definition.index.tasks:
        kind = kind_of(task)
        if kind in ("", "workflow", *allowed):
            continue
        wanted = ", ".join((*allowed, kind))
        yield problem_at(
            definition.document,
            (*task.location, "run", kind),
            CODE,
            f'running a {kind} is not allowed by the setting "allow_run"',
            key=True,
            severity=context.unsupported,
            hint=f"if it may, write allow_run: [{wanted}] in iogate.yaml",
        )


def kind_of(task: Task) -> str:
    """Return the kind of process of a task: shell, script, container or workflow; else an empty text."""
    match task.body:
        case Process(kind=kind):
            return kind
        case Container():
            return "container"
        case Child():
            return "workflow"
        case _:
            return ""
