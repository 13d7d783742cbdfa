"""HTTP sinks of the settings, and the filters for their events.

Used by `commit_builder`, which fills their outboxes, and by `sink_delivery`, which empties them. Invariant:
an event that no sink wants is never built.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iogate.settings import Settings

STATUS_CHANGED = frozenset(
    f"io.serverlessworkflow.{subject}.status-changed.v1" for subject in ("workflow", "task")
)
"""Optional lifecycle events; each repeats information of another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """HTTP sink of the setting `events`."""

    name: str
    url: str
    headers: Mapping[str, Any]
    """Strings, or references that the secret store resolves."""
    emitted: bool
    """The sink gets events that workflows emit."""
    lifecycle: bool
    """The sink gets lifecycle events."""
    types: tuple[re.Pattern[str], ...]
    """Types of events that the sink gets; empty: all."""

    def wants(self, kind: str, *, lifecycle: bool) -> bool:
        """Tell whether the sink gets events of this type; optional ones only if its types name them."""
        if not (self.lifecycle if lifecycle else self.emitted):
            return False
        if self.types:
            return any(pattern.fullmatch(kind) for pattern in self.types)
        return not (lifecycle and kind in STATUS_CHANGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingEvent:
    """Encoded event for the sinks."""

    type: str
    data: bytes
    lifecycle: bool


class Sinks:
    """All configured sinks."""

    def __init__(self, sinks: Sequence[Sink] = ()) -> None:
        self.all = tuple(sinks)
        self.lifecycle = any(sink.lifecycle for sink in sinks)
        self.statuses = any(sink.wants(kind, lifecycle=True) for sink in sinks for kind in STATUS_CHANGED)

    def emitted(self, kind: str) -> bool:
        """Tell whether any sink gets emitted events of this type."""
        return any(sink.wants(kind, lifecycle=False) for sink in self.all)

    def outbox(self, events: Iterable[OutgoingEvent]) -> dict[str, list[bytes]]:
        """Return the events for each sink by its name, in order."""
        outbox: dict[str, list[bytes]] = {}
        for event in events:
            for sink in self.all:
                if sink.wants(event.type, lifecycle=event.lifecycle):
                    outbox.setdefault(sink.name, []).append(event.data)
        return outbox


def read_sinks(settings: Settings) -> Sinks:
    """Return the sinks of the setting `events`."""
    return Sinks(
        [
            Sink(
                name=name,
                url=given["url"],
                headers=given.get("headers", {}),
                emitted=given.get("emitted", True),
                lifecycle=given.get("lifecycle", False),
                types=tuple(re.compile(text) for text in given.get("types", ())),
            )
            for name, given in (settings.events.get("sinks") or {}).items()
        ]
    )
