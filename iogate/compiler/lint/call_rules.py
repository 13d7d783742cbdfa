"""Rules about calls: a key or attribute that no input has (IOG544), no effect (IOG545, IOG546)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from iogate import json_pointer
from iogate.auth.model import NoAuth, TokenAuth, UserAuth, alternatives
from iogate.compiler.diagnostics import did_you_mean, warning_at
from iogate.compiler.lint.input_schemas import Schema, api_schema, describes_input, workflow_schema
from iogate.compiler.lint.project import Api, Project
from iogate.compiler.lint.schema_members import absent_member
from iogate.documents.problems import Problem
from iogate.json_pointer import Pointer
from iogate.messages import listed, nearest, quoted

_MOST_LISTED: Final = 8


def check(project: Project) -> Iterator[Problem]:
    """Report rules for calls without effect: keys that no input has, and limits that limit nothing."""
    for api in project.apis:
        yield from _keys(project, api)
        yield from _rate(api)


def _keys(project: Project, api: Api) -> Iterator[Problem]:
    method, schema = api.method, _schema(project, api)
    if schema is None:
        return
    limits, idempotency = method.limits, method.idempotency
    given: list[tuple[Pointer, str | None]] = [
        (("idempotency", "pointer"), idempotency.pointer if idempotency is not None else None),
        (
            ("limits", "concurrency", "key"),
            limits.concurrency.key if limits is not None and limits.concurrency is not None else None,
        ),
        (("coalesce", "key"), method.coalesce.key if method.coalesce is not None else None),
        *((("attributes", name), pointer) for name, pointer in (method.attributes or {}).items()),
    ]
    for place, pointer in given:
        absent = absent_member(schema, json_pointer.parse(pointer)) if pointer is not None else None
        if absent is not None:
            named = listed(sorted(absent.known)[:_MOST_LISTED])
            what = f"the attribute {place[1]}" if place[0] == "attributes" else "a key"
            yield warning_at(
                api.document,
                _declared(api, place),
                "IOG544",
                f"no call of {api.id} has {what} at {pointer}: the input has no field {quoted(absent.name)}, "
                f"its schema has {named}",
                hint=did_you_mean(nearest(absent.name, absent.known))
                or "correct the pointer, or add the field to the schema",
            )


def _rate(api: Api) -> Iterator[Problem]:
    limits = api.method.limits
    if limits is None:
        return
    if limits.rate is None:
        for key, value in (("burst", limits.burst), ("per", limits.per if limits.per != "api" else None)):
            if value is not None:
                yield warning_at(
                    api.document,
                    _declared(api, ("limits", key)),
                    "IOG545",
                    f"limits.{key} of {api.id} has no effect without limits.rate",
                    key=True,
                    hint=f"add a rate, such as rate: 50/s, or remove {key}",
                )
    elif limits.per == "caller" and _has_one_caller(api):
        yield warning_at(
            api.document,
            _declared(api, ("limits", "per")),
            "IOG546",
            f"all calls of {api.id} have the same caller, so that per: caller counts them together",
            hint="name the callers, auth: {tokens: {NAME: SECRET}}, or count by address",
        )


def _has_one_caller(api: Api) -> bool:
    forms = list(alternatives(api.method.auth)) if api.method.auth is not None else []
    if len(forms) != 1:
        return False
    match forms[0]:
        case NoAuth():
            return True
        case TokenAuth(tokens=tokens):
            return len(tokens) == 1
        case UserAuth(users=users):
            return len(users) == 1
    return False


def _schema(project: Project, api: Api) -> Schema | None:
    """Return the JSON Schema in which keys of call rules are looked up, that of an API's input, or None."""
    if describes_input(api):
        return api_schema(api)
    definition = project.definitions.get(api.workflow or "")
    return None if definition is None else workflow_schema(definition)


def _declared(api: Api, path: Pointer) -> Pointer:
    """Return where the key of a call rule is given: on the method, else on the module."""
    value: Any = api.document.data["methods"][api.name]
    for step in path:
        if not isinstance(value, Mapping) or step not in value:
            return path
        value = value[step]
    return ("methods", api.name, *path)
