"""Table of the features of the DSL and of API documents that this release does not execute.

Called by compile. As the engine grows, rows are deleted here and in `explanations.md`, nowhere else.
Every command refuses the use of a row, so nothing unexecuted reaches the engine; `validate
--allow-unsupported` only warns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from iogate.compiler import outline
from iogate.compiler.faults import Placed, Surroundings, fault
from iogate.compiler.outline import Pointer
from iogate.compiler.resources.addresses import is_computed
from iogate.documents.problems import Problem

Finder = Callable[[Mapping[str, Any]], Iterator[Pointer]]
"""From a workflow's definition to where it uses the feature."""

PROTOCOLS = ("http", "openapi", "grpc", "asyncapi", "a2a", "mcp")


@dataclass(frozen=True, slots=True)
class Feature:
    code: str
    name: str
    found: Finder


def check(document: Placed, surroundings: Surroundings) -> Iterator[Problem]:
    """A problem for each use of a feature of the table."""
    for feature in FEATURES:
        for pointer in feature.found(document.data):
            yield unexecuted(document, pointer, feature.code, feature.name, surroundings)


def unexecuted(
    document: Placed, pointer: Pointer, code: str, name: str, surroundings: Surroundings
) -> Problem:
    return fault(
        document,
        pointer,
        code,
        f"{name} is valid, but this release does not execute it",
        key=True,
        severity=surroundings.unsupported,
    )


def _call(matches: Callable[[str, Mapping[str, Any]], bool]) -> Finder:
    def find(definition: Mapping[str, Any]) -> Iterator[Pointer]:
        for task in outline.tasks(definition):
            if task.kind == "call" and matches(task.data["call"], definition):
                yield (*task.pointer, "call")

    return find


def _protocol(name: str) -> Finder:
    return _call(lambda call, _: call == name)


def _run(kind: str) -> Finder:
    def find(definition: Mapping[str, Any]) -> Iterator[Pointer]:
        for task in outline.tasks(definition):
            if task.kind == "run" and kind in task.data["run"]:
                yield (*task.pointer, "run", kind)

    return find


def _foreign_script(definition: Mapping[str, Any]) -> Iterator[Pointer]:
    for pointer in _run("script")(definition):
        if str(outline.at(definition, pointer).get("language")).lower() not in {"python", "js", "javascript"}:
            yield (*pointer, "language")


def _root(*path: str) -> Finder:
    def find(definition: Mapping[str, Any]) -> Iterator[Pointer]:
        value: Any = definition
        for step in path:
            if not isinstance(value, Mapping) or not value.get(step):
                return
            value = value[step]
        yield path

    return find


def _other_language(definition: Mapping[str, Any]) -> Iterator[Pointer]:
    if (definition.get("evaluate") or {}).get("language", "jq") != "jq":
        yield ("evaluate", "language")


def _computed_resource(definition: Mapping[str, Any]) -> Iterator[Pointer]:
    for pointer, resource in resources(definition):
        endpoint = resource.get("endpoint")
        if is_computed(str(endpoint.get("uri") if isinstance(endpoint, Mapping) else endpoint)):
            yield (*pointer, "endpoint")


def _foreign_schema(definition: Mapping[str, Any]) -> Iterator[Pointer]:
    for pointer, schema in schemas(definition):
        if str(schema.get("format", "json")).partition(":")[0] != "json":
            yield (*pointer, "format")


def schemas(definition: Mapping[str, Any]) -> Iterator[tuple[Pointer, Mapping[str, Any]]]:
    """Every schema: of the workflow's input and output, and of each task's input, output and export."""
    holders: list[tuple[Pointer, Mapping[str, Any]]] = [((), definition)]
    holders += [(task.pointer, task.data) for task in outline.tasks(definition)]
    for pointer, holder in holders:
        for flow in ("input", "output", "export"):
            value = holder.get(flow)
            if isinstance(value, Mapping) and isinstance(value.get("schema"), Mapping):
                yield (*pointer, flow, "schema"), value["schema"]


def resources(definition: Mapping[str, Any]) -> Iterator[tuple[Pointer, Mapping[str, Any]]]:
    """Every external resource that becomes part of the revision: scripts and schemas."""
    for pointer in _run("script")(definition):
        source = outline.at(definition, pointer).get("source")
        if isinstance(source, Mapping):
            yield (*pointer, "source"), source
    for pointer, schema in schemas(definition):
        if isinstance(schema.get("resource"), Mapping):
            yield (*pointer, "resource"), schema["resource"]


def _use(definition: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    return (definition.get("use") or {}).get(section) or {}


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
