"""`schedule.on`: a listening without end, which starts a run of the workflow whenever its strategy is met.

Called by `listen`. Where one event is not enough, several sets are gathered side by side: an event goes to
the oldest round that takes it, else it opens one of its own. So two orders whose events cross start two runs,
each with its own events.

    listen ─► round ─► item …     a frame each; a round holds its own terms
                │ enough
                ▼
              a run is started with the array of its events; the round is gone

Invariant: the task's frame is written once: its terms are those of a new round, and so is its subscription.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iogate.compiler.tasks import Listen, Task
from iogate.engine import event_filters
from iogate.engine.interpreter.context import Walk
from iogate.engine.scope import Scope, truthy
from iogate.engine.state.frame import Frame, changed, framed
from iogate.engine.tasks import run_workflow

MOST = 1000
"""Rounds side by side; beyond it the oldest is given up, as one whose events no longer come."""


def arrived(
    walk: Walk,
    frame: Frame,
    task: Task,
    body: Listen,
    value: Any,
    event: Mapping[str, Any],
    arguments: Scope,
) -> None:
    """Take the event, `value` as it is read, into a round; start a run where the round has all it needs."""
    found = _round(walk, frame, body, event, arguments)
    if found is None:
        return
    at, taken = found
    values = [] if at is None else [each.value for each in walk.tree.children(at)]
    if not taken.ends:
        values.append(value)
    until = body.to.until
    if taken.enough or (until is not None and truthy(until.evaluate(values, arguments))):
        if at is not None:
            walk.tree.remove_below(at)
            walk.tree.take(at)
        _start(walk, frame, task, body, values, arguments)
        return
    if at is None:
        at = _open(walk, frame, taken.terms)
    elif at.terms is not taken.terms:
        at = changed(at, terms=taken.terms)
        walk.tree.put(at)
    if not taken.ends:
        _add(walk, at, "item", phase="done", turn=len(values) - 1, value=value)


def _round(
    walk: Walk, frame: Frame, body: Listen, event: Mapping[str, Any], arguments: Scope
) -> tuple[Frame | None, event_filters.Taken] | None:
    """Find who takes the event: a round, or None for a new one, which no event of `until` opens."""
    for each in walk.tree.children(frame):
        taken = event_filters.take(body, each.terms, event, arguments)
        if taken is not None:
            return each, taken
    taken = event_filters.take(body, frame.terms, event, arguments)
    return None if taken is None or taken.ends else (None, taken)


def _open(walk: Walk, frame: Frame, terms: event_filters.Terms) -> Frame:
    if walk.tree.count(frame) >= MOST:
        oldest = walk.tree.nth(frame, 0)
        walk.tree.remove_below(oldest)
        walk.tree.take(oldest)
    return _add(walk, frame, "round", terms=terms)


def _add(walk: Walk, parent: Frame, kind: str, **attributes: Any) -> Frame:
    return walk.tree.add(
        framed(id=walk.tree.next_id, parent=parent.id, kind=kind, pointer=parent.pointer, **attributes)
    )


def _start(walk: Walk, frame: Frame, task: Task, body: Listen, values: list[Any], arguments: Scope) -> None:
    assert body.starts is not None
    given = body.starts.input.evaluate(values, arguments)
    run_workflow.start(walk, walk.tree.parent(frame), task, body.starts, given, walk.tree.reserve())
