"""The frames of one run while a walk moves through them.

Used by `context`. Holds a mapping of its own over frames that it shares with the state it came from,
so a walk that fails leaves that state as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import compress, islice
from typing import Any

from iogate.compiler.program import Program
from iogate.compiler.tasks import FUNCTIONS, For, Task
from iogate.engine.state.frame import Frame, replace_frame
from iogate.engine.state.frame_index import FrameIndex, below
from iogate.engine.state.run_state import State


class FrameTree:
    """Invariant: `_log` tells each change since the walk began, so that the tree can be had as it was."""

    def __init__(self, state: State) -> None:
        self._frames = dict(state.frames)
        self._index = state.indexed().copy() if state.frames else FrameIndex()
        self._log: list[tuple[int, Frame | None]] = []
        """Ids of frames that were added, replaced or taken out, with what was there before."""
        self.next_id = state.next_id

    def __contains__(self, key: int) -> bool:
        return key in self._frames

    def __getitem__(self, key: int) -> Frame:
        return self._frames[key]

    def get(self, key: int) -> Frame | None:
        return self._frames.get(key)

    @property
    def frames(self) -> Mapping[int, Frame]:
        return self._frames

    @property
    def index(self) -> FrameIndex:
        return self._index

    def add(self, frame: Frame) -> Frame:
        """Take in a new frame, made with `next_id`."""
        self._frames[frame.id] = frame
        self._log.append((frame.id, None))
        self._index.add(frame)
        self.next_id = frame.id + 1
        return frame

    def reserve(self) -> int:
        """A number that no frame has or will have."""
        self.next_id += 1
        return self.next_id - 1

    def put(self, frame: Frame) -> None:
        """Replace a frame by one that differs."""
        before = self._frames[frame.id]
        self._frames[frame.id] = frame
        self._log.append((frame.id, before))
        self._index.replace(before, frame)

    def parent(self, frame: Frame) -> Frame:
        assert frame.parent is not None
        return self._frames[frame.parent]

    def remove(self, frame: Frame) -> Frame:
        """Take out a frame without children; gives its parent.

        Answers that came in a branch count on around it, however it ended: no key is used twice.
        """
        before = self._frames.pop(frame.id)
        self._log.append((frame.id, before))
        parent = self.parent(before)
        self._index.remove(before, parent)
        if before.owns_context and parent.parent is not None:
            owner = self.context_owner(self.parent(parent))
            if before.calls > owner.calls:
                self.put(replace_frame(owner, calls=before.calls))
        return parent

    def take(self, frame: Frame) -> Frame:
        """Take out a frame without children; gives it."""
        self.remove(frame)
        return frame

    # looking back

    def mark(self) -> int:
        """The present moment, for `as_of`."""
        return len(self._log)

    def frames_at(self, moment: int) -> Mapping[int, Frame]:
        """The frames as they were then."""
        frames = dict(self._frames)
        for key, before in reversed(self._log[moment:]):
            if before is None:
                frames.pop(key, None)
            else:
                frames[key] = before
        return frames

    def changed_ids(self) -> list[int]:
        """Ids of all frames that were changed, some of them more than once."""
        return [key for key, _ in self._log]

    # looking for frames

    def find_due(self, now_ms: int) -> list[tuple[int, bool, int]]:
        """Moments that have come: when, whether it is a deadline, and the frame; earliest first.

        Where a wait ends at the moment of a deadline, the wait is first.
        """
        moments = self._index.moments
        if not moments or min(moments.values()) > now_ms:
            return []
        due = compress(moments, map(now_ms.__ge__, moments.values()))  # all of them, without a step for each
        return sorted(
            (moment, is_deadline, frame.id)
            for frame in map(self._frames.__getitem__, due)
            for moment, is_deadline in ((frame.due_ms, False), (frame.deadline_ms, True))
            if moment is not None and moment <= now_ms
        )

    def remove_below(self, frame: Frame) -> tuple[Frame, ...]:
        """Take out everything inside a frame; gives it, leaves first."""
        # ids rise towards the leaves
        inside = sorted(below(self._index, self._frames, frame.id), key=lambda each: -each.id)
        for each in inside:
            self.remove(each)
        return tuple(inside)

    def children(self, frame: Frame) -> tuple[Frame, ...]:
        """What is right inside a frame, in the order in which it came."""
        return tuple([self._frames[key] for key in self._index.below.get(frame.id, ())])

    def newest_first(self, frame: Frame) -> Iterator[Frame]:
        """What is right inside a frame, the newest first."""
        return (self._frames[key] for key in reversed(self._index.below.get(frame.id, {})))

    def nth_child(self, frame: Frame, number: int) -> Frame:
        """The frame inside another that came as this one, counted from 0."""
        return self._frames[next(islice(self._index.below[frame.id], number, None))]

    def count_children(self, frame: Frame) -> int:
        """How many frames are right inside one."""
        return len(self._index.below.get(frame.id, ()))

    def count_done(self, frame: Frame) -> int:
        """How many of them are `done`."""
        return self._index.done.get(frame.id, 0)

    def is_only_child(self, frame: Frame) -> bool:
        """Whether a frame is the only one inside the one around it."""
        assert frame.parent is not None
        return len(self._index.below[frame.parent]) == 1

    def all_children_done(self, frame: Frame) -> bool:
        """Whether everything right inside a frame is `done`."""
        inside = self._index.below.get(frame.id, ())
        return self._index.done.get(frame.id, 0) == len(inside)

    def clear(self) -> tuple[Frame, ...]:
        """Take out all; gives what was there, leaves first."""
        gone = tuple(reversed(self._frames.values()))
        self._log.extend((frame.id, frame) for frame in gone)
        self._frames, self._index = {}, FrameIndex()
        return gone

    def leaves(self) -> Iterable[int]:
        """Scopes that nothing runs inside of: those that can move."""
        return self._index.leaves

    def under_way(self) -> tuple[Frame, ...]:
        """Tasks whose effect is under way."""
        return tuple([self._frames[key] for key in self._index.effects])

    def listening(self) -> tuple[Frame, ...]:
        """Tasks that wait for events."""
        waiting = [self._frames[key] for key in self._index.waits]
        return tuple([frame for frame in waiting if frame.phase == "event"])

    def context_owner(self, scope: Frame) -> Frame:
        """The scope around that holds `$context`: the branch's, else the workflow's."""
        while not scope.owns_context:
            scope = self.parent(self.parent(scope))
        return scope

    def variables(self, scope: Frame, program: Program) -> dict[str, Any]:
        """What loops and handlers around a scope bind; the inner wins.

        Functions and extensions see none from outside.
        """
        bound: dict[str, Any] = {}
        while True:
            for name, value in (scope.variables or {}).items():
                bound.setdefault(name, value)
            task = self.parent(scope)
            if task.parent is None or task.extension is not None or is_function(scope.pointer):
                return bound
            if scope.turn is not None and isinstance(body := program.tasks[task.pointer].body, For):
                bound.setdefault(body.each, task.items[scope.turn])
                bound.setdefault(body.at, scope.turn)
            scope = self.parent(task)

    def extended_task(self, scope: Frame) -> Frame | None:
        """The frame of the task that is being extended, where a scope is inside of an extension."""
        while (task := self.parent(scope)).parent is not None:
            if task.extension is not None:
                return task
            scope = self.parent(task)
        return None

    def enclosing_calls(self, scope: Frame) -> list[Frame]:
        """The tasks that called the functions which a scope is inside of, the inner first."""
        calls: list[Frame] = []
        while (task := self.parent(scope)).parent is not None:
            if is_function(scope.pointer):
                calls.append(task)
            scope = self.parent(task)
        return calls

    def deadline(self, frame: Frame) -> int | None:
        """The earliest deadline of a task or of any around it."""
        earliest: int | None = None
        at: Frame | None = frame
        while at is not None:
            if at.deadline_ms is not None and (earliest is None or at.deadline_ms < earliest):
                earliest = at.deadline_ms
            at = self._frames[at.parent] if at.parent is not None else None
        return earliest

    def count_definite_answer(self, scope: Frame) -> None:
        """Note a definite answer: the next call of this branch gets a key of its own."""
        owner = self.context_owner(scope)
        self.put(replace_frame(owner, calls=owner.calls + 1))

    def effect_identity(self, scope: Frame, task: Task, uid: str) -> tuple[str, str]:
        """Reference of a task with every loop index, and the idempotency key of its effect.

        The last part of the key counts the branch's definite answers: it stays while an effect is
        under way, also after a crash, and differs where `then` leads to the same task again.
        """
        reference = self._path(scope) + task.pointer[len(scope.pointer) :]
        numbers = [*self._attempts(scope), self.context_owner(scope).calls]
        return reference, uid + reference + "".join(f"/{number}" for number in numbers)

    def _attempts(self, scope: Frame) -> list[int]:
        """For each `try` around a scope, outermost first, its retries after definite answers."""
        attempts: list[int] = []
        while (task := self.parent(scope)).parent is not None:
            if scope.pointer in {f"{task.pointer}/try", f"{task.pointer}/catch/do"}:
                attempts.append(task.definite)
            scope = self.parent(task)
        return attempts[::-1]

    def _path(self, scope: Frame) -> str:
        """Pointer of a scope with the index of every turn around it: `/do/0/loop/for/3/do`."""
        parts: list[str] = []
        while (task := self.parent(scope)).parent is not None:
            if scope.turn is not None:  # a loop's /for/do, or /foreach/do
                loop = scope.pointer[len(task.pointer) :].removesuffix("/do")
                parts.append(f"{loop}/{scope.turn}/do")
            elif is_function(scope.pointer) or task.extension is not None:
                parts.append(scope.pointer)
            else:
                parts.append(scope.pointer[len(task.pointer) :])
            scope = self.parent(task)
            parts.append(task.pointer[len(scope.pointer) :])
        parts.append(scope.pointer)
        return "".join(reversed(parts))


def is_function(pointer: str) -> bool:
    """True for the scope that a function of `use.functions` runs in."""
    return pointer.startswith(FUNCTIONS) and pointer.count("/") == 3
