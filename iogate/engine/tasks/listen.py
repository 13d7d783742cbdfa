"""`listen`: a task receives events, processes them one after the other, and ends when it has enough.

Called by `dispatch` and `loop`. The frame of the task is the subscription, written when it starts and again
only when a filter gets its event or a correlation its key; each event taken is a small frame below it:

    event ── a filter matches ──► item ── foreach.do, output.as, export.as ──► item, done
                │ a filter of `until`               one at a time, in order of arrival
                ▼
              enough? ── no ──► continues to listen
                │ yes
                ▼
              remaining items are processed ──► output: the array of the outputs of the items

With `foreach`, a condition in `until` is evaluated after each item, on the outputs of the items; items after
the last one are dropped. Invariants: the first items are done, at most one is in process; no other frames
are below the task's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iogate.compiler.tasks import Listen, Task
from iogate.engine import event_filters
from iogate.engine.expression_scope import Scope, is_truthy
from iogate.engine.interpreter.execution_context import NOTHING, ExecutionContext, Fault
from iogate.engine.state.frame import Frame, replace_frame
from iogate.engine.tasks import schedule_on
from iogate.errors import WorkflowError
from iogate.json_values import to_json


def begin(ctx: ExecutionContext, scope: Frame, task: Task, body: Listen, arguments: Scope) -> int | None:
    """Begin a `listen`: subscribe to later events."""
    terms = event_filters.initial_terms(body, arguments)
    frame = ctx.open(
        scope, arguments, phase="event", wants=event_filters.subscription(body, terms), terms=terms
    )
    ctx.note("workflow.correlation-started", task, scope=scope)
    ctx.note("task.waiting", task, scope=scope)
    if body.starts is None and event_filters.is_satisfied_initially(body, terms):
        return _stop_listening(ctx, frame, task, body)
    return None


def resubscribe(ctx: ExecutionContext, frame: Frame, task: Task) -> None:
    """Subscribe a `listen` again: the subscription ended with the attempt that faulted."""
    assert isinstance(task.body, Listen)
    ctx.tree.put(replace_frame(frame, wants=event_filters.subscription(task.body, frame.terms)))


def handle_event(ctx: ExecutionContext, frame: Frame, task: Task, event: Mapping[str, Any]) -> int | None:
    """Take an event for a `listen` if a filter matches; return the scope to continue in.

    Raises Fault if the task fails.
    """
    body = task.body
    assert isinstance(body, Listen)
    scope = ctx.tree.parent(frame)
    arguments = ctx.arguments(scope, task, frame)
    try:
        if body.starts is not None:
            schedule_on.handle_event(ctx, frame, task, body, read(event, body.read), event, arguments)
            return None
        taken = event_filters.match(body, frame.terms, event, arguments)
        if taken is None:
            return None
        if taken.terms is not frame.terms:
            frame = replace_frame(
                frame, terms=taken.terms, wants=event_filters.subscription(body, taken.terms)
            )
            ctx.tree.put(frame)
        if not taken.ends and _keep(ctx, frame, body, event, arguments):
            return _finish(ctx, frame, task)
        return _stop_listening(ctx, frame, task, body) if taken.enough else _next(ctx, frame, task, body)
    except WorkflowError as error:
        raise _fault(ctx, frame, task, error) from None


def leave(ctx: ExecutionContext, scope: Frame, frame: Frame, task: Task, body: Listen) -> int | None:
    """End the processing of a received event by `foreach.do`.

    Raises Fault if the task fails.
    """
    ctx.tree.take(scope)
    assert scope.turn is not None
    try:
        return _complete_item(ctx, frame, task, body, ctx.tree.nth_child(frame, scope.turn), scope.value)
    except WorkflowError as error:
        raise _fault(ctx, frame, task, error) from None


def read(event: Mapping[str, Any], how: str) -> Any:
    """Return the event as `listen.read` asks for.

    `raw` is the data as it is transmitted: text, JSON or base64.
    Raises WorkflowError if the data is nested too deeply.
    """
    if how == "envelope":
        return event
    if "data_base64" in event:
        return event["data_base64"]
    data = event.get("data")
    if how == "data" or isinstance(data, str):
        return data
    try:
        return to_json(data)
    except RecursionError:
        raise WorkflowError("expression", detail="the data of the event is nested too deeply") from None


def _keep(
    ctx: ExecutionContext, frame: Frame, body: Listen, event: Mapping[str, Any], arguments: Scope
) -> bool:
    """Keep an event that a `listen` received as an item; return whether the condition of `until` is met."""
    ctx.tree.add(
        Frame(
            id=ctx.tree.next_id,
            parent=frame.id,
            kind="item",
            pointer=frame.pointer,
            phase="done" if body.each is None else "inside",
            turn=_count(ctx, frame),
            value=read(event, body.read),
        )
    )
    if body.each is not None or body.to.until is None:
        return False
    return is_truthy(body.to.until.evaluate(_values(ctx, frame), arguments))


# foreach


def _next(ctx: ExecutionContext, frame: Frame, task: Task, body: Listen) -> int | None:
    """Process the next event of a `listen`, unless one is in process."""
    each, tree = body.each, ctx.tree
    if each is None or tree.count_children(frame) != _count(ctx, frame) or tree.all_children_done(frame):
        return None
    item = tree.nth_child(frame, tree.count_done(frame))
    if each.tasks is None:
        return _complete_item(ctx, frame, task, body, item, item.value)
    variables = {each.item: item.value, each.at: item.turn}
    return ctx.enter(frame, each.tasks.pointer, value=item.value, turn=item.turn, variables=variables)


def _complete_item(
    ctx: ExecutionContext, frame: Frame, task: Task, body: Listen, item: Frame, output: Any
) -> int | None:
    """Transform and export the raw output of an item of a `listen`; end the task after the last item."""
    each = body.each
    assert each is not None
    scope = ctx.tree.parent(frame)
    arguments = ctx.arguments(scope, task, frame, {each.item: item.value, each.at: item.turn})
    output = ctx.transform_output(scope, each.flow, arguments, output)
    ctx.tree.put(replace_frame(item, phase="done", value=output))
    if body.to.until is not None:
        # Read the scope again: the export may have replaced its context.
        arguments = ctx.arguments(ctx.tree.parent(frame), task, frame)
        if is_truthy(body.to.until.evaluate(_values(ctx, frame), arguments)):
            return _finish(ctx, frame, task)
    if frame.phase == "inside" and ctx.tree.all_children_done(frame):
        return _finish(ctx, frame, task)
    return _next(ctx, frame, task, body)


# the end


def _stop_listening(ctx: ExecutionContext, frame: Frame, task: Task, body: Listen) -> int | None:
    """Take no more events for a `listen`, and end the task once the items are processed."""
    if ctx.tree.all_children_done(frame):
        return _finish(ctx, frame, task)
    frame = replace_frame(frame, phase="inside", wants=None)
    ctx.tree.put(frame)
    return _next(ctx, frame, task, body)


def _finish(ctx: ExecutionContext, frame: Frame, task: Task) -> int | None:
    values, keys = _values(ctx, frame), event_filters.common_keys(frame.terms)
    detail = {"correlationKeys": keys} if keys else NOTHING
    ctx.note("workflow.correlation-completed", task, detail, ctx.tree.parent(frame))
    ctx.note_cancelled(ctx.tree.remove_below(frame))
    return ctx.complete_frame(ctx.tree.take(frame), task, values)


def _fault(ctx: ExecutionContext, frame: Frame, task: Task, error: WorkflowError) -> Fault:
    scope = ctx.tree.parent(frame)
    ctx.note_cancelled(ctx.tree.remove_below(frame))
    ctx.tree.take(frame)
    return ctx.fault(error, task, scope)


def _count(ctx: ExecutionContext, frame: Frame) -> int:
    """Return the number of events that a `listen` has received."""
    newest = next((each for each in ctx.tree.newest_first(frame) if each.kind == "item"), None)
    return 0 if newest is None or newest.turn is None else newest.turn + 1


def _values(ctx: ExecutionContext, frame: Frame) -> list[Any]:
    """Return the outputs of the events that a `listen` has processed, in order."""
    return [each.value for each in ctx.tree.children(frame) if each.phase == "done"]
