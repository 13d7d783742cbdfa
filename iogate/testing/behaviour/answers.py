"""Answers to the tasks of a replay: of a run as it was recorded, then of the old definition to the new one.

Used by `player`. Invariant: each answer is given once. A task of the new definition is matched with a task
of the old one by its place; else by an equal request; else, if its task has another name or place, by what it
calls. A task that is matched with none was never recorded, and ends the replay.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from iogate.testing.behaviour.places import Places, place_of
from iogate.worker.recording.recorded_tasks import RecordedTask
from iogate.worker.recording.recorder import static_pointer

Kind = Literal["effect", "child", "emit"]

NO_RECORD: Final = "no record"
TRUNCATED: Final = "truncated record"

_TARGET: Final = ("call", "run", "method", "url", "operation", "workflow", "image", "source")
"""Members of a request that say what it calls."""


class NotReplayable(Exception):
    """The record does not answer what a replay asks for; the text is the reason."""


class NeverRecorded(Exception):
    """The new definition asks for something that no record answers."""


@dataclass(eq=False, kw_only=True)
class Asked:
    """A request of a replay: an effect, a child workflow, or an emitted event."""

    kind: Kind
    reference: str
    request: Mapping[str, Any]
    awaited: bool = True
    answer: RecordedTask | None = None
    """None if the task got none before it was cancelled, or awaits none."""
    matched: Asked | None = None
    """The request of the old definition that stands for it."""

    @property
    def place(self) -> str:
        """Place of the task that asks for an answer, with the iterations around it."""
        return place_of(self.reference)

    @property
    def pointer(self) -> str:
        """Static pointer of the task that asks for an answer."""
        return static_pointer(self.reference)

    @property
    def target(self) -> Mapping[str, Any]:
        """Return the target of the request that a replay asks to be answered."""
        return {name: self.request[name] for name in _TARGET if name in self.request}


class RecordedAnswers:
    """Answers from the record of a run, in the order of the attempts of each task."""

    def __init__(self, record: Sequence[RecordedTask]) -> None:
        self._by_place: dict[tuple[str, str], deque[RecordedTask]] = {}
        for task in record:
            self._by_place.setdefault((task.kind, task.reference), deque()).append(task)
        self._incomplete = any(task.kind == "full" for task in record)
        self._any = any(task.kind in ("effect", "child") for task in record)
        self.left = sum(task.kind in ("effect", "child") for task in record)
        """Number of results that no task has asked for."""

    def find(self, asked: Asked) -> None:
        """Set the recorded answer of a request; it stays None for a task that never got one.

        Raises NotReplayable if the record lacks it.
        """
        waiting = self._by_place.get((asked.kind, asked.reference))
        if waiting:
            found = waiting.popleft()
            self.left -= 1
            if found.omitted:
                raise NotReplayable(TRUNCATED)
            asked.answer = found
        elif asked.awaited and asked.kind != "emit":
            if self._incomplete:
                raise NotReplayable(TRUNCATED)
            if not self._any:
                raise NotReplayable(NO_RECORD)


class EarlierAnswers:
    """Answers that the old definition got, for the new one."""

    def __init__(self, asked: Iterable[Asked], places: Places) -> None:
        self._left = {id(each): each for each in asked}
        self._index: dict[tuple[str, str, str], deque[Asked]] = {}
        """Requests by how they are found: their kind, and their place, content or target."""
        for each in self._left.values():
            self._add(each, "place", each.place)
            # Tasks that are still in the definition are found by their places only.
            if not places.has_outside(each.place):
                self._add(each, "content", _text(each.request))
                self._add(each, "target", _text(each.target))

    def _add(self, asked: Asked, how: str, text: str) -> None:
        self._index.setdefault((asked.kind, how, text), deque()).append(asked)

    def find(self, asked: Asked) -> None:
        """Find the matching request of the old definition, and set its answer.

        Raises NeverRecorded if there is none, and the task waits for an answer.
        """
        asked.matched = self._match(asked)
        if asked.matched is not None:
            del self._left[id(asked.matched)]
            asked.answer = asked.matched.answer
        elif asked.awaited and asked.kind != "emit":
            raise NeverRecorded

    @property
    def left(self) -> Sequence[Asked]:
        """Requests of the old definition whose answers the new one has not asked for."""
        return tuple(self._left.values())

    def _match(self, asked: Asked) -> Asked | None:
        found = self._take(asked, "place", asked.place) or self._take(asked, "content", _text(asked.request))
        if found is not None or asked.kind == "emit":
            return found
        return self._take(asked, "target", _text(asked.target))

    def _take(self, asked: Asked, how: str, text: str) -> Asked | None:
        waiting = self._index.get((asked.kind, how, text))
        while waiting:
            found = waiting.popleft()
            if id(found) in self._left:
                return found
        return None


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)
