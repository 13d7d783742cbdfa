"""From a task that reaches outside to the effect with every argument evaluated.

Called by `kinds` when such a task starts, and again after a restart: same frame, same time, hence
the same arguments. What a shape forbids after evaluation is the author's error: `expression`
where data does not fit, `configuration` where the definition does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, assert_never
from urllib.parse import quote

from iogate.compiler.tasks import Endpoint, Function, Http, Policy, Process
from iogate.engine.commands import Authentication, CallFunction, CallHttp, Effect, RunProcess
from iogate.engine.scope import Scope
from iogate.errors import WorkflowError
from iogate.expressions.paths import type_name

_VARIABLE = re.compile(r"\{([^{}]*)\}")
_MEMBERS = {"basic": ("username", "password"), "bearer": ("token",), "digest": ("username", "password")}


def effect(body: Http | Function | Process, scope: Scope) -> Effect:
    """What must happen outside for this task.

    Raises WorkflowError where its arguments cannot be made.
    """
    authenticator(body, scope)
    match body:
        case Http():
            return _http(body, scope)
        case Function(name=name, version=version):
            arguments = _object(body.arguments.evaluate(scope.input, scope), "with")
            return CallFunction(name=name, version=version, arguments=arguments)
        case Process():
            return _process(body, scope)
        case _:
            assert_never(body)


def authenticator(body: object, scope: Scope) -> None:
    """Let `$authorization` read the policy of a call; it is evaluated only where it is named."""
    if isinstance(body, Http) and body.endpoint.policy is not None:
        policy = body.endpoint.policy
        scope.authenticate = lambda: _authentication(policy, scope)


def _http(body: Http, scope: Scope) -> CallHttp:
    policy = body.endpoint.policy
    query = _object(body.query.evaluate(scope.input, scope), "query")
    headers = _object(body.headers.evaluate(scope.input, scope), "headers")
    return CallHttp(
        method=body.method,
        url=_url(body.endpoint, scope),
        headers={
            name: _word(value, f'header "{name}"') for name, value in headers.items() if value is not None
        },
        query={name: _parameter(value, name) for name, value in query.items() if value is not None},
        body=None if body.body is None else body.body.evaluate(scope.input, scope),
        has_body=body.body is not None,
        output=body.output,
        redirect=body.redirect,
        authentication=None if policy is None else _authentication(policy, scope),
        computed=body.endpoint.computed,
    )


def _url(endpoint: Endpoint, scope: Scope) -> str:
    """The address: templates expanded in what the author wrote, never in what an expression gave."""
    url = "".join(
        _expand(part, scope.input) if isinstance(part, str) else _address(part.evaluate(scope.input, scope))
        for part in endpoint.parts
    )
    if not url:
        raise WorkflowError("expression", detail="the endpoint is empty")
    return url


def _expand(text: str, data: Any) -> str:
    """RFC 6570 simple expansion, of top-level properties by their verbatim names."""

    def value_of(variable: re.Match[str]) -> str:
        name = variable[1]
        value = data.get(name) if isinstance(data, dict) else None
        if value is None:
            return ""
        return quote(_word(value, f"{{{name}}} in the endpoint"), safe="")

    return _VARIABLE.sub(value_of, text)


def _address(value: Any) -> str:
    if isinstance(value, Mapping) and "uri" in value:
        value = value["uri"]
    return _word(value, "the endpoint")


def _authentication(policy: Policy, scope: Scope) -> Authentication:
    if policy.missing:
        raise WorkflowError(
            "configuration", detail=f'authentication "{policy.missing}" is not defined in use.authentications'
        )
    if policy.secret:
        return Authentication(scheme=policy.scheme, parameters=_secret(policy, scope))
    members = policy.members.evaluate(scope.input, scope) if policy.members is not None else {}
    return Authentication(
        scheme=policy.scheme, parameters=_object(members, f"the {policy.scheme} authentication")
    )


def _secret(policy: Policy, scope: Scope) -> Mapping[str, Any]:
    """A policy's members out of one secret: an object with them, or a bearer's bare token."""
    secret = scope.secrets().get(policy.secret)
    if secret is None:
        raise WorkflowError(
            "authorization", detail=f'secret "{policy.secret}" is not declared in use.secrets'
        )
    if policy.scheme == "bearer" and isinstance(secret, str):
        return {"token": secret}
    wanted = _MEMBERS.get(policy.scheme, ())
    if not isinstance(secret, Mapping) or any(name not in secret for name in wanted):
        raise WorkflowError(
            "authorization",
            detail=f'secret "{policy.secret}" must be an object with {" and ".join(wanted)}',
        )
    return secret


def _process(body: Process, scope: Scope) -> RunProcess:
    arguments = body.arguments.evaluate(scope.input, scope)
    if not isinstance(arguments, list):
        raise WorkflowError("expression", detail=f"arguments must be an array, not {type_name(arguments)}")
    environment = _object(body.environment.evaluate(scope.input, scope), "environment")
    return RunProcess(
        kind=body.kind,
        language=body.language,
        code=_word(
            body.code.evaluate(scope.input, scope), "the command" if body.kind == "shell" else "the code"
        ),
        source=body.source,
        stdin=None if body.stdin is None else _stdin(body.stdin.evaluate(scope.input, scope)),
        arguments=tuple(_word(value, f"argument {index}") for index, value in enumerate(arguments, 1)),
        environment={name: _word(value, f"variable {name}") for name, value in environment.items()},
        returns=body.returns,
    )


def _stdin(value: Any) -> str | None:
    """Text as it is, all else as JSON: a script reads what a task before it gave."""
    return value if value is None or isinstance(value, str) else to_json(value)


def _parameter(value: Any, name: str) -> str | list[str]:
    what = f'query parameter "{name}"'
    return [_word(each, what) for each in value] if isinstance(value, list) else _word(value, what)


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise WorkflowError("expression", detail=f"{what} must be an object, not {type_name(value)}")
    return value


def _word(value: Any, what: str) -> str:
    """A scalar as text; an object or an array is an error, as the standard wants for addresses."""
    match value:
        case str():
            return value
        case None:
            return ""
        case bool() | int() | float():
            return to_json(value)
        case _:
            raise WorkflowError(
                "expression", detail=f"{what} must be text, a number or a boolean, not {type_name(value)}"
            )


def to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
