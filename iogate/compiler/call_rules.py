"""Compiled rules for the calls of an API: limits, files, coalescing and idempotency.

Called by `compile`. Pure. Invariant: a rule that a document does not use is not part of the revision, so that
the digests of earlier releases stay valid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import UNSET, UnsetType

from iogate.compiler.revision import (
    DEFAULT_HEADER,
    PRIORITY,
    Coalesce,
    Concurrency,
    Files,
    Idempotency,
    Limits,
)

if TYPE_CHECKING:
    from iogate.documents.api import Input, module

WINDOWS: Final = 10
"""Number of windows after which a coalesced run starts at the latest, without `max`."""
TOTAL_FILES: Final = 16 * 1024 * 1024
"""Largest size of all files of a call, in bytes, without `total`."""


def compile_idempotency(declared: module.Idempotency | None) -> Idempotency:
    """Compile `idempotency` of an API to a rule for its calls."""
    if declared is None:
        return Idempotency()
    pointer = declared.pointer
    return Idempotency(
        header=declared.header or (DEFAULT_HEADER if pointer is None else None),
        ttl_s=declared.ttl,
        pointer=UNSET if pointer is None else pointer,
        required=True if declared.required else UNSET,
    )


def compile_limits(declared: module.Limits | None) -> Limits:
    """Compile `limits` of an API to rules for its calls."""
    if declared is None:
        return Limits()
    return Limits(
        body=declared.body,
        rate=declared.rate,
        burst=declared.burst,
        queued=declared.queued,
        running=declared.running,
        per=UNSET if declared.per == "api" else declared.per,
        concurrency=UNSET
        if declared.concurrency is None
        else Concurrency(key=declared.concurrency.key, limit=declared.concurrency.limit),
        on_full=UNSET if declared.on_full == "reject" else declared.on_full,
        priority=UNSET if declared.priority == PRIORITY else declared.priority,
    )


def compile_files(declared: Input | None) -> Files | UnsetType:
    """Compile `input.files` of an API to rules for the files of its calls."""
    files = None if declared is None else declared.files
    if files is None:
        return UNSET
    total = max(TOTAL_FILES, files.size) if files.total is None else files.total
    return Files(size=files.size, total=total, count=files.count)


def compile_coalesce(declared: module.Coalesce | None) -> Coalesce | UnsetType:
    """Compile `coalesce` of an API to a rule for its calls."""
    if declared is None:
        return UNSET
    longest_s = WINDOWS * declared.window if declared.max is None else declared.max
    return Coalesce(key=declared.key, window_s=declared.window, max_s=longest_s)
