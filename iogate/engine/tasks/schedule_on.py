"""`schedule.on`: a permanent listening task, which starts a run whenever its strategy is met.

Called by `listen`. If a run needs several events, several sets are collected in parallel: an event goes to
the oldest round that matches, else it opens a new round. So two orders whose events interleave start two
runs, each with its own events.

    listen ─► round ─► item …     a frame each; a round holds its own terms
                │ enough
                ▼
              starts a run with the array of its events; the round is removed

Invariant: the task's frame is written once: its terms, and its subscription, are those of a new round.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from iogate.compiler.tasks import Listen, Task
from iogate.engine import event_filters
from iogate.engine.expression_scope import Scope, is_truthy
from iogate.engine.interpreter.execution_context import ExecutionContext
from iogate.engine.state.frame import Frame, replace_frame
from iogate.engine.tasks import run_workflow

MOST = 1000
"""Maximum number of parallel rounds; beyond it the oldest is dropped, as its events no longer come."""


def handle_event(
    ctx: ExecutionContext,
    frame: Frame,
    task: Task,
    body: Listen,
    value: Any,
    event: Mapping[str, Any],
    arguments: Scope,
) -> None:
    """Add an event, with its item `value`, to a round of `schedule.on`; start a run if that is complete."""
    found = _round(ctx, frame, body, event, arguments)
    if found is None:
        return
    at, taken = found
    values = [] if at is None else [each.value for each in ctx.tree.children(at)]
    if not taken.ends:
        values.append(value)
    until = body.to.until
    if taken.enough or (until is not None and is_truthy(until.evaluate(values, arguments))):
        if at is not None:
            ctx.tree.remove_below(at)
            ctx.tree.take(at)
        _start(ctx, frame, task, body, values, arguments)
        return
    if at is None:
        at = _open(ctx, frame, taken.terms)
    elif at.terms is not taken.terms:
        at = replace_frame(at, terms=taken.terms)
        ctx.tree.put(at)
    if not taken.ends:
        _add(ctx, at, "item", phase="done", turn=len(values) - 1, value=value)


def _round(
    ctx: ExecutionContext, frame: Frame, body: Listen, event: Mapping[str, Any], arguments: Scope
) -> tuple[Frame | None, event_filters.Match] | None:
    """Return the round of `schedule.on` that matches the event, None for a new one; `until` opens none."""
    for each in ctx.tree.children(frame):
        taken = event_filters.match(body, each.terms, event, arguments)
        if taken is not None:
            return each, taken
    taken = event_filters.match(body, frame.terms, event, arguments)
    return None if taken is None or taken.ends else (None, taken)


def _open(ctx: ExecutionContext, frame: Frame, terms: event_filters.Terms) -> Frame:
    if ctx.tree.count_children(frame) >= MOST:
        oldest = ctx.tree.nth_child(frame, 0)
        ctx.tree.remove_below(oldest)
        ctx.tree.take(oldest)
    return _add(ctx, frame, "round", terms=terms)


def _add(ctx: ExecutionContext, parent: Frame, kind: Literal["item", "round"], **attributes: Any) -> Frame:
    return ctx.tree.add(
        Frame(id=ctx.tree.next_id, parent=parent.id, kind=kind, pointer=parent.pointer, **attributes)
    )


def _start(
    ctx: ExecutionContext, frame: Frame, task: Task, body: Listen, values: list[Any], arguments: Scope
) -> None:
    assert body.starts is not None
    given = body.starts.input.evaluate(values, arguments)
    number, scope = ctx.tree.reserve(), ctx.tree.parent(frame)
    run_workflow.start(ctx, run_workflow.describe_child(ctx, scope, task, body.starts, given, number))
