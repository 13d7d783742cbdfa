"""How a body is written in the media type that its operation takes. Used by `request`.

Text goes as it is in textual types; in all others a text is Base64, as `output: raw` gives it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from iogate.compiler.openapi import Body
from iogate.effects.responses import TEXTUAL
from iogate.errors import WorkflowError


def encode(body: Body, value: Any) -> tuple[Any, str]:
    """What the client shall send, and under which Content-Type.

    Raises WorkflowError where the value is of no kind that the media type can carry.
    """
    kind = body.media.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return (_json(value) if isinstance(value, str) else value), body.media
    if kind == "multipart/form-data":
        return _multipart(body, _members(kind, value))
    if kind == "application/x-www-form-urlencoded":
        return _members(kind, value), kind
    if kind.startswith("text/") or kind.endswith("+xml") or kind in TEXTUAL:
        return (value if isinstance(value, str) else _json(value)), body.media
    return _bytes(value, f"a body of {kind}"), body.media


def _members(kind: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _unfit(f"a body of {kind} must be an object, its fields")
    return dict(value)


def _multipart(body: Body, members: Mapping[str, Any]) -> tuple[bytes, str]:
    parts = [
        _part(name, each, body.fields.get(name, ""))
        for name, value in members.items()
        for each in (value if isinstance(value, list) else [value])
        if each is not None
    ]
    # Equal bodies have equal boundaries: a repeated call is the same call, byte for byte.
    boundary = b"iogate-" + hashlib.sha256(b"".join(parts)).hexdigest()[:32].encode()
    written = b"".join(b"--" + boundary + b"\r\n" + part for part in parts)
    return written + b"--" + boundary + b"--\r\n", f"multipart/form-data; boundary={boundary.decode()}"


def _part(name: str, value: Any, media: str) -> bytes:
    quoted = name.replace("\\", "\\\\").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head = f'Content-Disposition: form-data; name="{quoted}"'
    textual = media.startswith("text/") or media.endswith(("json", "xml"))
    if media and not textual:
        data = _bytes(value, f'field "{name}"')
        head += f'; filename="{quoted}"\r\nContent-Type: {media}'
    elif isinstance(value, Mapping | list) or media.endswith("json"):
        data = _json(value).encode()
        head += f"\r\nContent-Type: {media or 'application/json'}"
    else:
        data = (value if isinstance(value, str) else _json(value)).encode()
        head += f"\r\nContent-Type: {media}" if media else ""
    return head.encode() + b"\r\n\r\n" + data + b"\r\n"


def _bytes(value: Any, what: str) -> bytes:
    try:
        return base64.b64decode(value if isinstance(value, str) else b"?", validate=True)
    except (binascii.Error, ValueError):
        raise _unfit(f"{what} is not text, so it must be given in Base64") from None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _unfit(detail: str) -> WorkflowError:
    return WorkflowError("expression", title="OpenAPI call cannot be made", detail=detail)
