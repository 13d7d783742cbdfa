"""How a body is written in the media type that its operation takes. Used by `request`.

Text goes as it is in textual types; in all others a text is Base64, as `output: raw` gives it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from iogate.compiler.openapi import Body
from iogate.effects.http import multipart
from iogate.effects.http.responses import TEXTUAL
from iogate.errors import WorkflowError


def encode(body: Body, value: Any) -> tuple[Any, str]:
    """What the client shall send, and under which Content-Type.

    Raises WorkflowError where the value is of no kind that the media type can carry.
    """
    try:
        return _encoded(body, value)
    except ValueError as fault:
        raise _unfit(str(fault)) from None


def _encoded(body: Body, value: Any) -> tuple[Any, str]:
    kind = body.media.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return (_json(value) if isinstance(value, str) else value), body.media
    if kind == multipart.MEDIA:
        return multipart.encode(_members(kind, value), body.fields)
    if kind == "application/x-www-form-urlencoded":
        return {name: _field(each) for name, each in _members(kind, value).items()}, kind
    if kind.startswith("text/") or kind.endswith("+xml") or kind in TEXTUAL:
        return (value if isinstance(value, str) else _json(value)), body.media
    return multipart.from_base64(value, f"a body of {kind}"), body.media


def _members(kind: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _unfit(f"a body of {kind} must be an object, its fields")
    return dict(value)


def _field(value: Any) -> Any:
    """Objects in a form are JSON, as OpenAPI 3 has it where an encoding says nothing else."""
    match value:
        case Mapping():
            return _json(value)
        case list():
            return [_json(each) if isinstance(each, Mapping | list) else each for each in value]
        case _:
            return value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _unfit(detail: str) -> WorkflowError:
    return WorkflowError("expression", title="OpenAPI call cannot be made", detail=detail)
