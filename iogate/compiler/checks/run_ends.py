"""Checks of `callback` and `on_fault` of APIs.

Called by compile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import jsonschema_rs
import msgspec

from iogate.auth.model import EnvSecret, FileSecret
from iogate.compiler.checked_definition import Definition
from iogate.compiler.checks.schemas import first_error
from iogate.compiler.diagnostics import Document, problem_at
from iogate.compiler.revision import ENDS, Callback, FaultHandler, Workflow
from iogate.documents.api import Method
from iogate.documents.problems import Problem
from iogate.json_pointer import Pointer

UNFIT: Final = "IOG178"

FAULT_INPUT: Final[dict[str, Any]] = {
    "uid": "912855355286885530",
    "api": "shop/order",
    "workflow": "shop/fulfil:1.0.0",
    "task": "/do/0/charge",
    "error": {
        "type": "https://open-workflow-specification.org/1.0/errors/communication",
        "status": 502,
        "title": "Communication Error",
        "detail": "POST https://pay.example.com answered 502",
        "instance": "/do/0/charge",
    },
    "input": {},
}
"""Example of the input of a run that a fault starts; that of the faulted run is unknown."""


def callback(method: Method) -> Callback | msgspec.UnsetType:
    """Return the compiled callback of a method for the ends of its runs."""
    given = method.callback
    if given is None:
        return msgspec.UNSET
    ((kind, value),) = given.secret.items()
    return Callback(
        url=given.url or "",
        allow=tuple(sorted(given.allow or ())),
        secret=EnvSecret(name=value) if kind == "env" else FileSecret(path=value),
        on=tuple(end for end in ENDS if given.on is None or end in given.on),
    )


def fault_handler(
    document: Document,
    at: Pointer,
    method: Method,
    resolve: Callable[[Any, Pointer, str], str | None],
    definitions: Mapping[str, Definition],
    workflows: Mapping[str, tuple[Workflow, bytes]],
) -> tuple[FaultHandler | msgspec.UnsetType, list[Problem]]:
    """Compile `on_fault` of the method at `at`: return the handler of its runs' faults, and problems.

    `resolve` returns the full name of a workflow; for an unknown one it reports the problem and returns None.
    """
    if method.on_fault is None:
        return msgspec.UNSET, []
    own = "on_fault" in document.data["methods"][at[-1]]
    pointer = (*at, "on_fault") if own else ("on_fault",)
    resolved = resolve(document, pointer, method.on_fault)
    if resolved is None:
        return msgspec.UNSET, []
    handler = FaultHandler(workflow=resolved, program=workflows[resolved][0].program)
    return handler, list(_check_input(document, pointer, definitions[resolved]))


def _check_input(document: Document, pointer: Pointer, handler: Definition) -> Iterator[Problem]:
    """Report that the workflow that `on_fault` starts at the end of a run would refuse its input."""
    accepted = handler.program.flow.input_schema
    if accepted is None or accepted.missing or first_error(accepted.document) is not None:
        return
    errors = jsonschema_rs.validator_for(accepted.document, validate_formats=True).iter_errors(FAULT_INPUT)
    error = next((each for each in errors if each.instance_path[:1] != ["input"]), None)
    if error is not None:
        yield problem_at(
            document,
            pointer,
            UNFIT,
            f"the input schema of {handler.program.name} refuses what a fault gives it: {error.message}",
            hint="the input is {uid, api, workflow, task, error, input}",
        )
