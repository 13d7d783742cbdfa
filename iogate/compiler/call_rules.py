"""Compiled rules for the calls of an API: its idempotency.

Called by `compile`. Pure. Invariant: a rule that a document does not use is not part of the revision, so that
the digests of earlier releases stay valid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from iogate.compiler.revision import DEFAULT_HEADER, Idempotency

if TYPE_CHECKING:
    from iogate.documents.api import module


def compile_idempotency(declared: module.Idempotency | None) -> Idempotency:
    """Return the compiled form of `idempotency`."""
    if declared is None:
        return Idempotency()
    pointer = declared.pointer
    return Idempotency(
        header=declared.header or (DEFAULT_HEADER if pointer is None else None),
        ttl_s=declared.ttl,
        pointer=UNSET if pointer is None else pointer,
        required=True if declared.required else UNSET,
    )
