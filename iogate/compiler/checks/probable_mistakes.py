"""Warnings about probable mistakes in valid workflows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from iogate.compiler.checked_definition import Definition
from iogate.compiler.checks.expressions import expressions, holds_expression
from iogate.compiler.checks.flow_directives import is_known
from iogate.compiler.diagnostics import CheckContext, did_you_mean, mask_value, warning_at
from iogate.compiler.endpoints import Policy
from iogate.compiler.reader.index import Listing
from iogate.compiler.tasks import Http, Raise, Retry, Switch, Target, Task, Try
from iogate.documents.problems import Problem
from iogate.errors import STANDARD_STATUS
from iogate.expressions.templates import member, names_of, plain_text
from iogate.json_pointer import Pointer
from iogate.messages import nearest, quoted

_SECRETS = re.compile(r"\$secrets\b")
_KEEPING = frozenset({"set", "output", "export", "input", "raise", "emit"})
_OF_ERRORS = ("type", "status", "instance", "title", "detail", "details")
"""Members that a filter of errors may name; `details` is the schema's word for `detail`."""
_SECRET_HEADERS = ("authorization", "proxy-authorization", "x-api-key", "cookie")
_SECRET_MEMBERS = (
    ("password",),
    ("token",),
    ("client", "secret"),
    ("client", "assertion"),
    ("subject", "token"),
    ("actor", "token"),
)
"""Of authentication policies."""


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    del context
    yield from _shell(definition)
    yield from _copied_secrets(definition)
    yield from _literal_secrets(definition)
    for listing in definition.index.listings:
        yield from _unreachable(definition, listing)
    for task in definition.index.tasks:
        if isinstance(task.body, Try):
            yield from _endless(definition, task, task.body.retry)
            yield from _blind_filters(definition, task, task.body)


def _shell(definition: Definition) -> Iterator[Problem]:
    for found in expressions(definition):
        # The command of a container is a text for its shell.
        if found.pointer[-2:] in (("shell", "command"), ("container", "command")):
            yield warning_at(
                definition.document,
                found.pointer,
                "IOG504",
                "an expression becomes part of this shell command: whoever sends its data can run commands",
                hint="pass it in arguments, where it is $1, or in environment",
            )


def _copied_secrets(definition: Definition) -> Iterator[Problem]:
    for found in expressions(definition):
        if _SECRETS.search(found.text) and _kept(found.pointer):
            yield warning_at(
                definition.document,
                found.pointer,
                "IOG506",
                "the expression copies a secret into the data of the run, where it is stored and shown",
                hint="use $secrets where the call needs it",
            )


def literal_secrets(definition: Definition) -> list[Pointer]:
    """Return the places of literal secrets in policies and headers, which are probable mistakes."""
    places = [
        place
        for policy in definition.index.policies
        for place in _of_policy((*policy.pointer, policy.element.scheme), policy.element)
    ]
    return places + [place for task in definition.index.tasks for place in _of_headers(task)]


def _literal_secrets(definition: Definition) -> Iterator[Problem]:
    for pointer in literal_secrets(definition):
        mask_value(definition.document, pointer)
        yield warning_at(
            definition.document,
            pointer,
            "IOG501",
            "a secret stands in the file in clear",
            hint="name it in use.secrets, and write ${ $secrets.NAME } here",
        )


def _of_policy(pointer: Pointer, policy: Policy) -> Iterator[Pointer]:
    if policy.members is None:
        return
    for path in _SECRET_MEMBERS:
        if plain_text(member(policy.members, *path)):
            yield (*pointer, *path)


def _of_headers(task: Task) -> Iterator[Pointer]:
    if not isinstance(task.body, Http):
        return
    for name in names_of(task.body.headers):
        if name.lower() in _SECRET_HEADERS and plain_text(member(task.body.headers, name)):
            yield (*task.location, "with", "headers", name)


def _kept(pointer: Pointer) -> bool:
    # What follows an index is the name of a task, and a task may be called "set".
    return any(
        step in _KEEPING and not isinstance(before, int)
        for before, step in zip(("", *pointer), pointer, strict=False)
    )


def _unreachable(definition: Definition, listing: Listing) -> Iterator[Problem]:
    """Warn of a probable mistake: a task to which no other one leads."""
    if not listing.sequential or len(set(listing.names)) < len(listing.names):
        return  # tasks of one name are an error
    depth = len(listing.pointer)
    for directive in definition.index.directives:
        if directive.pointer[:depth] == listing.pointer and not is_known(directive):
            return  # a misspelt target is an error, and likely the very one that leads here
    targets = {target for task in listing.tasks for target in _targets(task)}
    for index, (before, task) in enumerate(zip(listing.tasks, listing.tasks[1:], strict=False), 1):
        if _always_leaves(before) and index not in targets:
            yield warning_at(
                definition.document,
                task.location,
                "IOG507",
                f"nothing leads to task {quoted(task.name)}: {quoted(before.name)} before it always "
                "goes elsewhere",
                key=True,
            )


def _targets(task: Task) -> Iterator[Target]:
    yield task.then
    match task.body:
        case Switch(cases, default):
            yield from (case.then for case in cases)
            if default is not None:
                yield default.then
        case Try(then=then) if then is not None:
            yield then
        case _:
            pass


def _always_leaves(task: Task) -> bool:
    if task.condition is not None:
        return False
    match task.body:
        case Raise():
            return True
        case Switch(cases, default):
            last = task.then if default is None else default.then
            return "continue" not in (*(case.then for case in cases), last)
        case _:
            return task.then != "continue"


def _endless(definition: Definition, task: Task, retry: Retry | None) -> Iterator[Problem]:
    """Warn of a probable mistake: retries without a limit."""
    if retry is None or retry.missing or retry.ends or task.timeout or definition.program.timeout:
        return
    yield warning_at(
        definition.document,
        (*task.location, "catch", "retry"),
        "IOG514",
        f"task {quoted(task.name)} is retried without end",
        key=True,
        hint="limit it: limit: {attempt: {count: 5}}, or give the task a timeout",
    )


def _blind_filters(definition: Definition, task: Task, body: Try) -> Iterator[Problem]:
    """Warn of a probable mistake: filters that no error can pass."""
    for name, value in body.errors.items():
        key, hint = False, ""
        if name not in _OF_ERRORS:
            message, key = f"no error has {quoted(name)}, so nothing is caught", True
            hint = did_you_mean(nearest(name, _OF_ERRORS))
        elif holds_expression(value):
            message = f"{quoted(name)} is compared as it stands: a filter evaluates nothing"
            hint = 'put the condition into "when"'
        elif name == "type" and value not in STANDARD_STATUS and (meant := nearest(value, STANDARD_STATUS)):
            message = f"no error of the standard is of the type {quoted(value)}"
            hint = did_you_mean(meant)
        else:
            continue
        at = (*task.location, "catch", "errors", "with", name)
        yield warning_at(definition.document, at, "IOG515", message, key=key, hint=hint)
