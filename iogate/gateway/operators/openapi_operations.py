"""Description of the routes of operators in `/openapi.json`, made from their declarations.

Used by `observability.api_descriptions`, only if the setting `operators` is given. Pure. Invariant: exactly
the declared routes, parameters and roles are described.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Final

from iogate.gateway.observability import openapi_responses as responses
from iogate.gateway.operators import parameters
from iogate.gateway.operators.operation import Operation
from iogate.value_types.collection_types import Key, record_schema

TAG: Final = "operator"
_ERROR: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
SCHEME: Final = "operator"
_SECURITY: Final[Mapping[str, list[str]]] = {SCHEME: []}
_READS: Final = (400, 401, 403, 404, 409, 421, 429, 431, 500, 503)
_CHANGES: Final = (422,)
_BODIES: Final = (408, 413, 415)
_VERSIONS: Final = {
    "412": ("PreconditionFailed", "The object has another version than If-Match or the body says"),
    "428": ("PreconditionRequired", "The change needs an If-Match"),
}
"""Statuses that only operators get."""
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Key of this change: a repetition with the same key gets the same response",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
_VERSION: Final = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "ETag of the object that was read, or *",
    "schema": {"type": "string", "pattern": r'^(?:"[0-9A-Za-z_.-]{1,64}"|\*)$'},
}
_REASON_OR_DRY_RUN: Final = (
    {"required": ["reason"]},
    {"required": ["dry_run"], "properties": {"dry_run": {"const": True}}},
)
"""Only a dry run needs no reason."""
_AFTER: Final = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "Continue after this entry",
    "schema": {"type": "string", "pattern": "^[0-9]{1,19}$"},
}


def add_to(document: Mapping[str, Any], operations: Iterable[Operation]) -> dict[str, Any]:
    """Return an OpenAPI document with the routes of operators, too."""
    paths = {path: dict(item) for path, item in document["paths"].items()}
    for operation in operations:
        item = paths.setdefault(operation.path, {})
        verb = operation.method.lower()
        known = item.get(verb)
        item[verb] = _described(operation) if known is None else _shared(operation, known)
    components = document["components"]
    schemes = {**components["securitySchemes"], SCHEME: {"type": "http", "scheme": "bearer"}}
    own = {name: {"description": text, "content": _ERROR} for name, text in _VERSIONS.values()}
    shared = {
        **components,
        "securitySchemes": schemes,
        "schemas": {**components["schemas"], "Error": _detailed(components["schemas"]["Error"])},
        "responses": {**components["responses"], **own},
    }
    return {**document, "paths": paths, "components": shared}


def _detailed(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an error with the members that only operators get."""
    found: dict[str, Any] = copy.deepcopy(dict(error))
    found["properties"]["response"]["properties"]["error"]["properties"] |= {
        "hint": {"type": "string", "description": "Next step"},
        "iog": {
            "type": "string",
            "pattern": "^IOG[0-9]{3}$",
            "description": "Code that `iogate explain` knows",
        },
    }
    return found


def _shared(operation: Operation, of_callers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a path that callers have, too, with the one for operators."""
    given = [*of_callers.get("parameters", ()), *_parameters(operation, of_callers)]
    return {
        **of_callers,
        "tags": [*of_callers["tags"], TAG],
        "description": f"For operators: {operation.summary}. {_role(operation)}",
        "security": [*of_callers["security"], _SECURITY],
        "parameters": given,
        **({"requestBody": {**_body(operation), "required": False}} if operation.reads_body else {}),
        "responses": {**of_callers["responses"], **_errors(operation)},
    }


def _described(operation: Operation) -> dict[str, Any]:
    text = f"{operation.description} {_role(operation)}".strip()
    return {
        "operationId": f"{TAG}.{operation.name}",
        "tags": [TAG],
        "summary": operation.summary,
        "description": text,
        "security": [_SECURITY],
        "parameters": _parameters(operation, {}),
        **({"requestBody": _body(operation)} if operation.reads_body else {}),
        "responses": {
            **({"200": _result(operation)} if operation.has_dry_run else {}),
            str(operation.status): _result(operation),
            **_errors(operation),
        },
    }


def _role(operation: Operation) -> str:
    return f"Takes the role {operation.role}."


def _parameters(operation: Operation, known: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parameters of an operation that are not in `known`, a description of the same path."""
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^(?:{operation.path_types.get(name, '[^/]+')})$"},
        }
        for name in operation.names
    ]
    if not operation.reads_body:
        keys = parameters.keys_of(operation)
        found += [_query(name, key) for name, key in keys.items()]
    if operation.changes:
        found.append(dict(_KEY))
    if operation.takes_version:
        found.append(dict(_VERSION))
    if operation.is_stream:
        found.append(dict(_AFTER))
    names = {(each["in"], each["name"]) for each in known.get("parameters", ())}
    return [each for each in found if (each["in"], each["name"]) not in names]


def _query(name: str, key: Key) -> dict[str, Any]:
    schema = key.type.schema()
    lists = {"style": "form", "explode": False} if schema.get("type") == "array" else {}
    return {
        "name": name,
        "in": "query",
        "required": key.required,
        "description": key.description,
        "schema": schema,
        **lists,
    }


def _body(operation: Operation) -> dict[str, Any]:
    schema = record_schema(parameters.keys_of(operation))
    if operation.has_dry_run:
        schema = {**schema, "anyOf": _REASON_OR_DRY_RUN}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _result(operation: Operation) -> dict[str, Any]:
    if operation.is_stream:
        return {"description": "Server-sent events", "content": {"text/event-stream": {}}}
    if operation.is_file:
        return {"description": "The file", "content": {"application/octet-stream": {}}}
    schema = {
        "type": "object",
        "required": ["response"],
        "properties": {"response": {"type": "object"}},
    }
    headers: dict[str, Any] = {}
    if operation.changes:
        headers["Idempotent-Replayed"] = {
            "description": "true: the response to an earlier request with this key",
            "schema": {"type": "string"},
        }
    if operation.version is not None:
        headers["ETag"] = {"description": "Version of the object", "schema": {"type": "string"}}
    return {
        "description": operation.summary,
        "content": {"application/json": {"schema": schema}},
        **({"headers": headers} if headers else {}),
    }


def _errors(operation: Operation) -> dict[str, Any]:
    statuses = [*_READS]
    if operation.changes:
        statuses += _CHANGES
    if operation.reads_body:
        statuses += _BODIES
    found = responses.errors(*dict.fromkeys(statuses))
    if operation.takes_version or operation.names_version:
        found |= {
            status: {"$ref": f"#/components/responses/{name}"}
            for status, (name, _) in _VERSIONS.items()
            if operation.takes_version or status == "412"
        }
    return found
