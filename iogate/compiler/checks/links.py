"""Check of the links of a workflow: valid schemas, each is waited for, and tasks name only declared ones.

A link that nobody waits for would tell its user that the run continues, while its event is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import Any, Final

from iogate.compiler.checked_definition import Definition
from iogate.compiler.checks import schemas
from iogate.compiler.checks.expressions import expressions
from iogate.compiler.checks.variable_names import declared_names
from iogate.compiler.diagnostics import CheckContext, Document, did_you_mean, problem_at, warning_at
from iogate.compiler.reader.links import POINTER, READ, declared
from iogate.documents.problems import Problem
from iogate.json_pointer import Pointer
from iogate.json_values import JsonObject
from iogate.messages import listed, nearest, quoted
from iogate.security.one_time_links import EVENT

UNDECLARED: Final = "IOG335"
EMITTED: Final = "IOG336"
STARTS: Final = "IOG337"
NO_OBJECT: Final = "IOG338"
UNAWAITED: Final = "IOG548"


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    """Report errors in the links of a workflow and in the events of links."""
    del context
    links = declared(definition.document.data)
    yield from _schemas(definition.document, links)
    yield from _reads(definition, links)
    awaited = yield from _events(definition, links)
    for name in links:
        if name not in awaited and ... not in awaited:
            yield warning_at(
                definition.document,
                (*POINTER, name),
                UNAWAITED,
                f"no task listens for {EVENT}{name}, so that the use of the link has no effect",
                key=True,
                hint=f"add a task with listen: {{to: {{one: {{with: {{type: {EVENT}{name}}}}}}}}}",
            )


def _schemas(document: Document, links: JsonObject) -> Iterator[Problem]:
    for name, link in links.items():
        schema, pointer = link.get("schema"), (*POINTER, name, "schema")
        if schema is None:
            continue
        problems = list(schemas.problems(document, pointer, schema))
        yield from problems
        if not problems and schema.get("type") != "object":
            yield problem_at(
                document,
                pointer,
                NO_OBJECT,
                "the schema of a link describes an object, whose properties are the fields of the form",
                key=True,
                hint="write type: object and properties: {…}",
            )


def _reads(definition: Definition, links: JsonObject) -> Iterator[Problem]:
    if any("runtime" in declared_names(task) for task in definition.index.tasks):
        return  # `$runtime` may be the variable of a loop
    for found in expressions(definition):
        for read in READ.finditer(found.text):
            name = read[1] or read[2]
            if name not in links:
                yield _undeclared(definition.document, found.pointer, f"$runtime.links.{name}", name, links)


def _events(definition: Definition, links: JsonObject) -> Generator[Problem, None, set[Any]]:
    """Report wrong uses of the events of links; return the names of the awaited links.

    Ellipsis among them stands for any name: a filter that may match every type.
    """
    awaited: set[Any] = set()
    for attributes in definition.index.events:
        pointer, kind = attributes.pointer, attributes.element.get("type")
        at = (*pointer, "type")
        emitted = pointer[-2:] == ("event", "with")
        if not isinstance(kind, str) or not re.fullmatch(r"[\w.:/-]+", kind, re.ASCII):
            if not emitted:
                awaited.add(Ellipsis)
            continue
        if not kind.startswith(EVENT):
            continue
        name = kind.removeprefix(EVENT)
        if emitted:
            message = f"no task can emit {quoted(kind)}: only the link of a run sends such an event"
            yield problem_at(definition.document, at, EMITTED, message, hint="give the event another type")
        elif pointer[:1] == ("schedule",):
            message = f"{quoted(kind)} starts no run: only the run that made the link gets the event"
            yield problem_at(definition.document, at, STARTS, message)
        else:
            awaited.add(name)
            if name not in links:
                yield _undeclared(definition.document, at, kind, name, links)
    return awaited


def _undeclared(document: Document, pointer: Pointer, what: str, name: str, links: JsonObject) -> Problem:
    known = f"it has {listed(sorted(links))}" if links else "it has none"
    return problem_at(
        document,
        pointer,
        UNDECLARED,
        f"{what}: the workflow declares no link {quoted(name)}; {known}",
        hint=did_you_mean(nearest(name, links))
        or f"write links: {{{name}: {{title: …}}}} in document.metadata.iogate",
    )
