"""`listen`: a task hears events, works them off one after the other, and ends when it has heard enough.

Called by `dispatch` and `steps`. The frame of the task is the subscription, written when it starts and again
only when a filter has its event or a correlation its key; each event taken is a small frame below it:

    event ── a filter takes it ──► item ── foreach.do, output.as, export.as ──► item, done
                │ a filter of `until`                one at a time, in order of arrival
                ▼
              enough? ── no ──► goes on listening
                │ yes
                ▼
              items left are worked off ──► output: the array of what the items came to

Where `foreach` is there, a condition in `until` is asked after each item, of what the items came to; what
waits behind the last one is dropped. Invariants: the first items are done, at most one is worked off; no
other frames are below the task's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from iogate.compiler.tasks import Listen, Task
from iogate.engine import event_filters
from iogate.engine.interpreter.context import NOTHING, Fault, Walk
from iogate.engine.scope import Scope, truthy
from iogate.engine.state.frame import Frame, changed, framed
from iogate.engine.tasks import schedule_on
from iogate.errors import WorkflowError


def begin(walk: Walk, scope: Frame, task: Task, body: Listen, arguments: Scope) -> int | None:
    """Subscribe: from now on events are heard, none from before."""
    terms = event_filters.fresh(body, arguments)
    frame = walk.open(scope, arguments, phase="event", wants=event_filters.wants(body, terms), terms=terms)
    walk.note("workflow.correlation-started", task)
    walk.note("task.waiting", task)
    if body.starts is None and event_filters.needs_none(body, terms):
        return _hushed(walk, frame, task, body)
    return None


def again(walk: Walk, frame: Frame, task: Task) -> None:
    """Subscribe anew: the subscription ended with the attempt that faulted."""
    assert isinstance(task.body, Listen)
    walk.tree.put(changed(frame, wants=event_filters.wants(task.body, frame.terms)))


def arrived(walk: Walk, frame: Frame, task: Task, event: Mapping[str, Any]) -> int | None:
    """Take the event if a filter wants it; gives the scope to go on in.

    Raises Fault where what follows from it fails.
    """
    body = task.body
    assert isinstance(body, Listen)
    scope = walk.tree.parent(frame)
    arguments = walk.arguments(scope, task, frame)
    try:
        if body.starts is not None:
            schedule_on.arrived(walk, frame, task, body, read(event, body.read), event, arguments)
            return None
        taken = event_filters.take(body, frame.terms, event, arguments)
        if taken is None:
            return None
        if taken.terms is not frame.terms:
            frame = changed(frame, terms=taken.terms, wants=event_filters.wants(body, taken.terms))
            walk.tree.put(frame)
        if not taken.ends and _kept(walk, frame, body, event, arguments):
            return _finish(walk, frame, task)
        return _hushed(walk, frame, task, body) if taken.enough else _next(walk, frame, task, body)
    except WorkflowError as error:
        raise _fault(walk, frame, task, error) from None


def leave(walk: Walk, scope: Frame, frame: Frame, task: Task, body: Listen) -> int | None:
    """`foreach.do` is through with an item."""
    walk.tree.take(scope)
    assert scope.turn is not None
    try:
        return _worked_off(walk, frame, task, body, walk.tree.nth(frame, scope.turn), scope.value)
    except WorkflowError as error:
        raise _fault(walk, frame, task, error) from None


def read(event: Mapping[str, Any], how: str) -> Any:
    """The event as the task reads it.

    `raw` is the data as it travels: text, JSON or base64 where it is no text.
    """
    if how == "envelope":
        return event
    if "data_base64" in event:
        return event["data_base64"]
    data = event.get("data")
    if how == "data" or isinstance(data, str):
        return data
    try:
        return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        raise WorkflowError("expression", detail="the data of the event is nested too deeply") from None


def _kept(walk: Walk, frame: Frame, body: Listen, event: Mapping[str, Any], arguments: Scope) -> bool:
    """Keep the event as an item; tells whether the condition of `until` says that it was the last."""
    walk.tree.add(
        framed(
            id=walk.tree.next_id,
            parent=frame.id,
            kind="item",
            pointer=frame.pointer,
            phase="done" if body.each is None else "inside",
            turn=_count(walk, frame),
            value=read(event, body.read),
        )
    )
    if body.each is not None or body.to.until is None:
        return False
    return truthy(body.to.until.evaluate(_values(walk, frame), arguments))


# foreach


def _next(walk: Walk, frame: Frame, task: Task, body: Listen) -> int | None:
    """Let the next item have its turn, where none has it."""
    each, tree = body.each, walk.tree
    if each is None or tree.count(frame) != _count(walk, frame) or tree.all_done(frame):
        return None
    item = tree.nth(frame, tree.count_done(frame))
    if each.tasks is None:
        return _worked_off(walk, frame, task, body, item, item.value)
    variables = {each.item: item.value, each.at: item.turn}
    return walk.enter(frame, each.tasks.pointer, value=item.value, turn=item.turn, variables=variables)


def _worked_off(walk: Walk, frame: Frame, task: Task, body: Listen, item: Frame, output: Any) -> int | None:
    """An item has its raw output: transform it, export, and see whether it was the last."""
    each = body.each
    assert each is not None
    scope = walk.tree.parent(frame)
    arguments = walk.arguments(scope, task, frame, {each.item: item.value, each.at: item.turn})
    output = walk.export(scope, each.flow, arguments, output)
    walk.tree.put(changed(item, phase="done", value=output))
    if body.to.until is not None:
        # the scope anew: what was exported may have replaced its context
        arguments = walk.arguments(walk.tree.parent(frame), task, frame)
        if truthy(body.to.until.evaluate(_values(walk, frame), arguments)):
            return _finish(walk, frame, task)
    if frame.phase == "inside" and walk.tree.all_done(frame):
        return _finish(walk, frame, task)
    return _next(walk, frame, task, body)


# the end


def _hushed(walk: Walk, frame: Frame, task: Task, body: Listen) -> int | None:
    """Enough was heard: take no more, and end once the items are worked off."""
    if walk.tree.all_done(frame):
        return _finish(walk, frame, task)
    frame = changed(frame, phase="inside", wants=None)
    walk.tree.put(frame)
    return _next(walk, frame, task, body)


def _finish(walk: Walk, frame: Frame, task: Task) -> int | None:
    values, keys = _values(walk, frame), event_filters.common_keys(frame.terms)
    walk.note("workflow.correlation-completed", task, {"correlationKeys": keys} if keys else NOTHING)
    walk.cancelled(walk.tree.remove_below(frame))
    return walk.complete_frame(walk.tree.take(frame), task, values)


def _fault(walk: Walk, frame: Frame, task: Task, error: WorkflowError) -> Fault:
    scope = walk.tree.parent(frame)
    walk.cancelled(walk.tree.remove_below(frame))
    walk.tree.take(frame)
    return walk.fault(error, task, scope)


def _count(walk: Walk, frame: Frame) -> int:
    """How many items there are."""
    newest = next((each for each in walk.tree.newest(frame) if each.kind == "item"), None)
    return 0 if newest is None or newest.turn is None else newest.turn + 1


def _values(walk: Walk, frame: Frame) -> list[Any]:
    """What the items that are done came to, in order."""
    return [each.value for each in walk.tree.children(frame) if each.phase == "done"]
