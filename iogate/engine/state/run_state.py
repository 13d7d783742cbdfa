"""State of a run: a tree of immutable frames, sufficient to continue the run on any worker.

Created and read by `advance`; the worker stores the head and the changed frames.
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
    """The wait of a run that is due first."""

    kind: Kind
    task: str
    """Static pointer of the task that waits."""
    until_ms: int | None = None


class ChangeLog:
    """Ids of the frames that were changed up to a state; successive states share one list."""

    __slots__ = ("ids", "upto")

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids
        self.upto = len(ids)

    def leads_from(self, earlier: ChangeLog | None) -> bool:
        """Tell whether this log of a run's changes continues an earlier one."""
        return earlier is not None and earlier.ids is self.ids and earlier.upto <= self.upto


_LONGEST_TRAIL = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """State of a run between two calls of `advance`."""

    frames: Mapping[int, Frame] = field(default_factory=dict)
    """By id. Empty once the run has ended; after a fault the tree as it was when the error was raised,
    for another attempt of the run."""
    next_id: int = 1
    status: Status = "pending"
    output: Any = None
    error: Mapping[str, Any] | None = None
    """Error of a faulted run (RFC 7807)."""
    faulted_at: int | None = None
    """Scope of the task that faulted the run, if several iterations may be at that task."""
    inbox_done: int = 0
    """The highest number of a processed message: repeated messages are ignored."""
    links: Mapping[str, int] | None = None
    """Time in ms from which the lifetime of a link counts, by name; without one, it is the start of the run.
    Only links that a retry has renewed have one."""
    index: FrameIndex | None = field(default=None, compare=False, repr=False)
    trail: ChangeLog | None = field(default=None, compare=False, repr=False)

    @property
    def ended(self) -> bool:
        return self.status in {"completed", "faulted", "cancelled"}

    @property
    def in_flight(self) -> bool:
        """Whether the state has an effect under way: the run belongs to a worker."""
        return bool(self.under_way)

    @property
    def under_way(self) -> AbstractSet[int]:
        """Ids of the frames of the state with an effect under way."""
        return self.indexed().effects.keys()

    @property
    def waiting(self) -> AbstractSet[int]:
        """Ids of the state's frames that wait for a timer, an event or a child."""
        return self.indexed().waits.keys()

    @property
    def due_ms(self) -> int | None:
        """The earliest time at which a run in this state has work without events."""
        return min(self.indexed().moments.values(), default=None)

    @property
    def waiting_for(self) -> WaitingFor | None:
        """The wait in this state that is due first, of a run without effects under way."""
        first = min(self.indexed().waits.values(), default=None)
        if first is None:
            return None
        frame = self.frames[first[2]]
        return WaitingFor(kind=WAITS[frame.phase], task=frame.pointer, until_ms=self._until_ms(frame))

    def _until_ms(self, frame: Frame) -> int | None:
        """Return the time at which a wait in this state ends: its due time, or an earlier deadline."""
        moments = [frame.due_ms]
        at: Frame | None = frame
        while at is not None:
            moments.append(at.deadline_ms)
            at = None if at.parent is None else self.frames[at.parent]
        return min((moment for moment in moments if moment is not None), default=None)

    def indexed(self) -> FrameIndex:
        """Return the index of the state's frames, created on first use."""
        if self.index is None:
            # A cache: the state stays equal.
            object.__setattr__(self, "index", FrameIndex.of(self.frames.values()))
        assert self.index is not None
        return self.index


def extend_change_log(state: State, touched: list[int]) -> ChangeLog:
    """Return the change log of the successor of `state` in which the frames of these ids differ."""
    trail = state.trail
    if trail is None or trail.upto != len(trail.ids) or trail.upto > _LONGEST_TRAIL:
        # Not the newest successor, or a long log: the next diff compares all frames.
        return ChangeLog([])
    trail.ids.extend(touched)
    return ChangeLog(trail.ids)


def diff_frames(before: State | None, after: State) -> tuple[dict[int, Frame], tuple[int, ...]]:
    """Return the frames of `after` that differ from `before`, and the ids of the removed ones."""
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
    """Return the state of a run as JSON, without its frames."""
    head: dict[str, Any] = {"format": FORMAT, "next_id": state.next_id, "status": state.status}
    if state.output is not None:
        head["output"] = state.output
    if state.error is not None:
        head["error"] = dict(state.error)
    if state.faulted_at is not None:
        head["faulted_at"] = state.faulted_at
    if state.inbox_done:
        head["inbox_done"] = state.inbox_done
    if state.links is not None:
        head["links"] = dict(state.links)
    return head


def state_from_json(head: Mapping[str, Any], frames: Mapping[int, Mapping[str, Any]]) -> State:
    """Return the state of a run from the stored JSON of its head and of its frames.

    Raises ValueError for a format of another release.
    """
    if head.get("format") != FORMAT:
        raise ValueError(f"state has format {head.get('format')!r}, this release reads {FORMAT}")
    return State(
        frames={key: frame_from_json(data) for key, data in frames.items()},
        next_id=head["next_id"],
        status=head["status"],
        output=head.get("output"),
        error=head.get("error"),
        faulted_at=head.get("faulted_at"),
        inbox_done=head.get("inbox_done", 0),
        links=head.get("links"),
        trail=ChangeLog([]),
    )
