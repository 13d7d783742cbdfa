"""One frame of a run: a task that goes on, or a position in a list of tasks, with its data.

Made and read by the engine, stored by the worker as one hash field each. Two kinds alternate from the root to
the leaves:

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

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, cast

Phase = Literal["inside", "effect", "timer", "retry", "event", "child", "done"]


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


def replace_frame(frame: Frame, **attributes: Any) -> Frame:
    """A frame that differs in these attributes: `dataclasses.replace`, at a fifth of its cost.

    Each step of a run makes one, so this is where a worker spends its time.
    """
    made = _copy(frame)
    for name, value in attributes.items():
        setattr(made, name, value)
    made.__class__ = Frame
    return cast("Frame", made)


_BLANK = Frame(id=0, kind="scope")


def new_frame(**attributes: Any) -> Frame:
    """A frame with these attributes: the constructor, at a third of its cost."""
    return replace_frame(_BLANK, **attributes)


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
