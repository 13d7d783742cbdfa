"""Divergence of two replays: the first task of another branch, and of other data.

Used by `replay_comparison`. Pure. Invariant: a task counts only if both definitions have one of its kind at
its place, so that tasks that were added, removed, renamed or split do not diverge themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest

from iogate.json_values import is_same
from iogate.testing.behaviour.places import Places, common_places
from iogate.testing.behaviour.player import Played
from iogate.testing.behaviour.trace import Visit

_Scopes = dict[str, list[Visit]]


class Divergence:
    """Two replays of one run, with the definitions that they played."""

    def __init__(self, old: Played, new: Played, before: Places, after: Places, *, alike: bool) -> None:
        """Compare two replays for a divergence; `alike`: they end in the same way, neither was cut short."""
        self._old, self._new = old, new
        self.alike = alike
        self._before, self._after = before, after
        self._common = common_places(before, after)
        started = [
            {each.static for each in played.visits if each.outcome == "started"} for played in (old, new)
        ]
        self._started_in_both = started[0] & started[1]

    def branch(self) -> str | None:
        """Return the pointer of the task after which two replays diverge in their tasks; None if they do not.

        It is a pointer of the new definition, or of the old one if only that has the task.
        """
        old, new = _by_scope(self._old.visits), _by_scope(self._new.visits)
        for scope in {**new, **old}:
            if scope in old and scope in new:
                found = self._in_scope(old[scope], new[scope])
            else:
                inner = (new if scope in new else old)[scope][0]
                found = self._only_once(inner, in_new=scope in new)
            if found is not None:
                return found
        return None

    def _in_scope(self, old: list[Visit], new: list[Visit]) -> str | None:
        first, second = self._started(old), self._started(new)
        if Counter(each.static for each in first) == Counter(each.static for each in second):
            return None  # at most in another order
        for number, (was, now) in enumerate(zip_longest(first, second)):
            if was is not None and now is not None and was.static == now.static:
                continue
            if (now is None and self._is_cut(self._new)) or (was is None and self._is_cut(self._old)):
                return None  # the end of the replay says why
            before = second[number - 1] if number else None
            return self._responsible(before, was, now, old, new)
        return None

    def _started(self, visits: list[Visit]) -> list[Visit]:
        return [each for each in visits if each.outcome == "started" and each.static in self._common]

    def _responsible(
        self, before: Visit | None, was: Visit | None, now: Visit | None, old: list[Visit], new: list[Visit]
    ) -> str:
        """Return the task where replays diverge: one that was skipped, a switch, one with another `then`."""
        for missed, visits in ((was, new), (now, old)):
            if missed is not None:
                skipped = (each for each in visits if each.outcome == "skipped")
                if any(each.static == missed.static for each in skipped):
                    return self._pointer(missed.static)
        if before is not None and self._after.tasks[before.static].kind == "switch":
            return before.pointer
        start = 0 if before is None else new.index(before) + 1
        for each in new[start:]:
            if each is now:
                break
            if each.static and each.static not in self._common and self._kind(each) == "switch":
                return each.pointer
        if before is not None and self._then(self._before, before) != self._then(self._after, before):
            return before.pointer
        reached = now or was
        assert reached is not None
        owner = self._owner(reached.static)
        if before is not None and owner is not None and self._after.tasks[owner].kind == "try":
            first = new[0] if new and new[0].static else old[0]
            if reached.static == first.static:
                return self._pointer(owner)  # another number of attempts
        return self._pointer(reached.static)

    def _owner(self, static: str) -> str | None:
        """Return the place of the task around a task where replays diverge."""
        around = (place for place in self._common if static.startswith(place + "/"))
        return max(around, key=len, default=None)

    def _only_once(self, inner: Visit, *, in_new: bool) -> str | None:
        """Return the task where replays diverge: only one has entered its inner list."""
        if self._is_cut(self._old if in_new else self._new):
            return None
        if not inner.static or inner.static not in self._common:
            return None
        owner = self._owner(inner.static)
        if owner is None or owner not in self._started_in_both:
            return None
        return self._pointer(owner)

    def _is_cut(self, played: Played) -> bool:
        """Tell whether a replay ended before its last task by itself, which is no divergence."""
        return not self.alike and played.status != "completed"

    def _kind(self, visit: Visit) -> str:
        return self._after.tasks[visit.static].kind

    @staticmethod
    def _then(places: Places, visit: Visit) -> object:
        return places.tasks[visit.static].definition.get("then")

    def _pointer(self, static: str) -> str:
        return self._after.pointer(static) or self._before.pointer(static) or static

    def data(self) -> str:
        """Return the pointer of the task where replays diverge in the data with which the run ends.

        It is the last common task that got equal data, or the first added or removed task after it; `/output`
        if all data is equal and the output is not, `/input` if none is.
        """
        old = {each.place: each for each in self._old.visits}
        last: Visit | None = None
        following: list[Visit] = []
        for each in self._new.visits:
            was = old.get(each.place)
            if was is None or (each.static and each.static not in self._common):
                following.append(each)
                continue
            if is_same(was.value, each.value) and is_same(was.context, each.context):
                last, following = each, []
            else:
                following.append(each)
        if last is None:
            return "/input"
        if not last.static:
            if last.scope == "/do":
                return "/output"
            owner = last.pointer.removesuffix("/do").removesuffix("/for").removesuffix("/try")
            return owner.removesuffix("/catch").removesuffix("/fork/branches")
        if last.outcome == "started" and self._is_changed(last.static):
            return last.pointer
        added = (each for each in following if each.static and each.static not in self._common)
        first = next(added, None)
        if first is not None:
            return first.pointer
        return self._removed_after(last) or last.pointer

    def _is_changed(self, static: str) -> bool:
        return not is_same(
            dict(self._before.tasks[static].definition), dict(self._after.tasks[static].definition)
        )

    def _removed_after(self, last: Visit) -> str | None:
        visits: Sequence[Visit] = self._old.visits
        places = [each.place for each in visits]
        for each in visits[places.index(last.place) + 1 :]:
            if each.static in self._common or not each.static:
                return None
            return each.pointer
        return None


def _by_scope(visits: Sequence[Visit]) -> _Scopes:
    scopes: _Scopes = {}
    for each in visits:
        scopes.setdefault(each.scope, []).append(each)
    return scopes
