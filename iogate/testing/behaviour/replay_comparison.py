"""Comparison of two replays of a run: findings, each at a task.

Called by `replays`. Pure. Invariants: equal replays have no findings; a finding contains no data of a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final, Literal, get_args

from iogate.json_values import is_same
from iogate.testing.behaviour.answers import Asked, EarlierAnswers
from iogate.testing.behaviour.divergence import Divergence
from iogate.testing.behaviour.places import Places, common_places, place_of
from iogate.testing.behaviour.player import Played

FindingKind = Literal[
    "branch", "fault", "recovery", "request", "unrecorded", "missing", "order", "wait", "stuck", "output"
]

_PARTS: Final = {
    # member of a request: its name for people
    "call": "function",
    "run": "kind of process",
    "method": "method",
    "url": "URL",
    "query": "query",
    "headers": "headers",
    "authentication": "authentication",
    "body": "body",
    "operation": "operation",
    "document": "document",
    "parameters": "parameters",
    "arguments": "arguments",
    "language": "language",
    "code": "code",
    "source": "script",
    "stdin": "standard input",
    "environment": "environment",
    "image": "image",
    "command": "command",
    "ports": "ports",
    "volumes": "volumes",
    "workflow": "workflow",
    "input": "input",
    "emit": "event",
}


KINDS: Final[tuple[FindingKind, ...]] = get_args(FindingKind)
"""Kinds of findings, the ones to look at first in front."""


@dataclass(frozen=True, kw_only=True, order=True)
class Finding:
    """Difference in behaviour, at a task."""

    kind: FindingKind
    pointer: str
    """In the new definition; in the old one if only that has the task."""
    before: str = ""
    """Pointer of the task in the old definition, if it differs."""
    detail: str = ""
    """Part of a request, type of an error."""


def compare(
    old: Played, new: Played, before: Places, after: Places, answers: EarlierAnswers
) -> tuple[Finding, ...]:
    """Compare two replays; return the findings of a run; `answers` are those that the new definition got."""
    return tuple(dict.fromkeys(_Comparison(old, new, before, after, answers).findings()))


class _Comparison:
    def __init__(
        self, old: Played, new: Played, before: Places, after: Places, answers: EarlierAnswers
    ) -> None:
        self._old, self._new = old, new
        self._before, self._after = before, after
        self._answers = answers
        self._common = common_places(before, after)
        alike = old.status == new.status and (
            new.status != "faulted" or self._fails_alike(old.error, new.error)
        )
        self._divergence = Divergence(old, new, before, after, alike=alike)

    def findings(self) -> Iterator[Finding]:
        """Yield the differences between two replays: branches, then requests, then ends."""
        branch = self._divergence.branch()
        if branch is not None:
            yield self._at(branch, "branch")
        yield from self._requests()
        if self._new.stopped_at is not None:
            yield self._at(self._new.stopped_at.pointer, "unrecorded")
        ends = tuple(self._ends())
        if (
            branch is None
            and self._new.stopped_at is None
            and not any(each.kind != "recovery" for each in ends)
        ):
            yield from self._missing()
            yield from self._order()
        if branch is None and self._divergence.alike:
            yield from self._waits()
        yield from ends
        completed = self._old.status == self._new.status == "completed"
        if branch is None and completed and not is_same(self._old.output, self._new.output):
            yield self._at(self._divergence.data(), "output")

    def _at(self, pointer: str, kind: FindingKind, *, before: str = "", detail: str = "") -> Finding:
        """Return a finding of the comparison of two replays, at a task of the new definition or the old one.

        Pointers of the finding resolve in that definition.
        """
        now = self._after.document_pointer(pointer) or self._before.document_pointer(pointer) or pointer
        was = self._before.document_pointer(before or pointer) or ""
        return Finding(kind=kind, pointer=now, before="" if was == now else was, detail=detail)

    def _requests(self) -> Iterator[Finding]:
        for asked in self._new.asked:
            was = asked.matched
            if was is None:
                yield self._at(asked.pointer, "unrecorded")
            elif not is_same(was.request, asked.request):
                for part in _different_parts(was.request, asked.request):
                    yield self._at(asked.pointer, "request", before=was.pointer, detail=part)

    def _missing(self) -> Iterator[Finding]:
        for asked in self._answers.left:
            pointer = self._after.pointer(place_of(asked.pointer))
            yield self._at(pointer or asked.pointer, "missing")

    def _order(self) -> Iterator[Finding]:
        """Yield the first request that one replay makes earlier or later than the other in a list."""
        order = {id(asked): number for number, asked in enumerate(self._old.asked)}
        latest: dict[str, int] = {}
        for asked in self._new.asked:
            if asked.matched is None:
                continue
            scope = _list_of(asked)
            number = order[id(asked.matched)]
            if number < latest.get(scope, -1):
                yield self._at(asked.pointer, "order", before=asked.matched.pointer)
                return
            latest[scope] = number

    def _waits(self) -> Iterator[Finding]:
        old, new = _delays(self._old), _delays(self._new)
        # Iterations of a parallel loop reach their waits in any order.
        for place in _in_parallel_loops(self._old, self._new):
            for each in (old, new):
                each.get(place, []).sort()
        for place in {**new, **old}.keys() & self._common:
            # Both reach the task equally often; a wait that is over at once has no note.
            was, now = old.pop(place, []), new.pop(place, [])
            if any(a != b for a, b in zip_longest(was, now, fillvalue=0)):
                yield self._at(self._after.tasks[place].pointer, "wait")
        gone = [(delay, self._before.tasks[place].pointer) for place, each in old.items() for delay in each]
        for place, delays in new.items():
            for delay in delays:
                known = next((each for each in gone if each[0] == delay), None)
                if known is None:
                    yield self._at(self._after.tasks[place].pointer, "wait")
                else:  # under another name
                    gone.remove(known)
        for _, pointer in gone:
            yield self._at(pointer, "wait")

    def _ends(self) -> Iterator[Finding]:
        old, new = self._old, self._new
        match new.status:
            case "faulted":
                pointer = str(new.error.get("instance") or "/")
                if old.status != "faulted" or not self._fails_alike(old.error, new.error):
                    yield self._at(pointer, "fault", detail=_error_name(new.error))
            case "waiting" if old.status != "waiting":
                yield self._at(new.waits_at or "/", "stuck")
            case "completed" if old.status == "faulted":
                pointer = str(old.error.get("instance") or "/")
                yield self._at(self._after.pointer(place_of(pointer)) or pointer, "recovery")
            case _:
                pass

    def _fails_alike(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
        place = place_of(str(new.get("instance") or "/"))
        if place_of(str(old.get("instance") or "/")) != place and place in self._common:
            return False
        task = self._after.tasks.get(place)
        members = (
            ("type", "status", "title", "detail")
            if task is not None and task.kind == "raise"
            else ("type", "status")
        )
        return all(old.get(name) == new.get(name) for name in members)


def _different_parts(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    names = [name for name in _PARTS if not is_same(old.get(name), new.get(name))]
    return [_PARTS[name] for name in names] or ["content"]


def _list_of(asked: Asked) -> str:
    return asked.place.rpartition("/")[0]


def _delays(played: Played) -> dict[str, list[int]]:
    """Return the delays of waits and retries of a replay, to compare them by the place of the task."""
    delays: dict[str, list[int]] = {}
    for note in played.notes:
        due_ms = note.detail.get("due_ms") if note.detail else None
        if isinstance(due_ms, int) and note.kind in ("task.waiting", "task.retried"):
            delays.setdefault(place_of(note.reference), []).append(due_ms - note.at_ms)
    return delays


def _in_parallel_loops(*plays: Played) -> set[str]:
    """Return the places of replayed tasks in parallel loops, whose notes name the iteration."""
    return {
        place_of(note.reference)
        for played in plays
        for note in played.notes
        if note.detail and "iteration" in note.detail and note.kind != "task.recorded"
    }


def _error_name(error: Mapping[str, Any]) -> str:
    """Return the last part of the type of an error of a replay, to compare it."""
    return str(error.get("type") or "runtime").rstrip("/").rpartition("/")[2]
