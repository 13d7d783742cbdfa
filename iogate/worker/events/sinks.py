"""The HTTP sinks that the settings name, and which events each of them wants.

Used by `run`, which fills their outboxes with each commit, and by `delivery`, which empties them.
Invariant: what no sink wants is not even built.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iogate.settings import Settings

STATUS_CHANGED = frozenset(
    f"io.serverlessworkflow.{whose}.status-changed.v1" for whose in ("workflow", "task")
)
"""Optional events of the lifecycle: each repeats what another one tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    name: str
    url: str
    headers: Mapping[str, Any]
    """Texts, and references to secrets, resolved by the secret store."""
    emitted: bool
    """It gets what workflows emit."""
    lifecycle: bool
    """It gets what becomes of workflows and tasks."""
    types: tuple[re.Pattern[str], ...]
    """It gets events of these types only; none: of all."""

    def wants(self, kind: str, *, lifecycle: bool) -> bool:
        """Whether it gets events of this type; of the optional ones only where its types say so."""
        if not (self.lifecycle if lifecycle else self.emitted):
            return False
        if self.types:
            return any(pattern.fullmatch(kind) for pattern in self.types)
        return not (lifecycle and kind in STATUS_CHANGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingEvent:
    """An event on its way out."""

    type: str
    data: bytes
    lifecycle: bool


class Sinks:
    def __init__(self, sinks: Sequence[Sink] = ()) -> None:
        self.all = tuple(sinks)
        self.lifecycle = any(sink.lifecycle for sink in sinks)
        self.statuses = any(sink.wants(kind, lifecycle=True) for sink in sinks for kind in STATUS_CHANGED)

    def emitted(self, kind: str) -> bool:
        """Whether an event of this type that a workflow emits leaves for any sink."""
        return any(sink.wants(kind, lifecycle=False) for sink in self.all)

    def outbox(self, events: Iterable[OutgoingEvent]) -> dict[str, list[bytes]]:
        """What each sink gets, in order."""
        outbox: dict[str, list[bytes]] = {}
        for event in events:
            for sink in self.all:
                if sink.wants(event.type, lifecycle=event.lifecycle):
                    outbox.setdefault(sink.name, []).append(event.data)
        return outbox


def read_sinks(settings: Settings) -> Sinks:
    """The sinks of the setting `events`."""
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
