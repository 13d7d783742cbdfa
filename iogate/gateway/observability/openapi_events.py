"""`POST /v1/events` in the OpenAPI document.

Used by `openapi`. Pure. Invariant: the schema of an event accepts what `events.cloudevents` accepts in JSON,
and refuses what it refuses.
"""

from __future__ import annotations

import re
from typing import Any, Final

from iogate.gateway.events.cloudevents import BATCHED, LONGEST, MAX_EVENTS, STRUCTURED
from iogate.gateway.observability import openapi_responses as responses
from iogate.http_syntax import TOKEN
from iogate.security.one_time_links import EVENT

Json = dict[str, Any]

_PRINTABLE: Final = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"
_TEXT: Final[Json] = {"minLength": 1, "maxLength": LONGEST, "pattern": _PRINTABLE}
_UNSPACED: Final = "[^\\s\\u0000-\\u001f\\u007f-\\u009f]+"
_BASE64: Final = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_MEDIA: Final = f"^{TOKEN}/{TOKEN}([ ]*;[^\\u0000-\\u001f\\u007f-\\u009f]*)?$"


def path_item(security: list[Json], parameters: list[Json]) -> Json:
    """Return the OpenAPI path of `POST /v1/events`.

    `security` is the requirement for its senders, and `parameters` are the headers beside a signature.
    """
    event = _event()
    count = {"events": {"type": "integer", "minimum": 0}}
    return {
        "post": {
            "operationId": "events.send",
            "tags": ["events"],
            "summary": "Send CloudEvents to the workflows that listen",
            "description": "Also in binary mode: attributes in ce- headers, and data of any type as body.",
            "security": security,
            **({"parameters": parameters} if parameters else {}),
            "requestBody": {
                "required": True,
                "content": {
                    STRUCTURED.decode(): {"schema": event},
                    BATCHED.decode(): {"schema": {"type": "array", "items": event, "maxItems": MAX_EVENTS}},
                },
            },
            "responses": {
                "202": {
                    "description": "Stored durably; how many of them the sender had not sent before",
                    "content": responses.envelope(count),
                },
                **responses.errors(400, 401, 403, 404, 405, 408, 413, 415, 421, 429, 431, 500, 503),
            },
        }
    }


def _event() -> Json:
    """Return the OpenAPI schema of an event in the JSON format of CloudEvents; a null attribute is absent."""
    optional = {"type": ["string", "null"], **_TEXT}
    return {
        "type": "object",
        "required": ["id", "source", "specversion", "type"],
        "not": {"required": ["data", "data_base64"], "properties": {"data_base64": {"type": "string"}}},
        # Extensions have any name of this form (CloudEvents 1.0, "Naming conventions").
        "propertyNames": {"pattern": "^([a-z0-9]{1,64}|data_base64)$"},
        "properties": {
            "id": {"type": "string", **_TEXT},
            "source": {"type": "string", **_TEXT, "pattern": f"^{_UNSPACED}$"},
            "specversion": {"const": "1.0"},
            "type": {"type": "string", **_TEXT, "not": {"pattern": f"^{re.escape(EVENT)}"}},
            "subject": optional,
            "time": {"type": ["string", "null"], "format": "date-time"},
            "datacontenttype": {**optional, "pattern": _MEDIA},
            "dataschema": {**optional, "pattern": f"^[A-Za-z][A-Za-z0-9+.-]*:{_UNSPACED}$"},
            "data": {},
            "data_base64": {
                "type": ["string", "null"],
                "contentEncoding": "base64",
                "pattern": _BASE64,
            },
        },
        "additionalProperties": {
            "type": ["string", "boolean", "integer", "null"],
            "minimum": -(2**31),
            "maximum": 2**31 - 1,
            "maxLength": LONGEST,
            "pattern": _PRINTABLE,
        },
    }
