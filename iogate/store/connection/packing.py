"""MessagePack for the Lua of Redis, which knows strings but no binary type.

Used by all modules that pass structured arguments to scripts. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

_encoder = msgspec.msgpack.Encoder()


def encode(value: Any) -> bytes:
    return _encoder.encode(value)


def text(data: bytes) -> msgspec.Raw:
    """Encode bytes as a MessagePack string for Lua, also if they are not UTF-8."""
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
    """Return the bytes of a MessagePack string from Lua."""
    data = bytes(raw)
    return data[{0xD9: 2, 0xDA: 3, 0xDB: 5}.get(data[0], 1) :]


def flat(values: Mapping[str, bytes]) -> list[str | msgspec.Raw]:
    """Pack values for Lua as alternating names and values, the form of the arguments of HSET."""
    return [part for name, data in values.items() for part in (name, text(data))]
