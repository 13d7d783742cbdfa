"""The state of a run: a tree of immutable frames, enough to go on anywhere, and nothing else.

Made and read by `advance`; the worker stores each frame as one hash field and writes only those
that changed. Two kinds of frames alternate from the root to the leaves:

    task    one execution of a task (the root: of the workflow). Written once when it starts, so a
            loop's list is stored once however many turns it takes; rewritten only while it waits.
    scope   a position in a list of tasks, with the data that flows through it.

Below a listening task there is also, for each event that it took, an

    item    the event as it is read, then what `foreach` made of it: `done`.

and below one that starts runs between the two, for each set of events that is not complete yet, a

    round   with terms of its own.

Invariant: frames hold JSON values, numbers, strings and booleans only, and `frame_from_json` gives
back an equal frame for what `frame_to_json` wrote. No value in a frame is ever mutated: frames share
parts of the run's data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, cast

from iogate.engine.index import Index

Status = Literal["pending", "running", "waiting", "completed", "faulted", "cancelled"]
Phase = Literal["inside", "effect", "timer", "retry", "event", "child", "done"]
Kind = Literal["queue", "limit", "timer", "event", "retry", "child"]

WAITS: Mapping[Phase, Kind] = {"timer": "timer", "retry": "retry", "event": "event", "child": "child"}

FORMAT = 1
"""Raised when a release writes states that earlier ones cannot continue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    id: int
    parent: int | None = None
    kind: Literal["task", "scope", "item", "round"]
    pointer: str = ""
    """Static: of the task, or of the list of tasks (`/do`, `/do/0/loop/for/do`)."""

    # of a task
    phase: Phase = "inside"
    """What the task is at: its inner scopes, or what it waits for. A branch's scope may be `done`."""
    raw: Any = None
    """The task's input before `input.from`, where it has one; the same as after it otherwise."""
    input: Any = None
    """The task's input after `input.from`."""
    items: Any = None
    """What a `for` goes over; evaluated once."""
    started_ms: int = 0
    due_ms: int | None = None
    """When a timer or the delay before a retry is over."""
    deadline_ms: int | None = None
    """When the task's own timeout strikes; on the scope of a `try`: that of one attempt."""
    attempt: int = 0
    """Retries of a `try` so far."""
    definite: int = 0
    """Those of them that followed a definite answer: part of the idempotency key."""
    calls_before: int = 0
    """`calls` of the branch when a `try` began: each attempt counts from there."""
    calls_most: int = 0
    """The most that one of its attempts came to."""
    extension: int | None = None
    """Which of the task's extensions the frame runs; the task itself then waits for it, or is through."""
    output: Any = None
    """The task's raw output, while an extension runs after it."""
    then: Any = None
    """Where the task leads once the extensions after it are through."""

    wants: Any = None
    """Of a listening task: its subscription, the part that can be judged without the run. A list of
    `{"match": {attribute: text}, "correlate": [[expression, expected], …]}`; one has to fit."""
    terms: Any = None
    """Of a listening task, and of a round: `{"keys": [{correlation: value}, …], "filled": [index, …]}`: the
    values that each filter's events must have, and the filters of `all` that have theirs."""

    # of a scope
    position: int = 0
    """Index of the task that runs now, or next."""
    turn: int | None = None
    """Index of a loop's iteration, or of an item."""
    value: Any = None
    """What flows: the input of the next task, the last one's output."""
    owns_context: bool = False
    """True for the workflow's scope and for branches: `$context` lives here."""
    context: Any = None
    calls: int = 0
    """Definite answers in this branch so far: the last part of the idempotency key."""
    extended: Any = None
    """Indexes of the extensions that apply to the task at `position`, once that is known."""
    variables: Any = None
    """What a handler's expressions know besides the standard's arguments: the error, by its name."""


_DEFAULTS = {
    each.name: each.default for each in fields(Frame) if each.default is not MISSING and each.name != "id"
}
_NAMES = tuple(each.name for each in fields(Frame))

_Draft: Any = type("_Draft", (), {"__slots__": _NAMES})
"""A frame while it is made: laid out like one, and not frozen yet."""


def _copier() -> Callable[[Frame], Any]:
    known = {"draft": _Draft, "new": object.__new__}
    copies = "".join(f"    made.{name} = frame.{name}\n" for name in _NAMES)
    exec(f"def copy(frame):\n    made = new(draft)\n{copies}    return made\n", known)  # noqa: S102 - as dataclasses do
    return cast("Callable[[Frame], Any]", known["copy"])


_copy = _copier()


def changed(frame: Frame, **attributes: Any) -> Frame:
    """A frame that differs in these attributes: `dataclasses.replace`, at a fifth of its cost.

    Each step of a run makes one, so this is where a worker spends its time.
    """
    made = _copy(frame)
    for name, value in attributes.items():
        setattr(made, name, value)
    made.__class__ = Frame
    return cast("Frame", made)


_BLANK = Frame(id=0, kind="scope")


def framed(**attributes: Any) -> Frame:
    """A frame with these attributes: the constructor, at a third of its cost."""
    return changed(_BLANK, **attributes)


def frame_to_json(frame: Frame) -> dict[str, Any]:
    """Attributes that differ from their default, values shared with the frame, not copied."""
    data: dict[str, Any] = {}
    for name in _NAMES:
        value = getattr(frame, name)
        if name not in _DEFAULTS or not _is_default(value, _DEFAULTS[name]):
            data[name] = value
    return data


def _is_default(value: object, default: object) -> bool:
    """Equality of scalars that keeps `False`, `0` and `0.0` apart, without walking big values."""
    return value is default or (
        type(value) is type(default) and type(value) in (str, int) and value == default
    )


def frame_from_json(data: Mapping[str, Any]) -> Frame:
    """The frame that `frame_to_json` described.

    Raises TypeError for attributes that this release does not know: a newer one wrote them.
    """
    return Frame(**data)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingFor:
    kind: Kind
    task: str
    """Static pointer of the task that waits."""
    until_ms: int | None = None


class Trail:
    """Ids of the frames that were touched on the way to a state; states of one line share one list."""

    __slots__ = ("ids", "upto")

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids
        self.upto = len(ids)

    def leads_from(self, earlier: Trail | None) -> bool:
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
    index: Index | None = field(default=None, compare=False, repr=False)
    trail: Trail | None = field(default=None, compare=False, repr=False)

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
        return WaitingFor(kind=WAITS[frame.phase], task=frame.pointer, until_ms=frame.due_ms)

    def indexed(self) -> Index:
        """What is looked for among the frames."""
        if self.index is None:
            object.__setattr__(
                self, "index", Index.of(self.frames.values())
            )  # a cache: the state is the same
        assert self.index is not None
        return self.index


def followed(state: State, touched: list[int]) -> Trail:
    """The trail of the state that follows after `state` by changing frames of these ids."""
    trail = state.trail
    if trail is None or trail.upto != len(trail.ids) or trail.upto > _LONGEST_TRAIL:
        # of another line, or old enough to be let go: the first to ask for changes looks at all frames
        return Trail([])
    trail.ids.extend(touched)
    return Trail(trail.ids)


def changes(before: State | None, after: State) -> tuple[dict[int, Frame], tuple[int, ...]]:
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
        trail=Trail([]),
    )
