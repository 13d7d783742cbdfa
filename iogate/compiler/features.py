"""Features of the DSL that this release does not execute.

Called by compile. As the engine grows, rows are deleted here and in `explanations.md`, nowhere else.
Every command refuses the use of a feature, so nothing unexecuted reaches the engine; `validate
--allow-unsupported` only warns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from iogate.compiler.checked_definition import Definition
from iogate.compiler.diagnostics import CheckContext, Document, problem_at
from iogate.compiler.resources.document_addresses import is_computed
from iogate.compiler.tasks import Process, Unsupported
from iogate.documents.problems import Problem
from iogate.json_pointer import Pointer

Finder = Callable[[Definition], Iterator[Pointer]]
"""From a definition to where it uses the feature."""


@dataclass(frozen=True, slots=True)
class Feature:
    code: str
    name: str
    found: Finder


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    """Report each use of a feature of the DSL that this release does not execute."""
    for feature in FEATURES:
        for pointer in feature.found(definition):
            yield unexecuted(definition.document, pointer, feature.code, feature.name, context)


def unexecuted(document: Document, pointer: Pointer, code: str, name: str, context: CheckContext) -> Problem:
    """Return the problem of a feature that this release does not execute, of the DSL or of API documents."""
    return problem_at(
        document,
        pointer,
        code,
        f"{name} is valid, but this release does not execute it",
        key=True,
        severity=context.unsupported,
    )


def _protocol(name: str) -> Finder:
    def find(definition: Definition) -> Iterator[Pointer]:
        for task in definition.index.tasks:
            if isinstance(task.body, Unsupported) and task.body.what == f"call: {name}":
                yield (*task.location, "call")

    return find


def _foreign_script(definition: Definition) -> Iterator[Pointer]:
    for task in definition.index.tasks:
        match task.body:
            case Process(kind="script", language=language) if language.lower() not in _LANGUAGES:
                yield (*task.location, "run", "script", "language")
            case _:
                pass


def _other_language(definition: Definition) -> Iterator[Pointer]:
    if definition.language != "jq":
        yield ("evaluate", "language")


def _computed_resource(definition: Definition) -> Iterator[Pointer]:
    for resource in definition.index.resources_of("script", "schema"):
        if is_computed(resource.element.uri):
            yield (*resource.pointer, "endpoint")


def _foreign_schema(definition: Definition) -> Iterator[Pointer]:
    for schema in definition.index.schemas:
        if not schema.element.is_json:
            yield (*schema.pointer, "format")


_LANGUAGES = ("python", "js", "javascript")

FEATURES = (
    Feature("IOG415", "a call of gRPC", _protocol("grpc")),
    Feature("IOG416", "a call of AsyncAPI", _protocol("asyncapi")),
    Feature("IOG417", "a call of an A2A agent", _protocol("a2a")),
    Feature("IOG418", "a call of an MCP server", _protocol("mcp")),
    Feature("IOG423", "a script in a language other than python and js", _foreign_script),
    Feature("IOG439", "an expression language other than jq", _other_language),
    Feature("IOG440", "a script or schema at an address that only a run knows", _computed_resource),
    Feature("IOG441", "a schema format other than json", _foreign_schema),
)
