"""Responses in the OpenAPI document: every status that a route of the gateway sends, with its body.

Used by `openapi`. Invariant: a status that is not here is a defect of the gateway; tests compare real
responses with the document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]

UID: Final[Json] = {"type": "string", "pattern": "^[0-9]{1,19}$"}
_TIME: Final[Json] = {"type": ["string", "null"], "format": "date-time"}
_TEXT: Final[Json] = {"type": "string"}
_RETRY: Final[Json] = {
    "Retry-After": {"description": "Seconds until a repetition is useful", "schema": {"type": "integer"}}
}

_ERRORS: Final[dict[int, tuple[str, str, Json]]] = {
    400: ("BadRequest", "The request or its content is not valid", {}),
    401: (
        "Unauthorized",
        "The credentials or the link are missing or not valid",
        {"WWW-Authenticate": {"description": "Accepted kinds of credentials", "schema": _TEXT}},
    ),
    403: ("Forbidden", "The API is not enabled, or the caller may not do this", {}),
    404: ("NotFound", "There is no such API or run", {}),
    405: (
        "MethodNotAllowed",
        "The API does not accept this method",
        {"Allow": {"description": "Accepted methods", "schema": _TEXT}},
    ),
    408: ("RequestTimeout", "The body did not arrive in time", {}),
    409: ("Conflict", "The state of the run or of the link does not allow this", {}),
    410: ("Gone", "The link has expired, or its run has ended", {}),
    413: ("ContentTooLarge", "The body is larger than allowed", {}),
    415: ("UnsupportedMediaType", "The content type, charset or encoding is not supported", {}),
    421: ("MisdirectedRequest", "The gateway does not serve this host name", {}),
    422: ("IdempotencyMismatch", "The idempotency key was used with another input", {}),
    429: ("TooManyRequests", "A limit of the API or of the address is reached", _RETRY),
    431: ("HeadersTooLarge", "The headers are larger than 32,768 bytes", {}),
    500: ("ServerError", "A defect of the gateway", {}),
    503: ("ServiceUnavailable", "Not accepted now, or it is not known whether it was", _RETRY),
}

OF_CALLS: Final = (400, 403, 404, 405, 421, 429, 431, 500, 503)
"""Of every API; those with credentials and keys have more."""
OF_BODIES: Final = (408, 413, 415)
OF_RUNS: Final = (400, 401, 403, 404, 405, 421, 429, 500, 503)


@dataclass(frozen=True, slots=True, kw_only=True)
class Possible:
    """Responses that calls of an API can get, as far as APIs differ."""

    statuses: tuple[int, ...]
    replays: bool
    """Whether a call may be a repetition."""
    coalesces: bool
    """Whether a call may replace the input of a run."""


def errors(*statuses: int) -> Json:
    """Return the references of OpenAPI to the error responses with these statuses."""
    return {str(each): {"$ref": f"#/components/responses/{_ERRORS[each][0]}"} for each in sorted(statuses)}


def described(*statuses: int) -> Json:
    """Return the OpenAPI error responses with these statuses in full."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    found = {}
    for status in sorted(statuses):
        _, description, headers = _ERRORS[status]
        shown = {"description": description, "content": content}
        found[str(status)] = {**shown, "headers": headers} if headers else shown
    return found


def components() -> tuple[Json, Json]:
    """Return the shared OpenAPI schemas and responses."""
    responses = {_ERRORS[int(status)][0]: shown for status, shown in described(*_ERRORS).items()}
    return {"Error": _error(), "Problem": _problem(), "Run": _run()}, responses


def envelope(properties: Json, *, example: Any = None) -> Json:
    """Return the OpenAPI content of a response with these members below `response`."""
    found: Json = {"schema": _response(properties)}
    if example is not None:
        found["example"] = {"response": example}
    return {"application/json": found}


def _response(properties: Json) -> Json:
    inner = {"type": "object", "required": sorted(properties), "properties": properties}
    return {"type": "object", "required": ["response"], "properties": {"response": inner}}


