"""Descriptions of requests that tasks make, as JSON: for journals, and for the comparison of two replays.

Used by `recorder` and by replays of `testing`. Pure. Invariants: keys and names that iogate generates are
left out, so that equal tasks of two runs give equal requests; credentials are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from iogate.compiler.revision import resource_name
from iogate.engine.commands import (
    Authentication,
    CallFunction,
    CallHttp,
    CallOpenApi,
    Effect,
    Emit,
    RunContainer,
    RunProcess,
    StartChild,
)
from iogate.security.redaction_patterns import REDACTED, may_be_secret, redact, redact_query, redact_text
from iogate.security.redaction_patterns import redact_url as without_password
from iogate.worker.secrets.redaction import Redaction

_GENERATED = frozenset({"id", "time", "specversion"})
"""Attributes of an event that iogate fills in."""
_NAMED_VALUES = frozenset({"headers", "query", "parameters", "environment"})
"""Members whose own members are headers, parameters or variables: their names tell more secrets."""


def describe(asked: Effect | StartChild | Emit) -> dict[str, Any]:
    """Describe a request of a task as JSON without empty members; secrets in it are not redacted."""
    described = _describe(asked)
    return {name: value for name, value in described.items() if value not in (None, "", {}, [], ())}


def _describe(asked: Effect | StartChild | Emit) -> dict[str, Any]:
    match asked:
        case CallHttp():
            return {
                "call": "http",
                "method": asked.method.upper(),
                "url": asked.url,
                "query": dict(asked.query),
                "headers": dict(asked.headers),
                "authentication": _scheme(asked.authentication),
                **({"body": [asked.body]} if asked.has_body else {}),
            }
        case CallOpenApi():
            operation = asked.operation
            return {
                "call": "openapi",
                "operation": operation.id if operation is not None else asked.name,
                "method": operation.method.upper() if operation is not None else "",
                "url": operation.url if operation is not None else "",
                "document": resource_name(asked.document) or asked.document,
                "parameters": dict(asked.parameters),
                "authentication": _scheme(asked.authentication),
            }
        case CallFunction():
            return {
                "call": f"{asked.name}:{asked.version}",
                "arguments": dict(asked.arguments),
            }
        case RunProcess():
            return {
                "run": asked.kind,
                "language": asked.language,
                "code": asked.code,
                "source": asked.source,
                "stdin": asked.stdin,
                "arguments": list(asked.arguments),
                "environment": dict(asked.environment),
            }
        case RunContainer():
            return {
                "run": "container",
                "image": asked.image,
                "command": asked.command,
                "ports": dict(asked.ports),
                "volumes": dict(asked.volumes),
                "stdin": asked.stdin,
                "arguments": list(asked.arguments),
                "environment": dict(asked.environment),
            }
        case StartChild():
            return {
                "run": "workflow",
                "workflow": f"{asked.namespace}/{asked.name}:{asked.version or 'latest'}",
                "input": [asked.input],
            }
        case Emit():
            return {"emit": {name: value for name, value in asked.event.items() if name not in _GENERATED}}
        case _:
            assert_never(asked)


def _scheme(authentication: Authentication | None) -> str:
    return "" if authentication is None else authentication.scheme


def shown(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a described request for people: a body or an input as it is."""
    return {
        name: value[0] if name in ("body", "input") and isinstance(value, list) else value
        for name, value in request.items()
    }


def redact_request(request: Mapping[str, Any], redaction: Redaction) -> dict[str, Any]:
    """Return a described request without known secrets and values with names of secrets."""
    cleaned: dict[str, Any] = {}
    for name, value in request.items():
        if name == "url":
            cleaned[name] = _redact_url(redaction.text(value))
        elif name in _NAMED_VALUES:
            cleaned[name] = {
                each: REDACTED if member and may_be_secret(each) else redact_data(member, redaction)
                for each, member in value.items()
            }
        else:
            cleaned[name] = redact_data(value, redaction)
    return cleaned


def redact_data(value: Any, redaction: Redaction) -> Any:
    """Redact data of a request: known secrets, members with names of secrets, and pairs of both in texts."""
    return _redact_texts(redact(redaction.scrub(value)))


def _redact_texts(value: Any) -> Any:
    match value:
        case str():
            return redact_text(value)
        case dict():
            return {name: _redact_texts(member) for name, member in value.items()}
        case list() | tuple():
            return [_redact_texts(member) for member in value]
        case _:
            return value


def _redact_url(url: str) -> str:
    address, question, query = url.partition("?")
    return without_password(address) + question + (redact_query(query) if question else "")
