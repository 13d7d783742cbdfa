"""Parameters of an OpenAPI call are those that its operation has. Called where operations are found."""

from __future__ import annotations

from collections.abc import Iterator

from iogate.compiler.diagnostics import Document, did_you_mean, problem_at
from iogate.compiler.openapi import Operation
from iogate.compiler.tasks import OpenApi, Task
from iogate.documents.problems import Problem
from iogate.expressions.templates import names_of
from iogate.messages import listed, nearest, quoted


def check(document: Document, task: Task, body: OpenApi, operation: Operation) -> Iterator[Problem]:
    """Report unknown and missing parameters of an OpenAPI call by the parameters of its operation."""
    given, at = names_of(body.parameters), (*task.location, "with", "parameters")
    if operation.body is None:
        for name in given:
            if name not in operation.names:
                takes = f"it takes {listed(operation.names)}" if operation.names else "it takes none"
                yield problem_at(
                    document,
                    (*at, name),
                    "IOG319",
                    f"operation {quoted(operation.id)} has no parameter {quoted(name)}; {takes}",
                    key=True,
                    hint=did_you_mean(nearest(name, operation.names)),
                )
    wanting = [quoted(each.name) for each in operation.parameters if each.required and each.name not in given]
    content = operation.body
    if content is not None and not any(operation.is_body(name) for name in given):
        own = {parameter.name for parameter in operation.parameters}
        wanting += [quoted(name) for name in content.needed if name not in given]
        if content.required and not content.needed and not set(given) - own:
            wanting.append(quoted(content.alias or "body"))
    if wanting:
        yield problem_at(
            document,
            at if given else (*task.location, "with", "operationId"),
            "IOG319",
            f'operation {quoted(operation.id)} needs {listed(wanting)} in "parameters"',
            key=bool(given),
        )
