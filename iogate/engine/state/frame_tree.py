"""Mutable tree of the frames of one run during a slice.

Used by `execution_context` and `retry`. The tree has its own mapping of the frames that it shares with the
original state, so a slice that fails does not change that state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import compress, islice
from typing import Any

from iogate.compiler.program import Program
from iogate.compiler.tasks import FUNCTIONS, For, Task
from iogate.engine.state import kept_keys
from iogate.engine.state.frame import Frame, replace_frame
from iogate.engine.state.frame_index import FrameIndex, below
from iogate.engine.state.run_state import State


class FrameTree:
    """Tree of frames with its index. Invariant: `_log` has each change, to restore earlier trees."""

    def __init__(self, state: State) -> None:
        self._frames = dict(state.frames)
        self._index = state.indexed().copy() if state.frames else FrameIndex()
        self._log: list[tuple[int, Frame | None]] = []
        """Ids of frames that were added, replaced or removed, each with the frame before."""
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
        """Add a new frame to the tree, created with `next_id`."""
        self._frames[frame.id] = frame
        self._log.append((frame.id, None))
        self._index.add(frame)
        self.next_id = frame.id + 1
        return frame

    def reserve(self) -> int:
        """Return an id that no frame of the tree has or will have."""
        self.next_id += 1
        return self.next_id - 1

    def put(self, frame: Frame) -> None:
        """Replace the frame of the same id in the tree."""
        before = self._frames[frame.id]
        self._frames[frame.id] = frame
        self._log.append((frame.id, before))
        self._index.replace(before, frame)

    def parent(self, frame: Frame) -> Frame:
        assert frame.parent is not None
        return self._frames[frame.parent]

    def remove(self, frame: Frame) -> Frame:
        """Remove a frame without children from the tree; return its parent.

        The count of definite answers in a branch is carried over to the outer branch: no key is used twice.
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
        """Remove a frame without children from the tree; return it."""
        self.remove(frame)
        return frame

    # effects

    def end_effect(self, frame: Frame, *, definite: bool) -> Frame:
        """Remove from the tree the frame of an effect that has ended; return its scope.

        After a definite answer, the next call of the branch gets a new key.
        """
        if not definite:
            return self.abandon(frame)
        scope = self.parent(frame)
        holder, call, numbers = self._key(scope, reference_of(self._frames, frame))
        if holder is not None and call in (holder.kept_keys or {}):
            self.put(replace_frame(holder, kept_keys=kept_keys.settle(holder.kept_keys, call)))
        self.remove(frame)
        self.count_definite_answer(scope, int(numbers.rpartition("/")[2]))
        return scope

    def abandon(self, frame: Frame) -> Frame:
        """Remove a frame without children from the tree before its end; return its parent.

        If it has an effect under way, the outcome is unknown: repetitions by a `try` have the same key.
        """
        if frame.phase == "effect":
            holder, call, numbers = self._key(self.parent(frame), reference_of(self._frames, frame))
            if holder is not None:
                before = holder.kept_keys or {}
                kept = kept_keys.keep(before, call, numbers)
                if kept is not before:
                    self.put(replace_frame(holder, kept_keys=kept))
        return self.remove(frame)

    def count_lap(self, scope: Frame) -> Frame:
        """Return a scope of the tree after a jump back in its list, counted within a `try` only."""
        holder, _ = kept_keys.find_holder(self._frames, scope)
        return scope if holder is None else replace_frame(scope, laps=scope.laps + 1)

    def is_unanswered(self, scope: Frame, task: Task) -> bool:
        """Tell whether the call of a task in the tree is a repetition, and the outcome before is unknown."""
        holder, call, _ = self._key(scope, task_reference(self._frames, scope, task.pointer))
        known = {} if holder is None else holder.kept_keys or {}
        return kept_keys.is_unknown(known, call, in_retry=attempt_of(self._frames, scope) > 1)

    def renew_keys(self, frame: Frame) -> bool:
        """Give up the keys of the answered calls of a `try`, or of a list, in the tree: the next have others.

        Return False if all are kept: there are too many calls of unknown outcome to remember each.
        """
        if frame.kind == "scope":
            holder, _ = kept_keys.find_holder(self._frames, frame)
            below = f"{scope_reference(self._frames, frame)}/"
        else:
            around, _ = kept_keys.find_holder(self._frames, self.parent(frame))
            holder, below = around or frame, f"{reference_of(self._frames, frame)}/try/"
        if holder is None or not holder.kept_keys:
            return True
        if kept_keys.is_full(holder.kept_keys):
            return False
        renewed = kept_keys.renew(holder.kept_keys, below)
        self.put(replace_frame(holder, kept_keys=renewed or None))
        return True

    def _key(self, scope: Frame, reference: str) -> tuple[Frame | None, str, str]:
        """Return the holder of the kept keys around a call in the tree, its name there, and its numbers."""
        holder, end = kept_keys.find_holder(self._frames, scope)
        call = reference + end
        kept = holder.kept_keys.get(call) if holder is not None and holder.kept_keys else None
        if kept is not None:
            return holder, call, kept[0]
        numbers = (*kept_keys.count_attempts(self._frames, scope), self.context_owner(scope).calls)
        return holder, call, "".join(f"/{number}" for number in numbers)

    # earlier trees

    def mark(self) -> int:
        """Return the present position in the log of changes of the tree, for `frames_at`."""
        return len(self._log)

    def frames_at(self, moment: int) -> Mapping[int, Frame]:
        """Return the frames of the tree at a position in the log of its changes."""
        frames = dict(self._frames)
        for key, before in reversed(self._log[moment:]):
            if before is None:
                frames.pop(key, None)
            else:
                frames[key] = before
        return frames

    def changed_ids(self) -> list[int]:
        """Return the ids of all changed frames of the tree, some of them more than once."""
        return [key for key, _ in self._log]

    # queries

    def find_due(self, now_ms: int) -> list[tuple[int, bool, int]]:
        """Return due times in the tree, earliest first: the time, whether it is a deadline, and the frame.

        If a wait ends at the time of a deadline, the wait is first.
        """
        moments = self._index.moments
        if not moments or min(moments.values()) > now_ms:
            return []
        due = compress(moments, map(now_ms.__ge__, moments.values()))  # without a Python step for each
        return sorted(
            (moment, is_deadline, frame.id)
            for frame in map(self._frames.__getitem__, due)
            for moment, is_deadline in ((frame.due_ms, False), (frame.deadline_ms, True))
            if moment is not None and moment <= now_ms
        )

    def remove_below(self, frame: Frame) -> tuple[Frame, ...]:
        """Remove all descendants of a frame from the tree; return them, leaves first."""
        # ids rise towards the leaves
        inside = sorted(below(self._index, self._frames, frame.id), key=lambda each: -each.id)
        for each in inside:
            self.abandon(each)
        return tuple(inside)

    def unwind(self, scope: Frame, **attributes: Any) -> tuple[Frame, ...]:
        """Remove all frames of the tree below the workflow's scope, from within; return them, leaves first.

        The workflow's scope, which is around `scope`, gets the attributes.
        """
        while (task := self.parent(scope)).parent is not None:
            scope = self.parent(task)
        gone = self.remove_below(scope)
        self.put(replace_frame(self._frames[scope.id], **attributes))
        return gone

    def children(self, frame: Frame) -> tuple[Frame, ...]:
        """Return the children of a frame in the tree, in the order of their creation."""
        return tuple([self._frames[key] for key in self._index.below.get(frame.id, ())])

    def newest_first(self, frame: Frame) -> Iterator[Frame]:
        """Iterate over the children of a frame in the tree, newest first."""
        return (self._frames[key] for key in reversed(self._index.below.get(frame.id, {})))

    def nth_child(self, frame: Frame, number: int) -> Frame:
        """Return the child of a frame in the tree at an index, counted from 0."""
        return self._frames[next(islice(self._index.below[frame.id], number, None))]

    def count_children(self, frame: Frame) -> int:
        """Return the number of children of a frame in the tree."""
        return len(self._index.below.get(frame.id, ()))

    def count_done(self, frame: Frame) -> int:
        """Return the number of children of a frame in the tree that are `done`."""
        return self._index.done.get(frame.id, 0)

    def is_only_child(self, frame: Frame) -> bool:
        """Tell whether a frame is the only child of its parent in the tree."""
        assert frame.parent is not None
        return len(self._index.below[frame.parent]) == 1

    def all_children_done(self, frame: Frame) -> bool:
        """Tell whether all children of a frame in the tree are `done`."""
        inside = self._index.below.get(frame.id, ())
        return self._index.done.get(frame.id, 0) == len(inside)

    def clear(self) -> tuple[Frame, ...]:
        """Remove all frames of the tree; return them, leaves first."""
        gone = tuple(reversed(self._frames.values()))
        self._log.extend((frame.id, frame) for frame in gone)
        self._frames, self._index = {}, FrameIndex()
        return gone

    def leaves(self) -> Iterable[int]:
        """Return the scopes without children in the tree, which can execute steps."""
        return self._index.leaves

    def under_way(self) -> tuple[Frame, ...]:
        """Return the tasks of the tree that have an effect in progress."""
        return tuple([self._frames[key] for key in self._index.effects])

    def listening(self) -> tuple[Frame, ...]:
        """Return the tasks of the tree that wait for events."""
        waiting = [self._frames[key] for key in self._index.waits]
        return tuple([frame for frame in waiting if frame.phase == "event"])

    def context_owner(self, scope: Frame) -> Frame:
        """Return the enclosing scope in the tree that holds `$context`: the branch's, else the workflow's."""
        while not scope.owns_context:
            scope = self.parent(self.parent(scope))
        return scope

    def variables(self, scope: Frame, program: Program) -> dict[str, Any]:
        """Return the variables of loops and handlers around a scope of the tree; the inner ones win.

        Functions and extensions see no variables from outside.
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
        """Return the frame of the extended task if a scope of the tree is inside an extension."""
        while (task := self.parent(scope)).parent is not None:
            if task.extension is not None:
                return task
            scope = self.parent(task)
        return None

    def enclosing_calls(self, scope: Frame) -> list[Frame]:
        """Return the tasks that called the functions around a scope of the tree, innermost first."""
        calls: list[Frame] = []
        while (task := self.parent(scope)).parent is not None:
            if is_function(scope.pointer):
                calls.append(task)
            scope = self.parent(task)
        return calls

    def deadline(self, frame: Frame) -> int | None:
        """Return the earliest deadline of a task and the tasks around it in the tree."""
        earliest: int | None = None
        at: Frame | None = frame
        while at is not None:
            if at.deadline_ms is not None and (earliest is None or at.deadline_ms < earliest):
                earliest = at.deadline_ms
            at = self._frames[at.parent] if at.parent is not None else None
        return earliest

    def count_definite_answer(self, scope: Frame, number: int = 0) -> None:
        """Count in the tree a definite answer: the next call of this branch gets a new key.

        `number` is the last one of the key of the answered call, which may have kept it.
        """
        owner = self.context_owner(scope)
        self.put(replace_frame(owner, calls=max(owner.calls, number) + 1))

    def effect_identity(self, scope: Frame, task: Task, uid: str) -> tuple[str, str]:
        """Return a task's reference in the tree, with loop indexes, and the idempotency key of its effect.

        The last part of the key counts the branch's definite answers: it stays while an effect is under way,
        also after a crash, and differs when `then` leads to the same task again. A `try` keeps the key of a
        call without a definite answer.
        """
        reference = task_reference(self._frames, scope, task.pointer)
        _, _, numbers = self._key(scope, reference)
        return reference, uid + reference + numbers


def reference_of(frames: Mapping[int, Frame], frame: Frame) -> str:
    """Return the pointer of the task of a frame with indexes of the iterations around it in the tree."""
    return task_reference(frames, _parent(frames, frame), frame.pointer)


def task_reference(frames: Mapping[int, Frame], scope: Frame, pointer: str) -> str:
    """Return the pointer of a task in a scope of the tree with the index of each iteration around it."""
    return scope_reference(frames, scope) + pointer[len(scope.pointer) :]


def attempt_of(frames: Mapping[int, Frame], scope: Frame) -> int:
    """Return the attempt number of the innermost retried `try` around a scope of the tree; 1 without one."""
    at = scope
    while at.parent is not None:
        if at.attempt:
            return at.attempt + 1
        at = frames[at.parent]
    return 1


def scope_reference(frames: Mapping[int, Frame], scope: Frame) -> str:
    """Return the pointer of a scope with indexes of iterations in the tree: `/do/0/loop/for/3/do`."""
    parts: list[str] = []
    while (task := _parent(frames, scope)).parent is not None:
        if scope.turn is not None:  # a loop's /for/do, or /foreach/do
            loop = scope.pointer[len(task.pointer) :].removesuffix("/do")
            parts.append(f"{loop}/{scope.turn}/do")
        elif is_function(scope.pointer) or task.extension is not None:
            parts.append(scope.pointer)
        else:
            parts.append(scope.pointer[len(task.pointer) :])
        scope = _parent(frames, task)
        parts.append(task.pointer[len(scope.pointer) :])
    parts.append(scope.pointer)
    return "".join(reversed(parts))


def parallel_reference(frames: Mapping[int, Frame], scope: Frame, pointer: str) -> str | None:
    """Return the pointer of a task in a scope with indexes of the iterations around it in the tree.

    None if it is in no parallel loop: then the order of events tells its iterations apart.
    """
    at = scope
    while not (at.turn is not None and at.owns_context):
        if (task := _parent(frames, at)).parent is None:
            return None
        at = _parent(frames, task)
    return task_reference(frames, scope, pointer)


def _parent(frames: Mapping[int, Frame], frame: Frame) -> Frame:
    assert frame.parent is not None
    return frames[frame.parent]


def is_function(pointer: str) -> bool:
    """Tell whether a frame's pointer is of the scope that a function of `use.functions` runs in."""
    return pointer.startswith(FUNCTIONS) and pointer.count("/") == 3