def accepted(possible: Possible) -> Json:
    """Return the OpenAPI response to a call that was accepted, a 202."""
    headers: Json = {
        "Location": {"description": "The run, by a signed link", "schema": _TEXT},
        "X-Iogate-Revision": {"description": "Revision that accepted the call", "schema": _TEXT},
        "Preference-Applied": {"description": "Applied parts of Prefer", "schema": _TEXT},
    }
    if possible.replays:
        headers["Idempotent-Replayed"] = {
            "description": "true: the idempotency key had this run already",
            "schema": _TEXT,
        }
    if possible.coalesces:
        headers["X-Iogate-Coalesced"] = {
            "description": "true: the call replaced the input of a run that has not started",
            "schema": _TEXT,
        }
    return {
        "description": "Stored durably; the run follows",
        "headers": headers,
        "content": envelope({"uid": UID}),
    }


def of_async(possible: Possible) -> Json:
    """Return the OpenAPI responses of a call that does not wait."""
    return {"202": accepted(possible), **errors(*possible.statuses)}


def of_sync(possible: Possible, outputs: dict[str, Any]) -> Json:
    """Return the responses of a call that waits for the end; `outputs` are examples of `data`, by name."""
    ended: Json = {"code": {"const": 0}, "msg": _TEXT, "data": {}, "uid": UID}
    completed = envelope(ended)
    if outputs:
        completed["application/json"]["examples"] = {
            name: {"value": {"response": {"code": 0, "msg": "", "data": output, "uid": "912855355286885530"}}}
            for name, output in outputs.items()
        }
    problem: Json = {
        "code": {"type": "integer"},
        "msg": _TEXT,
        "data": {"type": "null"},
        "uid": UID,
        "error": {"$ref": "#/components/schemas/Problem"},
    }
    failed = envelope(problem)
    either = {"oneOf": [failed["application/json"]["schema"], {"$ref": "#/components/schemas/Error"}]}
    return {
        "200": {
            "description": "The run completed; data is its output",
            "headers": accepted(possible)["headers"],
            "content": completed,
        },
        "202": accepted(possible) | {"description": "The run continues after the wait"},
        **errors(*possible.statuses),
        "409": {"description": "The run was cancelled", "content": failed},
        "500": {
            "description": "The run faulted, or the gateway failed",
            "content": {"application/json": {"schema": either}},
        },
    }


def _error() -> Json:
    return _response(
        {
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {
                    "code": {"type": "string", "pattern": "^(?:requestError|serverError)[.][A-Za-z]+$"},
                    "message": _TEXT,
                },
            }
        }
    )


def _problem() -> Json:
    return {
        "type": "object",
        "description": "RFC 7807, with code and message",
        "required": ["status", "code", "message"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "status": {"type": "integer"},
            "title": _TEXT,
            "detail": _TEXT,
            "instance": _TEXT,
            "code": _TEXT,
            "message": _TEXT,
        },
    }


def _run() -> Json:
    """Return the schema of a run in OpenAPI responses; some callers see only status and times."""
    status = {
        "enum": ["pending", "running", "waiting", "suspended", "cancelled", "faulted", "completed"],
    }
    times = {"createdAt": _TIME, "startedAt": _TIME, "endedAt": _TIME}
    waiting = {
        "type": "object",
        "required": ["kind", "task", "until"],
        "properties": {"kind": _TEXT, "task": {"type": ["string", "null"]}, "until": _TIME},
    }
    task = {
        "type": "object",
        "properties": {
            "name": _TEXT,
            "reference": _TEXT,
            "status": _TEXT,
            "startedAt": _TIME,
            "endedAt": _TIME,
            "attempt": {"type": "integer"},
            "count": {"type": "integer"},
        },
    }
    return {
        "type": "object",
        "required": ["uid", "status", *times],
        "properties": {
            "uid": UID,
            "status": status,
            **times,
            "api": _TEXT,
            "workflow": _TEXT,
            "revision": {"type": "integer"},
            "attempt": {"type": "integer"},
            "caller": {"type": ["string", "null"]},
            "input": {},
            "output": {},
            "error": {"oneOf": [{"$ref": "#/components/schemas/Problem"}, {"type": "null"}]},
            "waitingFor": {"oneOf": [waiting, {"type": "null"}]},
            "tasks": {"type": "array", "items": task},
        },
    }
