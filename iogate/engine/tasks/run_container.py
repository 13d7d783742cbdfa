"""Evaluation of the arguments of `run: container` to an effect. Used by `call`.

The container's name is derived from the idempotency key, so that a repeated command after a restart finds
the existing container.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from iogate.compiler.tasks import Container
from iogate.engine.commands import RunContainer
from iogate.engine.expression_scope import Scope
from iogate.engine.tasks.due_times import add_duration
from iogate.engine.tasks.uri_templates import scalar_text
from iogate.errors import WorkflowError
from iogate.expressions import Template
from iogate.json_values import to_text, type_name

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{1,254}")
_STRANGE = re.compile(r"[^A-Za-z0-9_.-]+")


def effect(body: Container, scope: Scope) -> RunContainer:
    """Return the effect of `run: container`, with evaluated arguments.

    Raises WorkflowError if the arguments are invalid or cannot be evaluated.
    """
    key = str(uuid.uuid5(uuid.NAMESPACE_URL, scope.idempotency_key or ""))
    arguments = body.arguments.evaluate(scope.input, scope)
    if not isinstance(arguments, list):
        raise WorkflowError("expression", detail=f"arguments must be an array, not {type_name(arguments)}")
    after = None if body.after is None else body.after.evaluate(scope.input, scope)
    image = scalar_text(body.image.evaluate(scope.input, scope), "the image")
    if not image:
        raise WorkflowError("expression", detail="the image is empty")
    command = None if body.command is None else body.command.evaluate(scope.input, scope)
    stdin = None if body.stdin is None else body.stdin.evaluate(scope.input, scope)
    return RunContainer(
        image=image,
        name=_name(body, scope, key),
        key=key,
        command=None if command is None else scalar_text(command, "the command"),
        ports=_texts(body.ports, scope, "port"),
        volumes=_texts(body.volumes, scope, "volume"),
        environment=_texts(body.environment, scope, "variable"),
        stdin=None if stdin is None else to_text(stdin),
        arguments=tuple(scalar_text(value, f"argument {index}") for index, value in enumerate(arguments, 1)),
        pull=body.pull,
        cleanup=body.cleanup,
        keep_s=None if after is None else add_duration(after, 0, "lifetime.after") / 1000,
        returns=body.returns,
        definition=None if scope.task is None else scope.task.definition["run"],
        loose=body.loose,
    )


def _name(body: Container, scope: Scope, key: str) -> str:
    """Return the container's name: the author's, or the standard's `{workflow}-{uuid}.{namespace}-{task}`."""
    given = None if body.name is None else body.name.evaluate(scope.input, scope)
    if given is not None:
        name = scalar_text(given, "the container's name")
        if not _NAME.fullmatch(name):
            raise WorkflowError(
                "expression",
                # A cut could leave a part of a secret that no redaction finds.
                detail=(f'"{name}"' if len(name) <= 80 else f"text of {len(name)} characters")
                + ' is not a valid container name: use at least two of letters, digits, "_", "." and "-", '
                "the first a letter or digit",
            )
        return name
    head = scope.program.definition["document"]
    task = _STRANGE.sub("-", scope.task.name if scope.task is not None else "")[:63]
    return f"{head['name']}-{key}.{head['namespace']}-{task}"


def _texts(source: Template, scope: Scope, what: str) -> dict[str, str]:
    value: Any = source.evaluate(scope.input, scope)
    if not isinstance(value, Mapping):
        raise WorkflowError("expression", detail=f"{what}s must be an object, not {type_name(value)}")
    return {str(name): scalar_text(each, f"{what} {name}") for name, each in value.items()}
