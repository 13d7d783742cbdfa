"""`/openapi.json`: the live revision as an OpenAPI 3.1 document.

Pure; built once per revision. Invariant: the document names kinds of credentials, never a value or its
source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

import msgspec

from iogate.auth.model import AnyAuth, NoAuth, SignatureAuth, TokenAuth, UserAuth, alternatives
from iogate.auth.signatures import scheme_of
from iogate.gateway.events.cloudevents import BATCHED, MAX_EVENTS, STRUCTURED
from iogate.url_paths import MODES, Mode, api_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iogate.auth.model import StoredAuth
    from iogate.compiler.revision import Api

_ERROR = {"$ref": "#/components/responses/Error"}
_UID = {"type": "string", "pattern": "^[0-9]{1,19}$"}
_RUN_PARAMETERS = [
    {"name": "uid", "in": "path", "required": True, "schema": _UID},
    {"name": "sig", "in": "query", "description": "signature of the link", "schema": {"type": "string"}},
]

SCHEMES: dict[str, Any] = {
    "token": {"type": "apiKey", "in": "header", "name": "token"},
    "bearer": {"type": "http", "scheme": "bearer"},
    "user": {"type": "apiKey", "in": "header", "name": "user"},
    "password": {"type": "apiKey", "in": "header", "name": "password"},
    "basic": {"type": "http", "scheme": "basic"},
}


def document(
    apis: Mapping[str, Api], *, number: int, server: str, senders: StoredAuth | None = None
) -> bytes:
    """Return the encoded document; `senders` are the credentials that may send events."""
    paths: dict[str, Any] = {}
    for name, api in sorted(apis.items()):
        urls: list[tuple[str, Mode, str]] = [(api_path(name, mode), mode, mode) for mode in MODES]
        if (own := api.own_path) is not None:
            urls.append((*own, "path"))
        for path, mode, label in urls:
            paths[path] = {verb.lower(): _operation(name, api, verb, mode, label) for verb in api.verbs}
    paths |= _run_paths()
    if senders is not None:
        paths["/v1/events"] = {"post": _sending(senders)}
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "iogate", "version": str(number)},
            "servers": [{"url": server}],
            "paths": paths,
            "components": {
                "securitySchemes": SCHEMES | _signatures(apis),
                "schemas": {"Error": _error_schema()},
                "responses": {
                    "Error": {
                        "description": "The first check that failed",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                    }
                },
            },
        }
    )


def _operation(name: str, api: Api, verb: str, ending: Mode, label: str) -> dict[str, Any]:
    """Return one operation; `label` distinguishes the URLs of an API in its id."""
    module, _, method = name.partition("/")
    operation: dict[str, Any] = {
        "operationId": f"{module}.{method}.{verb.lower()}.{label}",
        "tags": [module, *api.tags],
        "security": security(api.auth),
        "responses": _async_responses() if ending == "async" else _sync_responses(),
    }
    if api.description:
        operation["summary"] = api.description
    parameters: list[dict[str, Any]] = []
    schema = api.input_schema if isinstance(api.input_schema, dict) else {}
    whole = api.input_from == "request"
    if verb == "GET":
        fields = schema.get("properties", {}).get("query", {}) if whole else schema
        parameters += _query(fields if isinstance(fields, dict) else {})
    else:
        content = schema.get("properties", {}).get("body", {}) if whole else schema
        operation["requestBody"] = {
            "content": {
                kind: {"schema": content}
                for kind in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")
            }
        }
    parameters.append({"name": api.idempotency.header, "in": "header", "schema": {"type": "string"}})
    parameters.append(
        {
            "name": "Prefer",
            "in": "header",
            "description": "link=cancel: a link in Location that may cancel the run, too"
            + ("; wait=N: how many seconds to wait for the end" if ending == "sync" else ""),
            "example": "wait=30" if ending == "sync" else "link=cancel",
            "schema": {"type": "string"},
        }
    )
    operation["parameters"] = parameters
    return operation


def _query(schema: dict[str, Any]) -> list[dict[str, Any]]:
    properties, required = schema.get("properties"), schema.get("required") or ()
    if not isinstance(properties, dict):
        return []
    return [
        {"name": name, "in": "query", "required": name in required, "schema": held}
        for name, held in properties.items()
    ]


def security(auth: StoredAuth) -> list[dict[str, list[str]]]:
    """Return the security requirements of an API, one per accepted kind of credentials."""
    match auth:
        case NoAuth():
            return [{}]
        case TokenAuth():
            return [{"token": []}, {"bearer": []}]
        case UserAuth():
            return [{"user": [], "password": []}, {"basic": []}]
        case SignatureAuth():
            return [{_signature_name(auth): []}]
        case AnyAuth():
            return [way for part in auth.any for way in security(part)]
        case _:
            assert_never(auth)


def _signature_name(form: SignatureAuth[Any]) -> str:
    if form.declared is None:
        return f"signature-{form.scheme}"
    return f"signature-{form.declared.header.lower()}"


def _signatures(apis: Mapping[str, Api]) -> dict[str, Any]:
    """Return the security schemes of the signatures that APIs accept."""
    found = {}
    for api in apis.values():
        for form in alternatives(api.auth):
            if isinstance(form, SignatureAuth):
                format_ = scheme_of(form).formats[0]
                found[_signature_name(form)] = {
                    "type": "apiKey",
                    "in": "header",
                    "name": format_.header,
                    "description": f"{format_.prefix}HMAC ({format_.algorithm}, {format_.encoding}) of "
                    f"{format_.signed}",
                }
    return dict(sorted(found.items()))


def _envelope(properties: dict[str, Any]) -> dict[str, Any]:
    inner = {"type": "object", "required": sorted(properties), "properties": properties}
    schema = {"type": "object", "required": ["response"], "properties": {"response": inner}}
    return {"application/json": {"schema": schema}}


def _accepted() -> dict[str, Any]:
    return {
        "description": "Stored durably; the run follows",
        "headers": {
            "Location": {"description": "the run, by a signed link", "schema": {"type": "string"}},
            "X-Iogate-Revision": {"schema": {"type": "string"}},
        },
        "content": _envelope({"uid": _UID}),
    }


def _async_responses() -> dict[str, Any]:
    return {"202": _accepted(), "default": _ERROR}


def _sync_responses() -> dict[str, Any]:
    ended = {"code": {"type": "integer"}, "msg": {"type": "string"}, "data": {}, "uid": _UID}
    return {
        "200": {"description": "The run completed", "content": _envelope(ended)},
        "202": _accepted() | {"description": "The run goes on after the wait"},
        "409": {"description": "The run was cancelled", "content": _envelope(ended)},
        "500": {"description": "The run faulted", "content": _envelope(ended)},
        "default": _ERROR,
    }


def _run_paths() -> dict[str, Any]:
    wait = {"name": "wait", "in": "query", "schema": {"type": "integer", "maximum": 60}}
    run = {"200": {"description": "The run", "content": _envelope({"uid": _UID})}, "default": _ERROR}
    events = {"description": "The journal so far, then live", "content": {"text/event-stream": {}}}
    ways: list[dict[str, list[str]]] = [{}]
    ways += [{"token": []}, {"bearer": []}, {"user": [], "password": []}, {"basic": []}]
    shared = {"tags": ["runs"], "security": ways}
    return {
        "/v1/runs/{uid}": {"get": shared | {"parameters": [*_RUN_PARAMETERS, wait], "responses": run}},
        "/v1/runs/{uid}/events": {
            "get": shared | {"parameters": _RUN_PARAMETERS, "responses": {"200": events, "default": _ERROR}}
        },
        "/v1/runs/{uid}/cancel": {
            "post": shared | {"parameters": _RUN_PARAMETERS, "responses": _async_responses()}
        },
    }


def _sending(senders: StoredAuth) -> dict[str, Any]:
    event = {
        "type": "object",
        "required": ["id", "source", "specversion", "type"],
        "properties": {
            "id": {"type": "string", "minLength": 1},
            "source": {"type": "string", "format": "uri-reference", "minLength": 1},
            "specversion": {"const": "1.0"},
            "type": {"type": "string", "minLength": 1},
            "subject": {"type": "string"},
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"type": "string"},
            "dataschema": {"type": "string", "format": "uri"},
            "data": {},
            "data_base64": {"type": "string", "contentEncoding": "base64"},
        },
    }
    batch = {"type": "array", "items": event, "maxItems": MAX_EVENTS}
    count = {"events": {"type": "integer", "minimum": 0}}
    return {
        "operationId": "events.send",
        "tags": ["events"],
        "summary": "Send CloudEvents to the workflows that listen",
        "description": "In binary mode the attributes stand in ce- headers, and the body is the data.",
        "security": security(senders),
        "requestBody": {
            "content": {
                STRUCTURED.decode(): {"schema": event},
                BATCHED.decode(): {"schema": batch},
                "application/json": {"schema": {}},
            }
        },
        "responses": {
            "202": {
                "description": "Stored durably; how many of them the sender had not sent before",
                "content": _envelope(count),
            },
            "default": _ERROR,
        },
    }


def _error_schema() -> dict[str, Any]:
    error = {
        "type": "object",
        "required": ["code", "message"],
        "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
    }
    response = {"type": "object", "required": ["error"], "properties": {"error": error}}
    return {"type": "object", "required": ["response"], "properties": {"response": response}}
