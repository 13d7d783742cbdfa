"""`try`: which errors it catches, when it tries again, and what becomes of an error that it caught.

Used by `dispatch` and `steps`.

    try list ── error ─► caught? ── no ─────────────────────────► up
                           │ yes
                           ├─ a retry is left ─► retry timer ─► try list, from the original input
                           ├─ retries used up, neither do nor then ─► up
                           └─ handled: catch.do, else the input ─► complete, by catch.then if given

Idempotency: after a failure that no definite answer caused, an attempt sends the very keys of the one
before, so that careful receivers do nothing twice; after a definite one it sends new ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iogate.compiler.tasks import Retry, Task, Try
from iogate.engine import errors
from iogate.engine.interpreter.context import Walk
from iogate.engine.scope import Scope, truthy
from iogate.engine.state.frame import Frame, changed
from iogate.engine.tasks.wait import moment_after
from iogate.errors import WorkflowError, same_type

_LONGEST_DOUBLING = 40
"""2^40 times any delay is beyond every calendar."""


@dataclass(frozen=True, slots=True)
class Caught:
    """The error goes no further; `at` is the scope to go on in, None where the branch waits."""

    at: int | None


def begin(walk: Walk, scope: Frame, body: Try, arguments: Scope) -> int:
    """Try for the first time."""
    calls = walk.tree.owner(scope).calls
    frame = walk.open(scope, arguments, calls_before=calls)
    return _attempt(walk, frame, body, arguments)


def again(walk: Walk, frame: Frame, task: Task) -> int:
    """The delay is over: try once more, from the original input."""
    assert isinstance(task.body, Try)
    frame = changed(frame, phase="inside", due_ms=None)
    walk.tree.put(frame)
    return _attempt(walk, frame, task.body, walk.arguments(walk.tree.parent(frame), task, frame))


def _attempt(walk: Walk, frame: Frame, body: Try, arguments: Scope) -> int:
    deadline_ms = None
    if body.retry is not None and body.retry.attempt_after is not None:
        after = body.retry.attempt_after.evaluate(frame.input, arguments)
        deadline_ms = moment_after(after, walk.now_ms, "limit.attempt.duration")
    limited = {"deadline_ms": deadline_ms, "started_ms": walk.now_ms} if deadline_ms is not None else {}
    return walk.enter(frame, body.tasks.pointer, value=frame.input, **limited)


def leave(walk: Walk, scope: Frame, frame: Frame, body: Try) -> int | None:
    """The list, or the handler, is through."""
    _count_on(walk, frame)
    handled = scope.pointer != body.tasks.pointer
    return walk.done(scope, body.then if handled else None)


def catch(walk: Walk, frame: Frame, task: Task, error: dict[str, Any], *, definite: bool) -> Caught | None:
    """What becomes of an error out of the list of a `try`; None: it is not for this one.

    Raises WorkflowError where finding out fails: that error goes up instead.
    """
    body = task.body
    assert isinstance(body, Try)
    scope = walk.tree.parent(frame)
    error = errors.caught(error)
    # reusable policies know the error by the standard's name only
    arguments = walk.arguments(scope, task, frame, {"error": error, body.name: error})
    if not (_matches(body.errors, error) and _wanted(body, error, arguments)):
        return None
    used_up = False
    if body.retry is not None:
        due_ms = _retry_at(walk, frame, body.retry, error, arguments)
        if due_ms is not None:
            return Caught(_schedule(walk, frame, task, due_ms, definite=definite))
        used_up = True
    if used_up and body.handler is None and body.then is None:
        return None
    walk.cancelled(walk.tree.remove_below(frame))
    if body.handler is not None:
        return Caught(
            walk.enter(frame, body.handler.pointer, value=frame.input, variables={body.name: error})
        )
    _count_on(walk, frame)
    return Caught(walk.complete_frame(walk.tree.take(frame), task, frame.input, body.then))


def _schedule(walk: Walk, frame: Frame, task: Task, due_ms: int, *, definite: bool) -> int | None:
    walk.cancelled(walk.tree.remove_below(frame))
    owner = walk.tree.owner(walk.tree.parent(frame))
    waiting = changed(
        frame,
        phase="retry",
        due_ms=due_ms,
        attempt=frame.attempt + 1,
        definite=frame.definite + definite,
        calls_most=max(frame.calls_most, owner.calls),
    )
    walk.tree.put(changed(owner, calls=frame.calls_before))
    walk.tree.put(waiting)
    walk.note("task.retried", task, {"attempt": waiting.attempt, "due_ms": due_ms})
    return again(walk, waiting, task) if due_ms <= walk.now_ms else None


def _count_on(walk: Walk, frame: Frame) -> None:
    """After the `try`, keys go on from the highest count that any attempt came to."""
    owner = walk.tree.owner(walk.tree.parent(frame))
    if frame.calls_most > owner.calls:
        walk.tree.put(changed(owner, calls=frame.calls_most))


def _matches(wanted: Mapping[str, Any], error: Mapping[str, Any]) -> bool:
    for name, value in wanted.items():
        found = error.get("detail" if name == "details" else name)
        if name == "type":
            if not same_type(str(value), str(found)):
                return False
        elif found != value:
            return False
    return True


def _wanted(conditions: Try | Retry, error: dict[str, Any], arguments: Scope) -> bool:
    when, except_when = conditions.when, conditions.except_when
    if when is not None and not truthy(when.evaluate(error, arguments)):
        return False
    return except_when is None or not truthy(except_when.evaluate(error, arguments))


def _retry_at(walk: Walk, frame: Frame, retry: Retry, error: dict[str, Any], arguments: Scope) -> int | None:
    """When the next attempt begins; None where there is none."""
    if retry.missing:
        raise WorkflowError(
            "configuration", detail=f'retry policy "{retry.missing}" is not defined in use.retries'
        )
    if retry.count is not None and frame.attempt >= retry.count:
        return None
    if not _wanted(retry, error, arguments):
        return None
    number = frame.attempt + 1
    delay_ms = _length(retry.delay, frame, arguments, walk.now_ms, "retry.delay")
    match retry.backoff:
        case "linear":
            delay_ms *= number
        case "exponential":
            delay_ms *= 2 ** min(number - 1, _LONGEST_DOUBLING)
        case "constant":
            pass
    if retry.jitter_to is not None:
        least = _length(retry.jitter_from, frame, arguments, walk.now_ms, "retry.jitter.from")
        most = _length(retry.jitter_to, frame, arguments, walk.now_ms, "retry.jitter.to")
        delay_ms += least + round((most - least) * _spread(walk, frame, number))
    due_ms = walk.now_ms + max(delay_ms, 0)
    if retry.overall is not None:
        end_ms = moment_after(
            retry.overall.evaluate(frame.input, arguments), frame.started_ms, "limit.duration"
        )
        if due_ms > end_ms:
            return None
    return due_ms


def _length(template: Any, frame: Frame, arguments: Scope, now_ms: int, what: str) -> int:
    if template is None:
        return 0
    return moment_after(template.evaluate(frame.input, arguments), now_ms, what) - now_ms


def _spread(walk: Walk, frame: Frame, number: int) -> float:
    """A number from 0 to 1 that differs between runs and attempts, and is the same each time."""
    text = f"{walk.facts.uid}/{frame.pointer}/{frame.id}/{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 0xFFFFFFFF
