"""The state of a run: a tree of immutable frames, enough to go on anywhere, and nothing else.

Made and read by `advance`; the worker stores the head and those frames that changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Literal

from iogate.engine.state.frame import Frame, Phase, frame_from_json
from iogate.engine.state.frame_index import FrameIndex

Status = Literal["pending", "running", "waiting", "completed", "faulted", "cancelled"]
Kind = Literal["queue", "limit", "timer", "event", "retry", "child"]

WAITS: Mapping[Phase, Kind] = {"timer": "timer", "retry": "retry", "event": "event", "child": "child"}

FORMAT = 1
"""Raised when a release writes states that earlier ones cannot continue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingFor:
    kind: Kind
    task: str
    """Static pointer of the task that waits."""
    until_ms: int | None = None


class ChangeLog:
    """Ids of the frames that were touched on the way to a state; states of one line share one list."""

    __slots__ = ("ids", "upto")

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids
        self.upto = len(ids)

    def leads_from(self, earlier: ChangeLog | None) -> bool:
        return earlier is not None and earlier.ids is self.ids and earlier.upto <= self.upto


_LONGEST_TRAIL = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    frames: Mapping[int, Frame] = field(default_factory=dict)
    """By id. Empty once the run has ended; after a fault the tree as it was when the error was raised,
    for another attempt of the run."""
    next_id: int = 1
    status: Status = "pending"
    output: Any = None
    error: Mapping[str, Any] | None = None
    """RFC 7807, of a faulted run."""
    inbox_done: int = 0
    """The highest number of a message that was taken in: it counts for nothing when it comes again."""
    index: FrameIndex | None = field(default=None, compare=False, repr=False)
    trail: ChangeLog | None = field(default=None, compare=False, repr=False)

    @property
    def ended(self) -> bool:
        return self.status in {"completed", "faulted", "cancelled"}

    @property
    def in_flight(self) -> bool:
        """True while an effect is under way: the run belongs to a worker."""
        return bool(self.under_way)

    @property
    def under_way(self) -> AbstractSet[int]:
        """Frames whose effect is."""
        return self.indexed().effects.keys()

    @property
    def waiting(self) -> AbstractSet[int]:
        """Frames that wait for a time, an event or a child."""
        return self.indexed().waits.keys()

    @property
    def due_ms(self) -> int | None:
        """The earliest moment at which `advance` has something to do without news from outside."""
        return min(self.indexed().moments.values(), default=None)

    @property
    def waiting_for(self) -> WaitingFor | None:
        """What a run without effects under way waits for: the leaf that is due first."""
        first = min(self.indexed().waits.values(), default=None)
        if first is None:
            return None
        frame = self.frames[first[2]]
        return WaitingFor(kind=WAITS[frame.phase], task=frame.pointer, until_ms=self._until_ms(frame))

    def _until_ms(self, frame: Frame) -> int | None:
        """When its wait is over at the latest: by its own time, or by a timeout of it or around it."""
        moments = [frame.due_ms]
        at: Frame | None = frame
        while at is not None:
            moments.append(at.deadline_ms)
            at = None if at.parent is None else self.frames[at.parent]
        return min((moment for moment in moments if moment is not None), default=None)

    def indexed(self) -> FrameIndex:
        """What is looked for among the frames."""
        if self.index is None:
            object.__setattr__(
                self, "index", FrameIndex.of(self.frames.values())
            )  # a cache: the state is the same
        assert self.index is not None
        return self.index


def extend_change_log(state: State, touched: list[int]) -> ChangeLog:
    """The trail of the state that follows after `state` by changing frames of these ids."""
    trail = state.trail
    if trail is None or trail.upto != len(trail.ids) or trail.upto > _LONGEST_TRAIL:
        # of another line, or old enough to be let go: the first to ask for changes looks at all frames
        return ChangeLog([])
    trail.ids.extend(touched)
    return ChangeLog(trail.ids)


def diff_frames(before: State | None, after: State) -> tuple[dict[int, Frame], tuple[int, ...]]:
    """Frames of `after` that `before` did not have so, and ids of those that are gone."""
    old: Mapping[int, Frame] = before.frames if before is not None else {}
    new = after.frames
    keys: Iterable[int]
    if before is not None and after.trail is not None and after.trail.leads_from(before.trail):
        assert before.trail is not None
        keys = sorted(set(after.trail.ids[before.trail.upto : after.trail.upto]))
    else:
        keys = {**old, **new}
    changed = {key: new[key] for key in keys if key in new and old.get(key) is not new[key]}
    return changed, tuple([key for key in keys if key in old and key not in new])


def head_to_json(state: State) -> dict[str, Any]:
    """All of a state but its frames."""
    head: dict[str, Any] = {"format": FORMAT, "next_id": state.next_id, "status": state.status}
    if state.output is not None:
        head["output"] = state.output
    if state.error is not None:
        head["error"] = dict(state.error)
    if state.inbox_done:
        head["inbox_done"] = state.inbox_done
    return head


def state_from_json(head: Mapping[str, Any], frames: Mapping[int, Mapping[str, Any]]) -> State:
    """The state whose head and frames were stored.

    Raises ValueError for a format that a newer release wrote.
    """
    if head.get("format") != FORMAT:
        raise ValueError(f"state has format {head.get('format')!r}, this release reads {FORMAT}")
    return State(
        frames={key: frame_from_json(data) for key, data in frames.items()},
        next_id=head["next_id"],
        status=head["status"],
        output=head.get("output"),
        error=head.get("error"),
        inbox_done=head.get("inbox_done", 0),
        trail=ChangeLog([]),
    )
