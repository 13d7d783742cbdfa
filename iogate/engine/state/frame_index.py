"""What is looked for among the frames of a run, at hand: a look costs the same for a thousand branches.

Kept by `frame_tree` while a walk moves, read there and by `run_state`. Invariants: an index says of frames
what a look at all of them would say; that of a state is never changed: a walk changes a copy of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from iogate.engine.state.frame import Frame

_WAITS = ("timer", "retry", "event", "child")


class FrameIndex:
    __slots__ = ("_own", "below", "done", "effects", "leaves", "moments", "waits")

    def __init__(self) -> None:
        self.below: dict[int, dict[int, None]] = {}
        """What is right inside a frame, in the order in which it came."""
        self.done: dict[int, int] = {}
        """How many of those inside a frame are `done`."""
        self.leaves: dict[int, None] = {}
        """Scopes that nothing runs inside of: those that can move, in the order of their turns."""
        self.effects: dict[int, None] = {}
        """Tasks whose effect is under way."""
        self.waits: dict[int, tuple[bool, int, int]] = {}
        """Tasks that wait: whether for something without a time, the time, and the frame."""
        self.moments: dict[int, int] = {}
        """The earlier of a frame's due time and its deadline."""
        self._own: set[int] = set()
        """Members of `below` that no other index shares."""

    @classmethod
    def of(cls, frames: Iterable[Frame]) -> FrameIndex:
        made = cls()
        for frame in sorted(frames, key=lambda each: each.id):
            made.add(frame)
        return made

    def copy(self) -> FrameIndex:
        made: FrameIndex = FrameIndex.__new__(FrameIndex)
        made.below = self.below.copy()
        made.done = self.done.copy()
        made.leaves = self.leaves.copy()
        made.effects = self.effects.copy()
        made.waits = self.waits.copy()
        made.moments = self.moments.copy()
        made._own = set()
        self._own = set()  # from here on all of them are shared
        return made

    def add(self, frame: Frame) -> None:
        key, parent = frame.id, frame.parent
        if parent is not None:
            if parent in self.below:
                self._inside(parent)[key] = None
            else:
                self.below[parent] = {key: None}
                self._own.add(parent)
                self.leaves.pop(parent, None)
        self._note(frame)

    def replace(self, old: Frame, new: Frame) -> None:
        """Take note of a frame that another takes the place of."""
        if (
            old.phase != new.phase
            or old.due_ms != new.due_ms
            or old.deadline_ms != new.deadline_ms
            or old.parent != new.parent
        ):
            self._forget(old)
            self._note(new)

    def remove(self, frame: Frame, parent: Frame | None) -> None:
        self._forget(frame)
        self.done.pop(frame.id, None)
        if parent is not None:
            inside = self._inside(parent.id)
            del inside[frame.id]
            if not inside:
                del self.below[parent.id]
                if parent.kind == "scope" and parent.phase == "inside":
                    self.leaves[parent.id] = None

    def reorder_leaves(self, ready: Iterable[int]) -> None:
        """Let leaves have their turns in this order, and those that are not named after them."""
        named = dict.fromkeys(ready)
        for key in named.keys() - self.leaves.keys():
            del named[key]
        self.leaves = named | self.leaves

    def _inside(self, key: int) -> dict[int, None]:
        if key not in self._own:
            self.below[key] = self.below[key].copy()
            self._own.add(key)
        return self.below[key]

    def _note(self, frame: Frame) -> None:
        key, phase = frame.id, frame.phase
        if phase == "inside":
            if frame.kind == "scope" and key not in self.below:
                self.leaves[key] = None
        elif phase == "effect":
            self.effects[key] = None
        elif phase in _WAITS:
            self.waits[key] = (frame.due_ms is None, frame.due_ms or 0, key)
        elif frame.parent is not None:
            self.done[frame.parent] = self.done.get(frame.parent, 0) + 1
        if frame.due_ms is not None or frame.deadline_ms is not None:
            self.moments[key] = min(each for each in (frame.due_ms, frame.deadline_ms) if each is not None)

    def _forget(self, frame: Frame) -> None:
        key, phase = frame.id, frame.phase
        if phase == "inside":
            self.leaves.pop(key, None)
        elif phase == "effect":
            del self.effects[key]
        elif phase in _WAITS:
            del self.waits[key]
        elif frame.parent is not None:
            self.done[frame.parent] -= 1
        if frame.due_ms is not None or frame.deadline_ms is not None:
            del self.moments[key]


def below(index: FrameIndex, frames: Mapping[int, Frame], key: int) -> list[Frame]:
    """Everything inside a frame, leaves last."""
    found: list[Frame] = []
    ahead = [key]
    while ahead:
        for child in index.below.get(ahead.pop(), ()):
            found.append(frames[child])
            ahead.append(child)
    return found
