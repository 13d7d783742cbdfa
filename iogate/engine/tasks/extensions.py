"""Extensions: lists of tasks that run before and after a task.

Used by `loop`; `execution_context` begins the lists that run after a task. While an extension runs, the scope
is at the extended task and holds the extensions that apply (`extended`); below it are a frame of that task
and, in it, the extension's list.

    begin ── when? ──► before, as declared ──► the task ──► after, in reverse ──► move
                          └─ exit: its data replaces the raw output of the task

Invariants: data of an extension stays in it, except after `exit`; an error of an extension is the task's;
tasks of extensions, and of functions that they call, are not extended.
"""

from __future__ import annotations

from typing import Any

from iogate.compiler.expression_scope import BEFORE
from iogate.compiler.tasks import Task, TaskList
from iogate.engine.expression_scope import Scope, is_truthy
from iogate.engine.interpreter.execution_context import ExecutionContext
from iogate.engine.state.frame import Frame, replace_frame


def begin(ctx: ExecutionContext, scope: Frame, task: Task, arguments: Scope) -> int | None:
    """Determine the extensions that apply; return the scope of the first `before`, None if there is none."""
    if ctx.tree.extended_task(scope) is not None:
        return None  # a function that an extension calls
    arguments.extended = lambda: arguments.describe_with_definition(task)
    applied = [
        index
        for index, extension in enumerate(task.extensions)
        if extension.when is None or is_truthy(extension.when.evaluate(arguments.raw, arguments))
    ]
    arguments.extended = None
    if not applied:
        return None
    ctx.tree.put(replace_frame(scope, extended=applied))
    for index in applied:
        if (tasks := task.extensions[index].before) is not None:
            return ctx.enter_extension(scope, tasks, arguments, value=arguments.raw, extension=index)
    return None


def leave(ctx: ExecutionContext, inner: Frame, frame: Frame, task: Task) -> int | None:
    """Leave a list of an extension: continue with the next list, the extended task, or its successor.

    Raises WorkflowError of the extended task.
    """
    outer = ctx.tree.parent(frame)
    if frame.then is not None:
        return _continue_after(ctx, inner, frame, task, outer)
    if inner.position > len(ctx.program.lists[inner.pointer].tasks):  # ended by `exit`
        ctx.tree.remove(ctx.tree.remove(inner))
        arguments = ctx.arguments_at_stage(outer, task, BEFORE)
        arguments.raw, arguments.started_ms = frame.raw, frame.started_ms
        ctx.transform_input(task, arguments)
        return ctx.complete(outer, task, arguments, inner.value)
    for index in outer.extended:
        if index > frame.extension and (tasks := task.extensions[index].before) is not None:
            return _next(ctx, inner, frame, index, tasks, frame.raw)
    ctx.tree.remove(ctx.tree.remove(inner))
    return outer.id


def _continue_after(
    ctx: ExecutionContext, inner: Frame, frame: Frame, task: Task, outer: Frame
) -> int | None:
    for index in reversed(outer.extended):
        if index < frame.extension and (tasks := task.extensions[index].after) is not None:
            return _next(ctx, inner, frame, index, tasks, outer.value)
    ctx.tree.remove(ctx.tree.remove(inner))
    ctx.note("task.completed", task, scope=outer)
    return ctx.move(outer.id, outer.value, frame.then)


def _next(ctx: ExecutionContext, inner: Frame, frame: Frame, index: int, tasks: TaskList, value: Any) -> int:
    ctx.tree.remove(inner)
    frame = replace_frame(frame, extension=index)
    ctx.tree.put(frame)
    return ctx.enter(frame, tasks.pointer, value=value)
