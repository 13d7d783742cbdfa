"""Compression of large JSON values with zlib, to a tenth to a third of their size.

Used for inputs, outputs and the values of a run's state. Invariant: uncompressed values of earlier releases
are readable, because no JSON begins with the first byte of zlib's format.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

LARGE: Final = 64 * 1024
"""Minimum size of a value that is compressed, in bytes."""
COMPRESSED_MOST: Final = 8 * 1024**2
"""Maximum size of a value that is compressed; compression blocks the process."""
_MARK = b"x"


def deflate(value: bytes) -> bytes:
    """Return the stored form of JSON: compressed if it is large and gets smaller."""
    if not LARGE <= len(value) <= COMPRESSED_MOST:
        return value
    compressed = zlib.compress(value, 1)
    return compressed if len(compressed) < len(value) else value


def inflate(stored: bytes) -> bytes:
    """Return the JSON of a stored value, decompressed if it was compressed.

    Raises ValueError for invalid data, or data of more than COMPRESSED_MOST bytes.
    """
    if not stored.startswith(_MARK):
        return stored
    reader = zlib.decompressobj()
    try:
        value = reader.decompress(stored, COMPRESSED_MOST + 1)
    except zlib.error as error:
        raise ValueError(f"a compressed value is broken: {error}") from None
    if not reader.eof or len(value) > COMPRESSED_MOST:
        raise ValueError("a compressed value is truncated or too large")
    return value


def deflate_all(values: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: deflate(value) for name, value in values.items()}
