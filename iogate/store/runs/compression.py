"""Large values as they are stored: JSON deflated, a tenth to a third of its size.

Used by what writes and reads inputs, outputs and the values of a run's state. Invariant: what an earlier
release stored is read as it is, since no JSON begins as zlib's format does.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

LARGE: Final = 64 * 1024
"""Bytes from which a value is compressed."""
COMPRESSED_MOST: Final = 8 * 1024**2
"""Larger ones are stored as they are: the process that writes them does nothing else meanwhile."""
_MARK = b"x"


def deflate(value: bytes) -> bytes:
    """Return JSON as it is stored: compressed if it is large and gets smaller."""
    if not LARGE <= len(value) <= COMPRESSED_MOST:
        return value
    compressed = zlib.compress(value, 1)
    return compressed if len(compressed) < len(value) else value


def inflate(stored: bytes) -> bytes:
    """Return the JSON of what is stored.

    Raises ValueError for what no release wrote: at most COMPRESSED_MOST bytes were compressed.
    """
    if not stored.startswith(_MARK):
        return stored
    reader = zlib.decompressobj()
    try:
        value = reader.decompress(stored, COMPRESSED_MOST + 1)
    except zlib.error as error:
        raise ValueError(f"a compressed value is broken: {error}") from None
    if not reader.eof or len(value) > COMPRESSED_MOST:
        raise ValueError("a compressed value is cut, or too large")
    return value


def deflate_all(values: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: deflate(value) for name, value in values.items()}
