"""Extensions: what runs before and after a task.

Used by `steps`; `context` begins what runs after a task, wherever one ends. While an extension runs, the
scope stands at the extended task and holds which extensions apply (`extended`); below it are a frame of that
task and, in it, the extension's list.

    begin ── when? ──► before, as declared ──► the task ──► after, in reverse ──► move
                          └─ exit: what it gave stands for what the body would have given

Invariants: the data of an extension stays in it, but for an `exit`; an error of one is the task's; tasks of
extensions, and of functions that they call, are not extended.
"""

from __future__ import annotations

from typing import Any

from iogate.compiler.stages import BEFORE
from iogate.compiler.tasks import Task, TaskList
from iogate.engine.interpreter.context import Walk
from iogate.engine.scope import Scope, truthy
from iogate.engine.state.frame import Frame, changed


def begin(walk: Walk, scope: Frame, task: Task, arguments: Scope) -> int | None:
    """Find out which extensions apply; gives where to go on where one has tasks to run first."""
    if walk.tree.extending(scope) is not None:
        return None  # a function that an extension calls
    arguments.extended = lambda: arguments.shown(task)
    applied = [
        index
        for index, extension in enumerate(task.extensions)
        if extension.when is None or truthy(extension.when.evaluate(arguments.raw, arguments))
    ]
    arguments.extended = None
    if not applied:
        return None
    walk.tree.put(changed(scope, extended=applied))
    for index in applied:
        if (tasks := task.extensions[index].before) is not None:
            return walk.extend(scope, tasks, arguments, value=arguments.raw, extension=index)
    return None


def leave(walk: Walk, inner: Frame, frame: Frame, task: Task) -> int | None:
    """A list of an extension is through: the next one, the task itself, or what follows the task.

    Raises WorkflowError of the extended task.
    """
    outer = walk.tree.parent(frame)
    if frame.then is not None:
        return _behind(walk, inner, frame, task, outer)
    if inner.position > len(walk.program.lists[inner.pointer].tasks):  # it said `exit`
        walk.tree.remove(walk.tree.remove(inner))
        arguments = walk.arguments_at(outer, task, BEFORE)
        arguments.raw, arguments.started_ms = frame.raw, frame.started_ms
        walk.take_input(task, arguments)
        return walk.complete(outer, task, arguments, inner.value)
    for index in outer.extended:
        if index > frame.extension and (tasks := task.extensions[index].before) is not None:
            return _next(walk, inner, frame, index, tasks, frame.raw)
    walk.tree.remove(walk.tree.remove(inner))
    return outer.id


def _behind(walk: Walk, inner: Frame, frame: Frame, task: Task, outer: Frame) -> int | None:
    for index in reversed(outer.extended):
        if index < frame.extension and (tasks := task.extensions[index].after) is not None:
            return _next(walk, inner, frame, index, tasks, outer.value)
    walk.tree.remove(walk.tree.remove(inner))
    walk.note("task.completed", task)
    return walk.move(outer.id, outer.value, frame.then)


def _next(walk: Walk, inner: Frame, frame: Frame, index: int, tasks: TaskList, value: Any) -> int:
    walk.tree.remove(inner)
    frame = changed(frame, extension=index)
    walk.tree.put(frame)
    return walk.enter(frame, tasks.pointer, value=value)
