"""Index of subscriptions, so that an event is checked against few of them.

Built by `matcher` for the subscriptions of a batch. Invariant: a subscription that is not a candidate cannot
match the event; a filter without an index key is a candidate for every event of its type.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from iogate.engine.event_prefilter import event_type, index_key, may_match, text_at
from iogate.store.events.bus import Subscription
from iogate.store.state_codec import decode

log = logging.getLogger(__name__)

_Filter = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class IndexedFilter:
    """Filter of a subscription."""

    subscription: Subscription
    wanted: _Filter | None
    """None if it cannot be read: then it matches every event."""


@dataclass(slots=True)
class _TypeIndex:
    """Filters for one type of events."""

    by_key: dict[str, dict[str, list[IndexedFilter]]] = field(default_factory=dict)
    """Filters by path in the event, then by the text there."""
    others: list[IndexedFilter] = field(default_factory=list)


class SubscriptionIndex:
    """Filters of subscriptions by event type and index key."""

    def __init__(self) -> None:
        self._types: dict[str, _TypeIndex] = {}

    def add(self, subscription: Subscription) -> None:
        filters = _filters(subscription.filters)
        for wanted in (None,) if filters is None else filters:
            self._put(IndexedFilter(subscription, wanted))

    def candidates(self, event: Mapping[str, Any]) -> Iterator[IndexedFilter]:
        """Yield the filters of the index that may match the event; a subscription may occur twice."""
        kind = event.get("type")
        for of_type in (self._types.get(kind) if isinstance(kind, str) else None, self._types.get("")):
            if of_type is None:
                continue
            for place, entries in of_type.by_key.items():
                text = text_at(place, event)
                if text is not None:
                    yield from (entry for entry in entries.get(text, ()) if _may_match(entry, event))
            yield from (entry for entry in of_type.others if _may_match(entry, event))

    def _put(self, entry: IndexedFilter) -> None:
        kind, key = "", None
        if entry.wanted is not None:
            try:
                kind, key = event_type(entry.wanted), index_key(entry.wanted)
            except Exception:
                log.exception(
                    "failed to index an event filter; it is checked for every event",
                    extra={"action": "filter.doubtful"},
                )
        of_type = self._types.setdefault(kind, _TypeIndex())
        if key is None:
            of_type.others.append(entry)
        else:
            place, text = key
            of_type.by_key.setdefault(place, {}).setdefault(text, []).append(entry)


def _filters(data: bytes) -> Sequence[_Filter] | None:
    try:
        filters = decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return (
        filters if isinstance(filters, list) and all(isinstance(each, Mapping) for each in filters) else None
    )


def _may_match(entry: IndexedFilter, event: Mapping[str, Any]) -> bool:
    if entry.wanted is None:
        return True
    try:
        return may_match(entry.wanted, event)
    except Exception:
        log.exception(
            "failed to evaluate an event filter; the event is delivered", extra={"action": "filter.doubtful"}
        )
        return True
