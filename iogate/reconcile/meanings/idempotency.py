"""Meanings of the changes of `idempotency`.

Called by apis. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from iogate.compiler.revision import Idempotency
from iogate.reconcile.meanings.change_kinds import Meaning
from iogate.timing.durations import format_seconds


def meanings(old: Idempotency, new: Idempotency) -> Iterator[Meaning]:
    """Yield the meanings of the differences between two forms of `idempotency`."""
    yield from _header(old.header, new.header)
    yield from _pointer(old, new)
    if old.is_required != new.is_required:
        if new.is_required:
            text = "idempotency key required: a call without one is refused"
            yield Meaning(kind="idempotency.required", text=text, pointer="/idempotency/required")
        else:
            text = "idempotency key optional: a call without one starts a run each time"
            yield Meaning(kind="idempotency.optional", text=text, pointer="/idempotency/required")
    if old.ttl_s != new.ttl_s:
        word = "shortened" if new.ttl_s < old.ttl_s else "lengthened"
        text = f"idempotency ttl {word} ({format_seconds(old.ttl_s)} → {format_seconds(new.ttl_s)})"
        yield Meaning(kind=f"idempotency.{word}", text=text, pointer="/idempotency/ttl")


def _header(old: str | None, new: str | None) -> Iterator[Meaning]:
    pointer = "/idempotency/header"
    if old == new:
        return
    if old is None or new is None:
        text = (
            f"idempotency header {new} added: it has precedence over the pointer"
            if old is None
            else f"idempotency header {old} removed: it has no effect any more"
        )
        yield Meaning(kind="idempotency.header", text=text, pointer=pointer)
    elif old.lower() != new.lower():
        text = f"idempotency header changed ({old} → {new}): the old header has no effect"
        yield Meaning(kind="idempotency.header", text=text, pointer=pointer)
    else:
        text = f"letter case of the idempotency header changed ({old} → {new})"
        yield Meaning(kind="api.changed", text=text, pointer=pointer)


def _pointer(old: Idempotency, new: Idempotency) -> Iterator[Meaning]:
    before, after = old.key_pointer, new.key_pointer
    if before == after:
        return
    if before is None:
        text = (
            f"idempotency pointer {after} added: calls with an equal value there and another input get a 422"
        )
    elif after is None:
        text = f"idempotency pointer {before} removed: each call starts a run, unless a header has its key"
    else:
        text = f"idempotency pointer changed ({before} → {after})"
    yield Meaning(kind="idempotency.pointer", text=text, pointer="/idempotency/pointer")
