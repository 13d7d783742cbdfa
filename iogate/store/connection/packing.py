"""MessagePack as Redis's Lua reads it: strings only, no binary type.

Used by what sends scripts their arguments. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

_encoder = msgspec.msgpack.Encoder()


def encode(value: Any) -> bytes:
    return _encoder.encode(value)


def text(data: bytes) -> msgspec.Raw:
    """Bytes as a string, whatever they hold."""
    size = len(data)
    if size < 32:
        head = bytes((0xA0 | size,))
    elif size < 256:
        head = bytes((0xD9, size))
    elif size < 65_536:
        head = b"\xda" + size.to_bytes(2, "big")
    else:
        head = b"\xdb" + size.to_bytes(4, "big")
    return msgspec.Raw(head + data)


def bytes_of(raw: msgspec.Raw) -> bytes:
    """What `text` and Redis's Lua pack as a string."""
    data = bytes(raw)
    return data[{0xD9: 2, 0xDA: 3, 0xDB: 5}.get(data[0], 1) :]


def flat(values: Mapping[str, bytes]) -> list[str | msgspec.Raw]:
    """Names and values in turn, as HSET takes them."""
    return [part for name, data in values.items() for part in (name, text(data))]
