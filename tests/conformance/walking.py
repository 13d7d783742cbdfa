"""Which rows of the standard's tables a workflow uses, found by walking its definition along `features.yaml`.

Used by `matrix`. Invariant: nothing is named by hand; what a case proves follows from what its workflow says
and from what it expects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from iogate.documents.yaml.reader import read_bytes

TABLE = Path(__file__).parent / "features.yaml"

Feature = tuple[str, str]
"""A section and a row, or `row = value`."""

_KINDS = {"call": "Call", "do": "Do", "emit": "Emit", "for": "For", "fork": "Fork", "listen": "Listen"} | {
    "raise": "Raise",
    "run": "Run",
    "set": "Set",
    "switch": "Switch",
    "try": "Try",
    "wait": "Wait",
}
_PROTOCOLS = {
    "http": "HTTP Call", "openapi": "OpenAPI Call", "grpc": "gRPC Call", "asyncapi": "AsyncAPI Call",
    "a2a": "A2A Call", "mcp": "MCP Call",
}  # fmt: skip
_STAGES = {"if": "Task `if`", "input": "Task `input.from`", "output": "Task `output.as`"} | {
    "export": "Task `export.as`"
}
_WHOLE = {"input": "Workflow `input.from`", "output": "Workflow `output.as`"}
_DESCRIPTORS = {
    "workflow": "Workflow Descriptor",
    "task": "Task Descriptor",
    "runtime": "Runtime Descriptor",
} | {"authorization": "Authorization Descriptor"}
_ARGUMENT = re.compile(r"\$(\w+)(?:\.(\w+))?(?:\.((?:epoch\.)?\w+))?")


@cache
def table() -> Mapping[str, Mapping[str, Any]]:
    """The sections and their rows."""
    reading = read_bytes(TABLE.read_bytes(), TABLE.name)
    assert not reading.problems, reading.problems
    found: Mapping[str, Mapping[str, Any]] = reading.data
    return found


def features() -> Iterator[Feature]:
    """Every row and every value, in the table's order."""
    for section, rows in table().items():
        for row, leads in rows.items():
            yield section, row
            for value in leads if isinstance(leads, list) else ():
                yield section, f"{row} = {value}"


def used(workflow: Mapping[str, Any], expected: Mapping[str, Any]) -> frozenset[Feature]:
    """What the workflow uses, and what is expected of it."""
    found: set[Feature] = set(_section("Workflow", workflow))
    for name, stage in _WHOLE.items():
        found.update(_arguments(workflow.get(name), stage))
    found.update(_expected(workflow, expected))
    return frozenset(found) & frozenset(features())


def _section(name: str, value: Any) -> Iterator[Feature]:
    if name == "Flow Directive":
        directive = value in {"continue", "exit", "end"}
        yield name, value if directive else "string"
        return
    if not isinstance(value, Mapping):
        return
    for row, leads in table()[name].items():
        at: Any = value
        for step in row.split("."):
            at = at.get(step, _section) if isinstance(at, Mapping) else _section
        if at is _section:
            continue
        yield name, row
        if isinstance(leads, list):
            word = json.dumps(at) if isinstance(at, bool) else at
            yield name, f"{row} = {word.lower() if isinstance(word, str) else word}"
            yield name, f"{row} = {word}"
        elif leads:
            yield from _led(leads, at)


def _led(leads: str, value: Any) -> Iterator[Feature]:
    target, shape = re.fullmatch(r"(.+?)(\[\]|\{\}|\[\{\}\])?", leads).groups()  # type: ignore[union-attr] # it fits any text
    values: Sequence[Any] = [value]
    if target == "tasks":
        target, shape = "task", "[{}]"
    if shape in {"[]", "[{}]"}:
        values = value if isinstance(value, list) else []
    if shape in {"{}", "[{}]"}:
        values = [each for item in values if isinstance(item, Mapping) for each in item.values()]
    for each in values:
        yield from _task(each) if target == "task" else _section(target, each)


def _task(task: Mapping[str, Any]) -> Iterator[Feature]:
    yield from _section("Task", task)
    kinds = [kind for kind in _KINDS if kind in task]
    kind = "for" if "for" in kinds else kinds[0] if kinds else ""
    if kind:
        yield from _section(_KINDS[kind], task)
    if kind in {"run", "raise", "listen"}:
        yield from _section(_KINDS[kind], {**task, **task[kind]})
    if kind == "call" and task["call"] in _PROTOCOLS:
        yield from _section(_PROTOCOLS[task["call"]], task.get("with"))
    for name, value in task.items():
        if name not in {"do", "try", "fork", "metadata", "then"}:
            yield from _arguments(value, _STAGES.get(name, "Task definition"))


def _arguments(value: Any, stage: str) -> Iterator[Feature]:
    for text in _texts(value):
        for name, member, part in _ARGUMENT.findall(text):
            if name not in table()["Runtime expression arguments"]:
                continue
            yield "Runtime expression arguments", name
            yield stage, name
            if member:
                yield _DESCRIPTORS.get(name, ""), member
            if member == "startedAt" and part:
                yield "DateTime Descriptor", part


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _expected(workflow: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[Feature]:
    fails = expected.get("fails")
    if isinstance(fails, Mapping):
        yield from (("Error", name) for name in fails)
        yield "Standard Error Types", str(fails.get("type", "")).rpartition("/")[2]
        yield "Status Phases", "faulted"
    elif {"gives", "has"} & expected.keys():
        yield "Status Phases", "completed"
    shown = json.dumps([workflow, expected])
    for mark, section in (('"output": "response"', "HTTP Response"), ('"return": "all"', "Process Result")):
        if mark in shown:
            for row in table()[section]:
                if f'"{row}"' in json.dumps(expected) or f".{row}" in shown:
                    yield section, row
    for row in table()["HTTP Request"]:
        if f".request.{row}" in shown or ('"request": {' in shown and f'"{row}"' in shown):
            yield "HTTP Request", row
