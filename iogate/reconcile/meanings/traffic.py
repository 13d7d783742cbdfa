"""Meanings of the changes of the rules for traffic: rate by caller, keys, a full queue, coalescing.

Called by apis. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from iogate.compiler.revision import Api, Coalesce, Limits
from iogate.reconcile.document_form import rate_words
from iogate.reconcile.meanings.change_kinds import Meaning
from iogate.timing.durations import format_seconds


def meanings(before: Api, after: Api) -> Iterator[Meaning]:
    """Yield the meanings of changed rules for traffic between two forms of an API."""
    yield from _concurrency(before, after)
    yield from _queue(before, after)
    yield from _coalesce(before.coalesces, after.coalesces)


def limit_meaning(name: str, old: str | None, new: str | None, *, raised: bool) -> Meaning:
    """Return the meaning of a changed limit of traffic with its values as text; None: there is no limit."""
    pointer, label = f"/limits/{name}", f"limits.{name}"
    if old is None:
        return Meaning(kind="limit.added", text=f"{label} added ({new})", pointer=pointer)
    if new is None:
        return Meaning(kind="limit.removed", text=f"{label} removed (was {old})", pointer=pointer)
    word = "raised" if raised else "lowered"
    return Meaning(kind=f"limit.{word}", text=f"{label} {word} ({old} → {new})", pointer=pointer)


def rate_meanings(before: Limits, after: Limits) -> Iterator[Meaning]:
    """Yield the meanings of a changed rate of traffic, and of what it counts by."""
    old, new = before.rate, after.rate
    if old is not None and new is not None:
        if old != new:
            yield limit_meaning("rate", *rate_words(old, new), raised=new > old)
        yield from _counted_by(before.counted_by, after.counted_by, new)
        return
    if old is not None or new is not None:
        texts = (None if each is None else rate_words(each)[0] for each in (old, new))
        yield limit_meaning("rate", *texts, raised=False)
    if before.counted_by != after.counted_by:
        text = f"limits.rate {_COUNTED[after.counted_by]}"
        yield Meaning(kind="limit.counted", text=text, pointer="/limits/per")


_COUNTED: Final = {
    "api": "is that of all calls together",
    "caller": "is that of each caller",
    "address": "is that of each client address",
}


def _counted_by(old: str, new: str, rate: float) -> Iterator[Meaning]:
    if old != new:
        # Each caller gets the whole rate, instead of a share of it.
        kind = "limit.raised" if old == "api" else "limit.lowered" if new == "api" else "limit.counted"
        was = _COUNTED[old].removeprefix("is ")
        text = f"limits.rate ({rate_words(rate)[0]}) {_COUNTED[new]}, no longer {was}"
        yield Meaning(kind=kind, text=text, pointer="/limits/per")


def _concurrency(before: Api, after: Api) -> Iterator[Meaning]:
    old, new = before.limits.of_key, after.limits.of_key
    pointer, label = "/limits/concurrency", "limits.concurrency"
    if old == new:
        return
    if old is None and new is not None:
        text = (
            f"{label} added: at most {new.limit} of the runs with an equal {new.key} at once; the others wait"
        )
        yield Meaning(kind="limit.added", text=text, pointer=pointer)
    elif new is None and old is not None:
        text = f"{label} removed: runs with an equal {old.key} do not wait for each other any more"
        yield Meaning(kind="limit.removed", text=text, pointer=pointer)
    elif old is not None and new is not None:
        if old.key != new.key:
            text = f"key of {label} changed ({old.key} → {new.key}), of new runs"
            yield Meaning(kind="limit.counted", text=text, pointer=f"{pointer}/key")
        if old.limit != new.limit:
            word = "lowered" if new.limit < old.limit else "raised"
            text = f"{label}.limit {word} ({old.limit} → {new.limit})"
            yield Meaning(kind=f"limit.{word}", text=text, pointer=f"{pointer}/limit")


def _queue(before: Api, after: Api) -> Iterator[Meaning]:
    old, new = before.limits, after.limits
    if old.replaces != new.replaces:
        text = (
            "a full queue cancels its oldest run, instead of refusing a call"
            if new.replaces
            else "a full queue refuses a call, instead of cancelling its oldest run"
        )
        yield Meaning(kind="limit.full", text=text, pointer="/limits/on_full")
    if old.rank != new.rank:
        word = "raised" if new.rank > old.rank else "lowered"
        text = f"priority {word} ({old.rank} → {new.rank})"
        yield Meaning(kind="limit.priority", text=text, pointer="/limits/priority")


def _coalesce(old: Coalesce | None, new: Coalesce | None) -> Iterator[Meaning]:
    if old == new:
        return
    if old is None and new is not None:
        window = format_seconds(new.window_s)
        text = f"coalesce added: calls with an equal {new.key} within {window} become one run"
        yield Meaning(kind="coalesce.added", text=text, pointer="/coalesce")
    elif new is None and old is not None:
        text = f"coalesce removed: each call with an equal {old.key} starts a run"
        yield Meaning(kind="coalesce.removed", text=text, pointer="/coalesce")
    elif old is not None and new is not None:
        shown = (
            ("key", old.key, new.key),
            ("window", format_seconds(old.window_s), format_seconds(new.window_s)),
            ("max", format_seconds(old.max_s), format_seconds(new.max_s)),
        )
        for name, was, is_ in shown:
            if was != is_:
                text = f"coalesce.{name} changed ({was} → {is_})"
                yield Meaning(kind="coalesce.changed", text=text, pointer=f"/coalesce/{name}")
