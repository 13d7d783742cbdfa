"""`try`: catches errors of a list of tasks, retries the list with a backoff, and runs a handler.

Used by `dispatch` and `loop`.

    try list ── error ─► caught? ── no ─────────────────────────► up
                           │ yes
                           ├─ a retry is left ─► retry timer ─► try list, from the original input
                           ├─ retries used up, neither do nor then ─► up
                           └─ handled: catch.do, else the input ─► complete, by catch.then if given

Idempotency: after a failure without a definite answer, an attempt sends the same keys as the one before, so
that receivers can deduplicate; after a definite answer it sends new keys, except for the calls that an
attempt has left without one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iogate.compiler.tasks import Retry, Task, Try
from iogate.engine import errors
from iogate.engine.expression_scope import Scope, is_truthy
from iogate.engine.interpreter.execution_context import ExecutionContext
from iogate.engine.state.frame import Frame, replace_frame
from iogate.engine.tasks.due_times import add_duration
from iogate.errors import WorkflowError, same_type

_LONGEST_DOUBLING = 40
"""2^40 times any delay is longer than any limit."""


@dataclass(frozen=True, slots=True)
class Caught:
    """A caught error; `at` is the scope to continue in, None if the branch waits."""

    at: int | None


def begin(ctx: ExecutionContext, scope: Frame, body: Try, arguments: Scope) -> int:
    """Begin the first attempt of a `try`."""
    calls = ctx.tree.context_owner(scope).calls
    frame = ctx.open(scope, arguments, calls_before=calls)
    return _attempt(ctx, frame, body, arguments)


def retry(ctx: ExecutionContext, frame: Frame, task: Task) -> int:
    """Begin another attempt of a `try` after the delay, from the original input."""
    assert isinstance(task.body, Try)
    frame = replace_frame(frame, phase="inside", due_ms=None)
    ctx.tree.put(frame)
    return _attempt(ctx, frame, task.body, ctx.arguments(ctx.tree.parent(frame), task, frame))


def _attempt(ctx: ExecutionContext, frame: Frame, body: Try, arguments: Scope) -> int:
    deadline_ms = None
    if body.retry is not None and body.retry.attempt_after is not None:
        after = body.retry.attempt_after.evaluate(frame.input, arguments)
        deadline_ms = add_duration(after, ctx.now_ms, "limit.attempt.duration")
    limited = {"deadline_ms": deadline_ms, "started_ms": ctx.now_ms} if deadline_ms is not None else {}
    return ctx.enter(frame, body.tasks.pointer, value=frame.input, **limited)


def leave(ctx: ExecutionContext, scope: Frame, frame: Frame, body: Try) -> int | None:
    """Complete a `try` after its list, or after its handler."""
    _count_on(ctx, frame)
    handled = scope.pointer != body.tasks.pointer
    return ctx.leave_list(scope, body.then if handled else None)


def catch(
    ctx: ExecutionContext, frame: Frame, task: Task, error: dict[str, Any], *, definite: bool
) -> Caught | None:
    """Catch an error of the list of a `try`: schedule a retry or handle it; return None if it does not match.

    Raises WorkflowError if an expression of the `try` fails: that error is propagated instead.
    """
    body = task.body
    assert isinstance(body, Try)
    scope = ctx.tree.parent(frame)
    error = errors.to_caught(error)
    # Reusable policies name the error by the standard's name only.
    arguments = ctx.arguments(scope, task, frame, {"error": error, body.name: error})
    if not (_matches(body.errors, error) and _wanted(body, error, arguments)):
        return None
    used_up = False
    if body.retry is not None:
        due_ms = _retry_at(ctx, frame, body.retry, error, arguments)
        if due_ms is not None:
            return Caught(_schedule(ctx, frame, task, due_ms, definite=definite))
        used_up = True
    if used_up and body.handler is None and body.then is None:
        return None
    ctx.note_cancelled(ctx.tree.remove_below(frame))
    if body.handler is not None:
        return Caught(ctx.enter(frame, body.handler.pointer, value=frame.input, variables={body.name: error}))
    _count_on(ctx, frame)
    return Caught(ctx.complete_frame(ctx.tree.take(frame), task, frame.input, body.then))


def _schedule(ctx: ExecutionContext, frame: Frame, task: Task, due_ms: int, *, definite: bool) -> int | None:
    ctx.note_cancelled(ctx.tree.remove_below(frame))
    renewed = definite and ctx.tree.renew_keys(ctx.tree[frame.id])
    frame = ctx.tree[frame.id]  # with the keys of the cancelled calls
    owner = ctx.tree.context_owner(ctx.tree.parent(frame))
    waiting = replace_frame(
        frame,
        phase="retry",
        due_ms=due_ms,
        attempt=frame.attempt + 1,
        definite=frame.definite + renewed,
        calls_most=max(frame.calls_most, owner.calls),
    )
    ctx.tree.put(replace_frame(owner, calls=frame.calls_before))
    ctx.tree.put(waiting)
    detail = {"attempt": waiting.attempt, "due_ms": due_ms}
    ctx.note("task.retried", task, detail, ctx.tree.parent(frame))
    return retry(ctx, waiting, task) if due_ms <= ctx.now_ms else None


def _count_on(ctx: ExecutionContext, frame: Frame) -> None:
    """Continue the count of definite answers after a `try` from the highest count of its attempts."""
    owner = ctx.tree.context_owner(ctx.tree.parent(frame))
    if frame.calls_most > owner.calls:
        ctx.tree.put(replace_frame(owner, calls=frame.calls_most))


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
    if when is not None and not is_truthy(when.evaluate(error, arguments)):
        return False
    return except_when is None or not is_truthy(except_when.evaluate(error, arguments))


def _retry_at(
    ctx: ExecutionContext, frame: Frame, retry: Retry, error: dict[str, Any], arguments: Scope
) -> int | None:
    """Return the time at which a `try` retries, in epoch milliseconds; None if no retry is left."""
    if retry.missing:
        raise WorkflowError(
            "configuration", detail=f'retry policy "{retry.missing}" is not defined in use.retries'
        )
    if retry.count is not None and frame.attempt >= retry.count:
        return None
    if not _wanted(retry, error, arguments):
        return None
    number = frame.attempt + 1
    delay_ms = _length(retry.delay, frame, arguments, ctx.now_ms, "retry.delay")
    match retry.backoff:
        case "linear":
            delay_ms *= number
        case "exponential":
            delay_ms *= 2 ** min(number - 1, _LONGEST_DOUBLING)
        case "constant":
            pass
    if retry.jitter_to is not None:
        least = _length(retry.jitter_from, frame, arguments, ctx.now_ms, "retry.jitter.from")
        most = _length(retry.jitter_to, frame, arguments, ctx.now_ms, "retry.jitter.to")
        delay_ms += least + round((most - least) * _spread(ctx, frame, number))
    due_ms = ctx.now_ms + max(delay_ms, 0)
    if retry.overall is not None:
        end_ms = add_duration(
            retry.overall.evaluate(frame.input, arguments), frame.timed_from_ms, "limit.duration"
        )
        if due_ms > end_ms:
            return None
    return due_ms


def _length(template: Any, frame: Frame, arguments: Scope, now_ms: int, what: str) -> int:
    if template is None:
        return 0
    return add_duration(template.evaluate(frame.input, arguments), now_ms, what) - now_ms


def _spread(ctx: ExecutionContext, frame: Frame, number: int) -> float:
    """Return the jitter of a retry of a `try`, from 0 to 1; reproducible, different per run and attempt."""
    text = f"{ctx.facts.uid}/{frame.pointer}/{frame.id}/{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 0xFFFFFFFF
