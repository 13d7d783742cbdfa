"""Calls name a function that exists, and literal arguments fit its signature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Never

import jsonschema_rs

from iogate.compiler import outline
from iogate.compiler.checks.expressions import holds_expression, is_loose
from iogate.compiler.checks.schemas import first_fault
from iogate.compiler.faults import Placed, Surroundings, did_you_mean, fault
from iogate.compiler.features import PROTOCOLS
from iogate.compiler.resources.catalogs import CATALOGED
from iogate.documents.problems import Problem, listed, nearest, quoted
from iogate.functions import Function, Registry


def check(document: Placed, surroundings: Surroundings) -> Iterator[Problem]:
    reusable: Mapping[str, Any] = (document.data.get("use") or {}).get("functions") or {}
    catalogs: Mapping[str, Any] = (document.data.get("use") or {}).get("catalogs") or {}
    for task in outline.tasks(document.data):
        call = task.data.get("call")
        if not isinstance(call, str) or call in PROTOCOLS or call in reusable or "://" in call:
            continue
        cataloged = CATALOGED.fullmatch(call)
        if cataloged is not None and cataloged["catalog"] in catalogs:
            continue  # the function itself is looked for where documents are fetched
        if cataloged is None:
            yield _unknown(document, task, call, tuple(reusable))
        elif cataloged["catalog"] == "default":
            if surroundings.functions is not None:
                found = surroundings.functions.get(cataloged["name"], cataloged["version"])
                if found is None:
                    yield _unregistered(
                        document, task, cataloged["name"], cataloged["version"], surroundings.functions
                    )
                else:
                    yield from _arguments(document, task, found)
        else:
            yield fault(
                document,
                (*task.pointer, "call"),
                "IOG315",
                f"no catalog {quoted(cataloged['catalog'])} in use.catalogs",
                hint="the functions of this project are in the catalog default",
            )


def _unknown(document: Placed, task: outline.Task, call: str, reusable: tuple[str, ...]) -> Problem:
    name, colon, version = call.partition(":")
    return fault(
        document,
        (*task.pointer, "call"),
        "IOG315",
        f"no function {quoted(call)}: a call names {listed(PROTOCOLS)}, a function in use.functions, "
        "or name:version@default",
        hint=f'did you mean "{name}:{version}@default"?'
        if colon and "@" not in call
        else did_you_mean(nearest(call, (*reusable, *PROTOCOLS))),
    )


def _unregistered(
    document: Placed, task: outline.Task, name: str, version: str, registry: Registry
) -> Problem:
    versions = registry.versions(name)
    if versions:
        message = f"function {quoted(name)} has no version {quoted(version)}; it has {listed(versions)}"
        choice = f"{name}:{versions[-1]}@default"
    else:
        known = registry.names()
        message = f"no function {quoted(name)} is registered: " + (
            f"the modules of the setting functions register {listed(known)}"
            if known
            else "the modules of the setting functions register none"
        )
        near = nearest(name, known)
        choice = f"{near}:{registry.versions(near)[-1]}@default" if near else ""
    if not registry.complete:
        message = (
            f"function {quoted(name)} cannot be found without running the modules of the setting functions"
        )
        return fault(
            document,
            (*task.pointer, "call"),
            "IOG315",
            message,
            severity="warning",
            hint="iogate apply imports them, and tells for certain",
        )
    return fault(document, (*task.pointer, "call"), "IOG315", message, hint=did_you_mean(choice or None))


def _arguments(document: Placed, task: outline.Task, function: Function) -> Iterator[Problem]:
    given: Mapping[str, Any] = task.data.get("with") or {}
    at = (*task.pointer, "with")
    for name, value in given.items():
        if name not in function.parameters:
            if not function.open:
                known = tuple(function.parameters)
                takes = f"it takes {listed(known)}" if known else "it takes none"
                yield fault(
                    document,
                    (*at, name),
                    "IOG319",
                    f"{function.reference} has no argument {quoted(name)}; {takes}",
                    key=True,
                    hint=did_you_mean(nearest(name, known)),
                )
        elif not holds_expression(value, loose=is_loose(document.data)):
            schema = {
                **function.input_schema["properties"][name],
                "$defs": function.input_schema.get("$defs", {}),
            }
            error = next(
                iter(jsonschema_rs.Draft202012Validator(schema, validate_formats=True).iter_errors(value)),
                None,
            )
            if error is not None:
                yield fault(
                    document,
                    (*at, name, *error.instance_path),
                    "IOG319",
                    f"argument {quoted(name)} of {function.reference} does not fit: {error.message}",
                )
    missing = [name for name in function.input_schema["required"] if name not in given]
    if missing:
        yield fault(
            document,
            at if given else (*task.pointer, "call"),
            "IOG319",
            f'{function.reference} needs {listed(quoted(name) for name in missing)} in "with"',
            key=bool(given),
        )


def literals(document: Placed, task: outline.Task, function: Mapping[str, Any]) -> Iterator[Problem]:
    """Arguments without expressions fit the input of a function that is a task: one from elsewhere."""
    schema = ((function.get("input") or {}).get("schema") or {}).get("document")
    given: Mapping[str, Any] = task.data.get("with") or {}
    if schema is None or holds_expression(given, loose=is_loose(document.data)):
        return
    if first_fault(schema) is not None:
        return  # told where the schema stands
    for error in jsonschema_rs.validator_for(schema, retriever=_nothing, validate_formats=True).iter_errors(
        given
    ):
        yield fault(
            document,
            (*task.pointer, "with", *error.instance_path) if given else (*task.pointer, "call"),
            "IOG319",
            f"the arguments of {quoted(task.data['call'])} do not fit: {error.message}",
        )
        return


def _nothing(uri: str) -> Never:
    raise ValueError(f"references are not fetched: {uri}")
