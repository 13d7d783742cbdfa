"""Encodes fields as `multipart/form-data` (RFC 7578). Used by `request` and `openapi`.

Text is sent unchanged, objects and arrays as JSON; bytes must be given in Base64, as from `output: raw`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from iogate.json_values import to_json, to_text

MEDIA_TYPE: Final = "multipart/form-data"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContent:
    """A file of the run, in place of the data that refers to it."""

    filename: str
    content_type: str
    data: bytes


def encode(members: Mapping[str, Any], media: Mapping[str, str] | None = None) -> tuple[bytes, str]:
    """Encode fields as a multipart body; return it with its Content-Type.

    A list becomes a field for each item, null no field.

    Raises ValueError for a field of bytes that is not in Base64.
    """
    known = media or {}
    parts = [
        _encode_part(name, each, known.get(name, ""))
        for name, value in members.items()
        for each in (value if isinstance(value, list) else [value])
        if each is not None
    ]
    # Equal bodies have equal boundaries: a repeated call is the same call, byte for byte.
    boundary = b"iogate-" + hashlib.sha256(b"".join(parts)).hexdigest()[:32].encode()
    written = b"".join(b"--" + boundary + b"\r\n" + part for part in parts)
    return written + b"--" + boundary + b"--\r\n", f"{MEDIA_TYPE}; boundary={boundary.decode()}"


def decode_base64(value: Any, subject: str) -> bytes:
    """Decode the Base64 of a part of a multipart body, or of another `subject` as messages call it.

    Raises ValueError for text that is not Base64.
    """
    try:
        return base64.b64decode(value if isinstance(value, str) else b"?", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{subject} is not text, so it must be given in Base64") from None


def _encode_part(name: str, value: Any, media: str) -> bytes:
    quoted = _quoted(name)
    head = f'Content-Disposition: form-data; name="{quoted}"'
    if isinstance(value, FileContent):
        return _encode_file(head, value)
    textual = media.startswith("text/") or media.endswith(("json", "xml"))
    if media and not textual:
        data = decode_base64(value, f'field "{name}"')
        head += f'; filename="{quoted}"\r\nContent-Type: {media}'
    elif isinstance(value, Mapping | list) or media.endswith("json"):
        data = to_json(value).encode()
        head += f"\r\nContent-Type: {media or 'application/json'}"
    else:
        data = to_text(value).encode()
        head += f"\r\nContent-Type: {media}" if media else ""
    return head.encode() + b"\r\n\r\n" + data + b"\r\n"


def _encode_file(head: str, file: FileContent) -> bytes:
    head += f'; filename="{_quoted(file.filename)}"\r\nContent-Type: {file.content_type}'
    return head.encode() + b"\r\n\r\n" + file.data + b"\r\n"


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
