"""Evaluation of the arguments of calls, shell commands, scripts and containers to an effect.

Called by `dispatch` when such a task starts, and again after a restart: same frame, same time, hence
the same arguments. Invalid arguments are the author's error: `expression` if data is invalid,
`configuration` if the definition is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from iogate import file_references
from iogate.compiler.resources.document_addresses import is_computed
from iogate.compiler.tasks import Container, Function, Http, OpenApi, Process
from iogate.engine.commands import CallFunction, CallHttp, CallOpenApi, Effect, RunProcess
from iogate.engine.expression_scope import Scope
from iogate.engine.tasks import run_container
from iogate.engine.tasks.authentication import evaluate_policy
from iogate.engine.tasks.uri_templates import build_url, scalar_text
from iogate.errors import WorkflowError
from iogate.file_references import FileReference
from iogate.json_values import to_text, type_name

Outside = Http | OpenApi | Function | Process | Container
"""Tasks that are performed as an effect."""


def effect(body: Outside, scope: Scope) -> Effect:
    """Return the effect of a call or a process, with evaluated arguments.

    Raises WorkflowError if the arguments are invalid or cannot be evaluated.
    """
    provide_authorization(body, scope)
    match body:
        case Http():
            return _http(body, scope)
        case OpenApi():
            return _openapi(body, scope)
        case Function(name=name, version=version):
            arguments = _object(body.arguments.evaluate(scope.input, scope), "with")
            return CallFunction(name=name, version=version, arguments=arguments)
        case Process():
            return _process(body, scope)
        case Container():
            return run_container.effect(body, scope)
        case _:
            assert_never(body)


def provide_authorization(body: object, scope: Scope) -> None:
    """Let expressions of a call read its policy as `$authorization`; it is evaluated only if one names it."""
    policy = body.endpoint.policy if isinstance(body, Http) else getattr(body, "policy", None)
    if policy is not None:
        scope.authenticate = lambda: evaluate_policy(policy, scope)


def _http(body: Http, scope: Scope) -> CallHttp:
    policy = body.endpoint.policy
    query = _object(body.query.evaluate(scope.input, scope), "query")
    headers = _object(body.headers.evaluate(scope.input, scope), "headers")
    return CallHttp(
        method=scalar_text(body.method.evaluate(scope.input, scope), "the method").upper(),
        url=build_url(body.endpoint, scope),
        headers={
            name: scalar_text(value, f'header "{name}"')
            for name, value in headers.items()
            if value is not None
        },
        query={name: _parameter(value, name) for name, value in query.items() if value is not None},
        body=None if body.body is None else body.body.evaluate(scope.input, scope),
        has_body=body.body is not None,
        output=body.output,
        redirect=body.redirect,
        authentication=None if policy is None else evaluate_policy(policy, scope),
        computed=body.endpoint.computed,
        foreign=body.endpoint.foreign,
        address=body.endpoint.source,
    )


def _openapi(body: OpenApi, scope: Scope) -> CallOpenApi:
    known, policy = body.operation is not None, body.policy
    fetched = not known and not body.stored
    if fetched and not is_computed(body.document.source):
        raise WorkflowError(
            "configuration",
            detail=f"the revision has no OpenAPI document {build_url(body.document, scope)}; apply it again",
        )
    presented = body.document.policy
    return CallOpenApi(
        operation=body.operation,
        name=scalar_text(body.name.evaluate(scope.input, scope), "operationId"),
        document="" if known else body.stored or build_url(body.document, scope),
        presented=None if known or presented is None else evaluate_policy(presented, scope),
        parameters=_object(body.parameters.evaluate(scope.input, scope), "parameters"),
        output=body.output,
        redirect=body.redirect,
        authentication=None if policy is None else evaluate_policy(policy, scope),
        fetched=fetched,
        computed=fetched and body.document.computed,
        foreign=body.foreign,
        address=body.document.source,
    )


def _process(body: Process, scope: Scope) -> RunProcess:
    arguments = body.arguments.evaluate(scope.input, scope)
    if not isinstance(arguments, list):
        raise WorkflowError("expression", detail=f"arguments must be an array, not {type_name(arguments)}")
    environment = _object(body.environment.evaluate(scope.input, scope), "environment")
    files: dict[str, FileReference] = {}
    return RunProcess(
        kind=body.kind,
        language=body.language,
        code=scalar_text(
            body.code.evaluate(scope.input, scope), "the command" if body.kind == "shell" else "the code"
        ),
        source=body.source,
        stdin=None if body.stdin is None else _stdin(body.stdin.evaluate(scope.input, scope), files),
        arguments=tuple(
            _text_or_path(value, f"argument {index}", files) for index, value in enumerate(arguments, 1)
        ),
        environment={
            name: _text_or_path(value, f"variable {name}", files) for name, value in environment.items()
        },
        files=files,
        returns=body.returns,
        definition=None if scope.task is None else scope.task.definition["run"],
        loose=body.loose,
    )


def _text_or_path(value: Any, label: str, files: dict[str, FileReference]) -> str:
    """Return an argument or a variable of a process as text; a file as the text for its path in `files`."""
    found = file_references.read(value)
    if found is None:
        return scalar_text(value, label)
    files[found.placeholder] = found
    return found.placeholder


def _stdin(value: Any, files: dict[str, FileReference]) -> str | None:
    """Return the stdin argument of a process: text, a file as the text for its path in `files`, or JSON."""
    found = file_references.read(value)
    if found is not None:
        files[found.placeholder] = found
        return found.placeholder
    return None if value is None else to_text(value)


def _parameter(value: Any, name: str) -> str | list[str]:
    what = f'query parameter "{name}"'
    return (
        [scalar_text(each, what) for each in value] if isinstance(value, list) else scalar_text(value, what)
    )


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise WorkflowError("expression", detail=f"{what} must be an object, not {type_name(value)}")
    return value
