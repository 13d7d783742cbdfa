"""Rule IOG530: an expression reads a field of the workflow's input that the input schema lacks.

It follows `$workflow.input` everywhere, and `.` and `$input` where they are certainly the workflow's input:
in `input.from` of the workflow, and in the tasks that start on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from iogate.compiler.checked_definition import Definition
from iogate.compiler.checks.expressions import expressions
from iogate.compiler.diagnostics import did_you_mean, warning_at
from iogate.compiler.lint.input_schemas import (
    Schema,
    api_schema,
    of_request,
    takes_raw,
    takes_request,
    workflow_schema,
)
from iogate.compiler.lint.project import Api, Project
from iogate.compiler.lint.schema_members import Absent, absent_member
from iogate.compiler.reader.index import Found
from iogate.compiler.tasks import Do, Fork, Task, Try
from iogate.compiler.workflows import children
from iogate.documents.problems import Problem
from iogate.expressions.reads import Read, reads
from iogate.json_pointer import Pointer
from iogate.messages import listed, nearest, quoted

_OWN: Final = frozenset({"set", "with", "run", "switch", "raise", "emit", "wait", "for"})
"""Keys of a task whose expressions are evaluated on its input."""
_MOST_LISTED: Final = 8


def check(project: Project) -> Iterator[Problem]:
    """Report each read of an input field that the schema lacks, at the expression."""
    shared = _schemas_of_apis(project)
    of_requests = {api.workflow for api in project.apis if takes_request(api)}
    with_raw = {api.workflow for api in project.apis if takes_raw(api)}
    for name, definition in project.definitions.items():
        if definition.loose or definition.language != "jq":
            continue
        schema = workflow_schema(definition)
        if schema is not None and name in of_requests:
            schema = of_request(schema, raw=name in with_raw)
        known = [(schema, "the input schema")] if schema is not None else shared.get(name, [])
        if known:
            yield from _check(definition, known)


def _check(definition: Definition, known: list[tuple[Schema, str]]) -> Iterator[Problem]:
    starts = [] if definition.program.flow.input_from is not None else list(_starts(definition))
    for found in expressions(definition):
        for read in reads(found.text):
            steps = _steps_into_input(read, found.pointer, starts)
            if not steps or read.optional:
                continue
            missing = [absent_member(schema, steps) for schema, _ in known]
            first = missing[0]
            if first is not None and all(missing):
                yield _problem(definition, found, first, known[0][1])
                break


def _problem(definition: Definition, found: Found, absent: Absent, source: str) -> Problem:
    where = "".join("[]" if isinstance(step, int) else f".{step}" for step in absent.path)
    holder = f"the input has no field {quoted(absent.name)}" + (f" in {where}" if where else "")
    named = listed(sorted(absent.known)[:_MOST_LISTED])
    return warning_at(
        definition.document,
        found.pointer,
        "IOG530",
        f"{holder}: {source} has {named}",
        hint=did_you_mean(nearest(absent.name, absent.known)) or "correct the name, or add it to the schema",
    )


def _steps_into_input(
    read: Read, pointer: Pointer, starts: list[tuple[Pointer, bool]]
) -> tuple[str | int, ...]:
    """Return the path of a read in the workflow's input; empty if it reads something else."""
    if read.variable == "workflow":
        return read.steps[1:] if read.steps[:1] == ("input",) else ()
    if read.variable is None and pointer == ("input", "from"):
        return read.steps
    for location, changed in starts:
        if pointer[: len(location)] != location:
            continue
        below = pointer[len(location) :]
        if read.variable is None and (below in (("if",), ("input", "from"))):
            return read.steps
        own = below[:1] and below[0] in _OWN and below[:2] != ("for", "while")
        if own and not changed and read.variable in (None, "input"):
            return read.steps
    return ()


def _starts(definition: Definition) -> Iterator[tuple[Pointer, bool]]:
    """Yield the location of each task that starts on the workflow's input, and whether it changes it."""
    main = definition.program.lists.get("/do")
    waiting = list(main.tasks[:1]) if main is not None else []
    while waiting:
        task = waiting.pop()
        changed = task.flow.input_from is not None
        yield task.location, changed
        if not changed:
            waiting += _first_inside(task)


def _first_inside(task: Task) -> Iterator[Task]:
    match task.body:
        case Do(tasks=inner) | Try(tasks=inner):
            yield from inner.tasks[:1]
        case Fork(branches=branches):
            for branch in branches:
                yield from branch.tasks[:1]
        case _:
            pass


def _schemas_of_apis(project: Project) -> dict[str, list[tuple[Schema, str]]]:
    """Return, by workflow, the input schemas of its APIs, if calls of these are all that starts it."""
    users: dict[str, list[Api]] = {}
    for api in project.apis:
        if api.workflow is not None:
            users.setdefault(api.workflow, []).append(api)
    if not project.complete:
        return {}  # other files may have further users
    others = {
        project.child(child)
        for definition in project.definitions.values()
        for _, child in children(definition)
    }
    others |= {name for name, each in project.definitions.items() if each.document.data.get("schedule")}
    found: dict[str, list[tuple[Schema, str]]] = {}
    for workflow, apis in users.items():
        known = [
            (schema, f"the input of {api.id}") for api in apis if (schema := api_schema(api)) is not None
        ]
        if workflow not in others and len(known) == len(apis):
            found[workflow] = known
    return found
