"""Check of parallel loops: where their metadata has an effect, and data that is not shared by iterations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from iogate.compiler.checked_definition import Definition
from iogate.compiler.checks.expressions import expressions
from iogate.compiler.diagnostics import CheckContext, problem_at, warning_at
from iogate.compiler.tasks import For, Task
from iogate.documents.problems import Problem
from iogate.expressions.reads import reads
from iogate.messages import quoted

_METADATA: Final = ("metadata", "iogate")
_CONTEXT: Final = re.compile(r"\$context\b")
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_WHOLE: Final = re.compile(r"(?<![\w\])}?.$])\.(?![\w.])")


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    del context
    tasks = definition.index.tasks
    for task in tasks:
        said = (task.definition.get("metadata") or {}).get("iogate") or {}
        if "parallel" in said or "on_error" in said:
            yield from _metadata(definition, task, tuple(said))
    for task in tasks:
        if isinstance(task.body, For) and task.body.parallel:
            yield from _while(definition, task)
            yield from _exports(definition, task)


def _metadata(definition: Definition, task: Task, keys: tuple[str, ...]) -> Iterator[Problem]:
    if not isinstance(task.body, For):
        for key in keys:
            if key in ("parallel", "on_error"):
                yield problem_at(
                    definition.document,
                    (*task.location, *_METADATA, key),
                    "IOG346",
                    f'"{key}" belongs to a task with "for", and {quoted(task.name)} has "{task.kind}"',
                    key=True,
                    hint="move it to the metadata of the loop",
                )
    elif "parallel" not in keys:
        yield problem_at(
            definition.document,
            (*task.location, *_METADATA, "on_error"),
            "IOG347",
            '"on_error" needs "parallel": other loops end at their first error',
            key=True,
            hint="add parallel: 1, or catch errors with a try inside the loop",
        )


def _while(definition: Definition, task: Task) -> Iterator[Problem]:
    """Warn of a condition on the output of the iteration before, which a parallel loop does not have."""
    pointer = (*task.location, "while")
    found = next((each for each in expressions(definition) if each.pointer == pointer), None)
    if found is not None and _reads_data(found.text):
        yield warning_at(
            definition.document,
            pointer,
            "IOG552",
            f'"while" of the parallel loop {quoted(task.name)} reads ".", the same in each iteration: '
            "the input of the task",
            hint="decide by the item or the index, or remove parallel",
        )


def _reads_data(text: str) -> bool:
    """Tell whether an expression of a parallel loop reads its `.`, whole or a part; not behind a pipe."""
    if any(read.variable is None for read in reads(text)):
        return True
    return "|" not in text and _WHOLE.search(_STRING.sub("", text)) is not None


def _exports(definition: Definition, task: Task) -> Iterator[Problem]:
    """Warn of exports into the context of a parallel iteration, which ends with it, if nothing reads them."""
    inside = (*task.location, "do")
    exports = [
        each
        for each in definition.index.tasks
        if each.location[: len(inside)] == inside and each.flow.export_as is not None
    ]
    if not exports:
        return
    for found in expressions(definition):
        is_inside = found.pointer[: len(inside)] == inside
        if is_inside and "export" not in found.pointer[-2:] and _CONTEXT.search(found.text):
            return
    for each in exports:
        yield warning_at(
            definition.document,
            (*each.location, "export"),
            "IOG551",
            f"no task of an iteration of {quoted(task.name)} reads this export, which ends with it",
            key=True,
            hint="let the iteration return it: the output of the loop is the list of their outputs",
        )
