"""`/v1/links/{link}` in the OpenAPI document: one-time links that workflows hand out.

Used by `openapi`. Pure. Invariant: the link itself is the permission, so that no operation has credentials.
"""

from __future__ import annotations

from typing import Any, Final

from iogate.gateway.observability import openapi_responses as responses
from iogate.gateway.observability.openapi_responses import UID

Json = dict[str, Any]

_TEXT: Final[Json] = {"type": "string"}
_PAGE: Final[Json] = {"text/html": {}}
_LINK: Final[Json] = {
    "name": "link",
    "in": "path",
    "required": True,
    "description": "Run, name, expiry and signature of the link, as in $runtime.links",
    "schema": {"type": "string", "pattern": r"^[0-9]{1,19}\.[^./]+\.[0-9]{1,11}\.[A-Za-z0-9_-]{22}$"},
}
_GONE: Final = (404, 405, 409, 410, 421, 431, 500, 503)


def path_item() -> Json:
    """Return the OpenAPI path of one-time links."""
    shown = {
        "uid": UID,
        "link": _TEXT,
        "title": _TEXT,
        "description": _TEXT,
        "schema": {},
        "expiresAt": {"type": "string", "format": "date-time"},
    }
    use = _operation(
        "use",
        "Use the link, once: the waiting run continues with the data",
        {
            "202": {
                "description": "The run continues",
                "content": {**responses.envelope({"uid": UID, "link": _TEXT}), **_PAGE},
            },
            **_errors(400, 408, 413, 415, 429, *_GONE),
        },
    )
    data: Json = {"schema": {"description": "As the schema of the link says; empty, or {}, if it has none"}}
    use["requestBody"] = {
        "content": {"application/json": data, "application/x-www-form-urlencoded": data},
    }
    return {
        "get": _operation(
            "show",
            "Show what the link asks; a browser gets a page with a form",
            {
                "200": {
                    "description": "What the link asks; it stays unused",
                    "content": {**responses.envelope(shown), **_PAGE},
                },
                **_errors(*_GONE),
            },
        ),
        "post": use,
    }


def _operation(name: str, summary: str, shown: Json) -> Json:
    return {
        "operationId": f"links.{name}",
        "tags": ["links"],
        "summary": summary,
        "security": [{}],
        "parameters": [_LINK],
        "responses": shown,
    }


def _errors(*statuses: int) -> Json:
    """Return the OpenAPI error responses for a link, of which a browser gets a page."""
    return {
        status: {**described, "content": {**described["content"], **_PAGE}}
        for status, described in responses.described(*statuses).items()
    }
