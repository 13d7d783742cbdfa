"""Warnings about workflows that are valid and probably not intended."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from iogate.compiler import outline
from iogate.compiler.checks.expressions import expressions, holds_expression
from iogate.compiler.checks.flow import DIRECTIVES
from iogate.compiler.faults import Placed, Surroundings, conceal, did_you_mean, warning
from iogate.compiler.outline import Pointer
from iogate.compiler.policies import policies
from iogate.documents.problems import Problem, nearest, quoted
from iogate.errors import STANDARD_STATUS

_SECRETS = re.compile(r"\$secrets\b")
_ENDING = frozenset({"limit", "when", "exceptWhen"})
"""Of a retry policy, what may end it."""
_KEEPING = frozenset({"set", "output", "export", "input", "raise", "emit"})
_OF_ERRORS = ("type", "status", "instance", "title", "detail", "details")
"""Members that a filter of errors may name; `details` is the schema's word for `detail`."""


def check(document: Placed, surroundings: Surroundings) -> Iterator[Problem]:
    del surroundings
    yield from _shell(document)
    yield from _copied_secrets(document)
    yield from _literal_secrets(document)
    yield from _unreachable(document)
    yield from _endless(document)
    yield from _blind_filters(document)


def _shell(document: Placed) -> Iterator[Problem]:
    for found in expressions(document.data):
        if found.pointer[-2:] == ("shell", "command"):
            yield warning(
                document,
                found.pointer,
                "IOG504",
                "an expression becomes part of this shell command: whoever sends its data can run commands",
                hint="pass it in arguments, where it is $1, or in environment",
            )


def _copied_secrets(document: Placed) -> Iterator[Problem]:
    for found in expressions(document.data):
        if _SECRETS.search(found.text) and _kept(found.pointer):
            yield warning(
                document,
                found.pointer,
                "IOG506",
                "the expression copies a secret into the data of the run, where it is stored and shown",
                hint="use $secrets where the call needs it",
            )


def _literal_secrets(document: Placed) -> Iterator[Problem]:
    for pointer, value in _secret_places(document.data):
        if value and not holds_expression(value):
            conceal(document, pointer)
            yield warning(
                document,
                pointer,
                "IOG501",
                "a secret stands in the file in clear",
                hint="name it in use.secrets, and write ${ $secrets.NAME } here",
            )


_SECRET_MEMBERS = (("client", "secret"), ("client", "assertion"), ("subject", "token"), ("actor", "token"))
"""Of policies of OAuth 2.0 and OpenID Connect."""


def _secret_places(definition: Mapping[str, Any]) -> Iterator[tuple[Pointer, Any]]:
    for pointer, policy in policies(definition):
        for scheme, members in policy.items():
            if isinstance(members, Mapping):
                for key in ("password", "token"):
                    if key in members:
                        yield (*pointer, scheme, key), members[key]
                for key, inner in _SECRET_MEMBERS:
                    if inner in (members.get(key) or {}):
                        yield (*pointer, scheme, key, inner), members[key][inner]
    for task in outline.tasks(definition):
        headers = (task.data.get("with") or {}).get("headers") if task.data.get("call") == "http" else None
        for name, value in headers.items() if isinstance(headers, Mapping) else ():
            if name.lower() in ("authorization", "proxy-authorization", "x-api-key", "cookie"):
                yield (*task.pointer, "with", "headers", name), value


def _kept(pointer: Pointer) -> bool:
    # What follows an index is the name of a task, and a task may be called "set".
    return any(
        step in _KEEPING and not isinstance(before, int)
        for before, step in zip(("", *pointer), pointer, strict=False)
    )


def _unreachable(document: Placed) -> Iterator[Problem]:
    """Warn of unreachable tasks."""
    for found in outline.lists(document.data):
        if not found.sequential:
            continue
        targets = {target for task in found.tasks for target in _leads_to(task)}
        if not targets <= {*found.names, *DIRECTIVES}:
            continue  # a misspelt target is an error, and likely the very one that leads here
        for before, task in zip(found.tasks, found.tasks[1:], strict=False):
            if _always_leaves(before) and task.name not in targets:
                yield warning(
                    document,
                    task.pointer,
                    "IOG507",
                    f"nothing leads to task {quoted(task.name)}: {quoted(before.name)} before it always "
                    "goes elsewhere",
                    key=True,
                )


def _leads_to(task: outline.Task) -> Iterator[str]:
    if "then" in task.data:
        yield task.data["then"]
    for item in task.data.get("switch") or ():
        for case in item.values():
            yield case.get("then") or "continue"
    if "then" in (task.data.get("catch") or {}):
        yield task.data["catch"]["then"]


def _always_leaves(task: outline.Task) -> bool:
    if "if" in task.data:
        return False
    if "raise" in task.data:
        return True
    then = task.data.get("then") or "continue"
    if "switch" not in task.data:
        return bool(then != "continue")
    cases = [case for item in task.data["switch"] for case in item.values()]
    ways = [case.get("then") or "continue" for case in cases]
    if all("when" in case for case in cases):
        ways.append(then)
    return "continue" not in ways


def _endless(document: Placed) -> Iterator[Problem]:
    """Warn of retries without a limit."""
    definition = document.data
    named = (definition.get("use") or {}).get("retries") or {}
    for task in outline.tasks(definition):
        retry = (task.data.get("catch") or {}).get("retry")
        policy = named.get(retry) if isinstance(retry, str) else retry
        if policy is None or "timeout" in definition or "timeout" in task.data:
            continue
        if not policy.keys() & _ENDING:
            yield warning(
                document,
                (*task.pointer, "catch", "retry"),
                "IOG514",
                f"task {quoted(task.name)} is retried without end",
                key=True,
                hint="limit it: limit: {attempt: {count: 5}}, or give the task a timeout",
            )


def _blind_filters(document: Placed) -> Iterator[Problem]:
    """Filters that no error can pass."""
    for task in outline.tasks(document.data):
        wanted = ((task.data.get("catch") or {}).get("errors") or {}).get("with") or {}
        for name, value in wanted.items():
            pointer = (*task.pointer, "catch", "errors", "with", name)
            if name not in _OF_ERRORS:
                yield warning(
                    document,
                    pointer,
                    "IOG515",
                    f"no error has {quoted(name)}, so nothing is caught",
                    key=True,
                    hint=did_you_mean(nearest(name, _OF_ERRORS)),
                )
            elif holds_expression(value):
                yield warning(
                    document,
                    pointer,
                    "IOG515",
                    f"{quoted(name)} is compared as it stands: a filter evaluates nothing",
                    hint='put the condition into "when"',
                )
            elif (
                name == "type" and value not in STANDARD_STATUS and (meant := nearest(value, STANDARD_STATUS))
            ):
                yield warning(
                    document,
                    pointer,
                    "IOG515",
                    f"no error of the standard is of the type {quoted(value)}",
                    hint=did_you_mean(meant),
                )
