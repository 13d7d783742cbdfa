"""Encoding of request bodies in the media type of their operation. Used by `operation_request`.

Text is sent unchanged in textual types; in all others it must be Base64, as from `output: raw`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iogate.compiler.openapi import Body
from iogate.effects.http import multipart
from iogate.effects.http.responses import TEXTUAL
from iogate.errors import WorkflowError
from iogate.http_syntax import media_type
from iogate.json_values import to_json, to_text


def encode_body(body: Body, value: Any) -> tuple[Any, str]:
    """Return the body of an OpenAPI call, encoded in its media type, and its Content-Type.

    Raises WorkflowError if the media type cannot represent the value.
    """
    try:
        return _encoded(body, value)
    except ValueError as fault:
        raise _body_error(str(fault)) from None


def _encoded(body: Body, value: Any) -> tuple[Any, str]:
    kind = media_type(body.media)
    if kind == "application/json" or kind.endswith("+json"):
        return (to_json(value) if isinstance(value, str) else value), body.media
    if kind == multipart.MEDIA_TYPE:
        return multipart.encode(_members(kind, value), body.fields)
    if isinstance(value, multipart.FileContent):
        return value.data, body.media
    if kind == "application/x-www-form-urlencoded":
        return {name: _field(each) for name, each in _members(kind, value).items()}, kind
    if kind.startswith("text/") or kind.endswith("+xml") or kind in TEXTUAL:
        return to_text(value), body.media
    return multipart.decode_base64(value, f"a body of {kind}"), body.media


def _members(kind: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _body_error(f"a body of {kind} must be an object, its fields")
    return dict(value)


def _field(value: Any) -> Any:
    """Encode a field of an OpenAPI body: objects become JSON, the default encoding of OpenAPI 3."""
    match value:
        case Mapping():
            return to_json(value)
        case list():
            return [to_json(each) if isinstance(each, Mapping | list) else each for each in value]
        case _:
            return value


def _body_error(detail: str) -> WorkflowError:
    return WorkflowError("expression", title="OpenAPI call cannot be made", detail=detail)
