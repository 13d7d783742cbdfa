"""One frame of a run: a task in progress, or a position in a list of tasks, with its data.

Created and read by the engine; the worker stores each frame as one hash field. Two kinds alternate from the
root to the leaves:

    task    one execution of a task (the root: of the workflow). Written once when it starts, so the list
            of a loop is stored once for all iterations; rewritten only while it waits.
    scope   a position in a list of tasks, with the data that flows through it.

Below a listening task there is also, for each event that it took, an

    item    the event as it is read, then the output of `foreach`: `done`.

and, if the task starts runs, between the two for each incomplete set of events, a

    round   with its own terms.

Below a `for` with `parallel` there is, beside the scopes of its iterations,

    outputs the number of ended iterations, as its `position`; and below it for each of them, or many, a
    page    with their outputs.

Invariant: frames hold JSON values, numbers, strings and booleans only, and `frame_from_json` returns an
equal frame for the result of `frame_to_json`. No value in a frame is ever mutated: frames share parts of
the run's data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

Phase = Literal["inside", "effect", "timer", "retry", "event", "child", "done"]


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """Node of the tree of a run; the module's docstring describes the kinds."""

    id: int
    parent: int | None = None
    kind: Literal["task", "scope", "item", "round", "outputs", "page"]
    pointer: str = ""
    """Static pointer of the task, or of the list of tasks (`/do`, `/do/0/loop/for/do`)."""

    # of a task
    phase: Phase = "inside"
    """Phase of the task: in its inner scopes, or the kind of its wait. A branch's scope may be `done`."""
    raw: Any = None
    """The task's input before `input.from`, if it has one."""
    input: Any = None
    """The task's input after `input.from`."""
    items: Any = None
    """Items of a `for`; evaluated once. Of a page: the indexes of its outputs."""
    started_ms: int = 0
    restarted_ms: int | None = None
    """Time of the last retry of the run: the deadline, and the duration of all attempts, count from it."""
    due_ms: int | None = None
    """End of a timer or of the delay before a retry."""
    deadline_ms: int | None = None
    """Time of the task's own timeout; on the scope of a `try`: of one attempt's timeout."""
    attempt: int = 0
    """Retries of a `try` so far."""
    definite: int = 0
    """Number of these retries that followed a definite answer: part of the idempotency key."""
    calls_before: int = 0
    """`calls` of the branch when a `try` began: each attempt counts from there; likewise each iteration of a
    parallel `for`."""
    calls_most: int = 0
    """Highest `calls` of its attempts."""
    kept_keys: Any = None
    """Of a `try`: the calls that keep their idempotency key in its next attempts, as of `kept_keys`."""
    extension: int | None = None
    """Index of the task's extension that the frame runs, before or after the task itself."""
    output: Any = None
    """The task's raw output, while an extension runs after it."""
    then: Any = None
    """Target of the task after the extensions that run after it."""

    wants: Any = None
    """Subscription of a listening task, as far as it can be checked without the run. A list of
    `{"match": {attribute: text}, "correlate": [[expression, expected], …]}`; one has to match."""
    terms: Any = None
    """Of a listening task, and of a round: `{"keys": [{correlation: value}, …], "filled": [index, …]}`: the
    values that each filter's events must have, and the filters of `all` that have theirs."""

    # of a scope
    position: int = 0
    """Index of the task that runs now, or next. Of a parallel `for`: where `while` ended it."""
    laps: int = 0
    """Number of jumps back by `then` in this list, or in this iteration of it."""
    turn: int | None = None
    """Index of a loop's iteration, of an item, or of the only output of a page."""
    value: Any = None
    """Data that flows: the output of the previous task, the input of the next."""
    owns_context: bool = False
    """True for the workflow's scope, for branches and for iterations of a parallel `for`: `$context` lives
    here."""
    context: Any = None
    calls: int = 0
    """Definite answers in this branch so far: the last part of the idempotency key."""
    extended: Any = None
    """Indexes of the extensions that apply to the task at `position`, once they are evaluated."""
    variables: Any = None
    """Additional variables of a handler's expressions: the error, by its name."""

    @property
    def timed_from_ms(self) -> int:
        """Time from which the deadline and the duration of all attempts count."""
        return self.started_ms if self.restarted_ms is None else self.restarted_ms


replace_frame: Final = msgspec.structs.replace
"""Returns a frame with some attributes replaced."""
_FIELDS: Final = tuple((each.name, each.default) for each in msgspec.structs.fields(Frame))
"""Names and defaults of the attributes, in order."""


def frame_to_json(frame: Frame) -> dict[str, Any]:
    """Return the attributes of a frame that differ from their default; values are shared, not copied."""
    data: dict[str, Any] = {}
    for name, default in _FIELDS:
        value = getattr(frame, name)
        if not _is_default(value, default):
            data[name] = value
    return data


def _is_default(value: object, default: object) -> bool:
    """Compare attributes of a frame; `False`, `0` and `0.0` differ, large values are not traversed."""
    return value is default or (
        type(value) is type(default) and type(value) in (str, int) and value == default
    )


def frame_from_json(data: Mapping[str, Any]) -> Frame:
    """Return the frame for the result of `frame_to_json`.

    Raises TypeError for attributes of a newer release.
    """
    return Frame(**data)
