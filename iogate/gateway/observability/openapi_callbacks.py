"""Callbacks in the OpenAPI document: the requests that iogate makes at the end of a run.

Used by `openapi`. Pure. Invariant: the document never shows the URL of a fixed receiver, which may contain a
credential: such callbacks are `webhooks` of the document, those of a caller are `callbacks` of its call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from iogate.compiler.revision import Callback
from iogate.gateway.observability.openapi_responses import UID
from iogate.security import standard_webhooks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iogate.compiler.revision import Api

Json = dict[str, Any]

HEADER: Final = "Callback-Url"
SCHEMA: Final = "CallbackBody"
_TEXT: Final[Json] = {"type": "string"}
_TIME: Final[Json] = {"type": ["string", "null"], "format": "date-time"}


def parameters(api: Api) -> list[Json]:
    """Return the OpenAPI header by which a caller names the receiver of its callback, if it may."""
    callback = _of(api)
    if callback is None or callback.url:
        return []
    hosts = ", ".join(callback.allow)
    return [
        {
            "name": HEADER,
            "in": "header",
            "description": f"Receiver of the end of the run: an https URL whose host is one of {hosts}",
            "schema": {"type": "string", "format": "uri"},
        }
    ]


def callbacks(api: Api) -> Json:
    """Return the OpenAPI member `callbacks` of a call; empty if its caller names no receiver."""
    callback = _of(api)
    if callback is None or callback.url:
        return {}
    operation = _operation(api, callback, f"{api.id.replace('/', '.')}.callback")
    return {"callbacks": {"end": {f"{{$request.header.{HEADER}}}": {"post": operation}}}}


def webhooks(apis: Mapping[str, Api]) -> Json:
    """Return the OpenAPI `webhooks`: callbacks to fixed receivers, by the name of the API."""
    found = {}
    for name, api in sorted(apis.items()):
        callback = _of(api)
        if callback is not None and callback.url:
            title = f"{name.replace('/', '.')}.end"
            found[title] = {"post": _operation(api, callback, title)}
    return found


def schemas(apis: Mapping[str, Api]) -> Json:
    """Return the OpenAPI schema of the body of callbacks, if an API has one."""
    return {SCHEMA: _body()} if any(_of(api) is not None for api in apis.values()) else {}


def _of(api: Api) -> Callback | None:
    return api.callback if isinstance(api.callback, Callback) else None


def _operation(api: Api, callback: Callback, name: str) -> Json:
    kinds = [f"run.{status}" for status in callback.on]
    return {
        "operationId": name,
        "tags": [api.id.partition("/")[0]],
        "summary": f"End of a run of {api.id}",
        "description": "Signed as Standard Webhooks 1.0 describe; repeated for 24 h, with the same "
        "webhook-id, until the receiver accepts it.",
        "parameters": [
            {"name": header, "in": "header", "required": True, "description": meaning, "schema": _TEXT}
            for header, meaning in (
                (standard_webhooks.ID, "Id of the callback: a repetition has the same one"),
                (standard_webhooks.TIMESTAMP, "Time of this try, in seconds since 1970"),
                (standard_webhooks.SIGNATURE, "v1, and the HMAC-SHA256 of {id}.{timestamp}.{body} in base64"),
                ("idempotency-key", "The same as webhook-id"),
            )
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "allOf": [
                            {"$ref": f"#/components/schemas/{SCHEMA}"},
                            {"properties": {"type": {"enum": kinds}}},
                        ]
                    }
                }
            },
        },
        "responses": {
            "2XX": {"description": "Accepted: it is not sent again"},
            "410": {"description": "Refused for good: it is not sent again"},
            "429": {"description": "Sent again, after Retry-After"},
            "503": {"description": "Sent again, after Retry-After"},
            "default": {"description": "Sent again later"},
        },
    }


def _body() -> Json:
    data = {
        "uid": UID,
        "api": _TEXT,
        "status": {"enum": ["completed", "faulted", "cancelled"]},
        "attempt": {"type": "integer"},
        "createdAt": _TIME,
        "startedAt": _TIME,
        "endedAt": _TIME,
        "output": {},
        "error": {"oneOf": [{"$ref": "#/components/schemas/Problem"}, {"type": "null"}]},
    }
    return {
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"enum": ["run.completed", "run.faulted", "run.cancelled"]},
            "timestamp": _TIME,
            "data": {"type": "object", "required": sorted(data), "properties": data},
        },
    }
