"""Check of function calls: the function exists, and literal arguments fit its signature."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Never

import jsonschema_rs

from iogate.compiler.checked_definition import Definition
from iogate.compiler.checks.schemas import first_error
from iogate.compiler.diagnostics import CheckContext, Document, did_you_mean, problem_at
from iogate.compiler.resources.function_addresses import CATALOGED
from iogate.compiler.tasks import Function as RegisteredCall
from iogate.compiler.tasks import Task, Unresolved
from iogate.documents.problems import Problem
from iogate.documents.task_kinds import CALLS
from iogate.expressions import Template
from iogate.expressions.templates import Literal, member, names_of
from iogate.functions import Function, Registry
from iogate.messages import listed, nearest, quoted


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    document, registry = definition.document, context.functions
    catalogs = {str(each.pointer[-1]) for each in definition.index.resources_of("catalog")}
    for task in definition.index.tasks:
        match task.body:
            # The functions of catalogs and at URLs are looked for where documents are fetched.
            case RegisteredCall(name, version, arguments) if (
                registry is not None and "default" not in catalogs
            ):
                found = registry.get(name, version)
                if found is None:
                    yield _unregistered(document, task, name, version, registry)
                else:
                    yield from _arguments(document, task, arguments, found)
            case Unresolved(call) if "://" not in call:
                cataloged = CATALOGED.fullmatch(call)
                if cataloged is None:
                    yield _unknown(definition, task, call)
                elif cataloged["catalog"] not in catalogs:
                    yield problem_at(
                        document,
                        (*task.location, "call"),
                        "IOG315",
                        f"no catalog {quoted(cataloged['catalog'])} in use.catalogs",
                        hint="the functions of this project are in the catalog default",
                    )
            case _:
                pass


def _unknown(definition: Definition, task: Task, call: str) -> Problem:
    name, colon, version = call.partition(":")
    reusable = (definition.document.data.get("use") or {}).get("functions") or ()
    return problem_at(
        definition.document,
        (*task.location, "call"),
        "IOG315",
        f"no function {quoted(call)}: a call names {listed(CALLS)}, a function in use.functions, "
        "or name:version@default",
        hint=f'did you mean "{name}:{version}@default"?'
        if colon and "@" not in call
        else did_you_mean(nearest(call, (*reusable, *CALLS))),
    )


def _unregistered(document: Document, task: Task, name: str, version: str, registry: Registry) -> Problem:
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
        return problem_at(
            document,
            (*task.location, "call"),
            "IOG315",
            message,
            severity="warning",
            hint="iogate apply imports them, and tells for certain",
        )
    return problem_at(
        document, (*task.location, "call"), "IOG315", message, hint=did_you_mean(choice or None)
    )


def _arguments(document: Document, task: Task, given: Template, function: Function) -> Iterator[Problem]:
    names, at = names_of(given), (*task.location, "with")
    for name in names:
        value = member(given, name)
        if name not in function.parameters:
            if not function.open:
                known = tuple(function.parameters)
                takes = f"it takes {listed(known)}" if known else "it takes none"
                yield problem_at(
                    document,
                    (*at, name),
                    "IOG319",
                    f"{function.reference} has no argument {quoted(name)}; {takes}",
                    key=True,
                    hint=did_you_mean(nearest(name, known)),
                )
        elif isinstance(value, Literal):
            schema = {
                **function.input_schema["properties"][name],
                "$defs": function.input_schema.get("$defs", {}),
            }
            validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
            error = next(iter(validator.iter_errors(value.value)), None)
            if error is not None:
                yield problem_at(
                    document,
                    (*at, name, *error.instance_path),
                    "IOG319",
                    f"argument {quoted(name)} of {function.reference} does not fit: {error.message}",
                )
    missing = [name for name in function.input_schema["required"] if name not in names]
    if missing:
        yield problem_at(
            document,
            at if names else (*task.location, "call"),
            "IOG319",
            f'{function.reference} needs {listed(quoted(name) for name in missing)} in "with"',
            key=bool(names),
        )


def literals(document: Document, task: Task, given: Template, schema: Any) -> Iterator[Problem]:
    """Check that arguments without expressions fit the schema of a function that is a task, if it has one."""
    if schema is None or not isinstance(given, Literal) or first_error(schema) is not None:
        return  # an invalid schema is reported where it is
    validator = jsonschema_rs.validator_for(schema, retriever=_nothing, validate_formats=True)
    error = next(iter(validator.iter_errors(given.value)), None)
    if error is not None:
        yield problem_at(
            document,
            (*task.location, "with", *error.instance_path) if given.value else (*task.location, "call"),
            "IOG319",
            f"the arguments of {quoted(task.definition['call'])} do not fit: {error.message}",
        )


def _nothing(uri: str) -> Never:
    raise ValueError(f"references are not fetched: {uri}")
