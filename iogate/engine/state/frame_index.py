"""Index over the frames of a run, so that a query costs the same for a thousand branches.

Maintained by `frame_tree` during a slice, read there and by `run_state`. Invariants: an index equals the
result of a scan of all frames; the index of a state is never changed, since a slice changes its own copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from iogate.engine.state.frame import Frame

_WAITS = ("timer", "retry", "event", "child")


class FrameIndex:
    """Children, leaves, effects, waits and due times of a set of frames."""

    __slots__ = ("_own", "below", "done", "effects", "leaves", "moments", "waits")

    def __init__(self) -> None:
        self.below: dict[int, dict[int, None]] = {}
        """Children of each frame, in the order of their creation."""
        self.done: dict[int, int] = {}
        """Number of children of a frame that are `done`."""
        self.leaves: dict[int, None] = {}
        """Scopes without children, which can execute steps, in the order of execution."""
        self.effects: dict[int, None] = {}
        """Tasks whose effect is under way."""
        self.waits: dict[int, tuple[bool, int, int]] = {}
        """Waiting tasks: whether the wait has no due time, the due time, and the frame."""
        self.moments: dict[int, int] = {}
        """The earlier of a frame's due time and its deadline."""
        self._own: set[int] = set()
        """Members of `below` that are not shared with another index."""

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
        self._own = set()  # both indexes share all members now
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
        """Update the index for a frame that replaces another of the same id."""
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
        """Order the leaves in the index as in `ready`, and the others after them."""
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
    """Return all descendants of a frame from the index, leaves last."""
    found: list[Frame] = []
    ahead = [key]
    while ahead:
        for child in index.below.get(ahead.pop(), ()):
            found.append(frames[child])
            ahead.append(child)
    return found
