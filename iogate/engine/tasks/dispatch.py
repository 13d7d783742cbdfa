"""Dispatch of a task, once it has its input, to the code of its kind: complete, open a scope, or wait.

Called by `loop`, which goes from task to task. Each function returns the id of the scope to continue in, or
None if the branch has to wait. Errors are a WorkflowError of this task, or a Fault of an enclosing task,
which `loop` propagates.
"""

from __future__ import annotations

from typing import Any, assert_never

from iogate.compiler.tasks import (
    FUNCTIONS,
    Child,
    Container,
    Do,
    Emit,
    For,
    Fork,
    Function,
    Http,
    Inline,
    Listen,
    OpenApi,
    Process,
    Raise,
    Set,
    Switch,
    Task,
    Try,
    Unresolved,
    Unsupported,
    Wait,
)
from iogate.engine import errors
from iogate.engine.commands import Perform
from iogate.engine.expression_scope import Scope, is_truthy
from iogate.engine.interpreter.execution_context import ExecutionContext
from iogate.engine.state.frame import Frame
from iogate.engine.tasks import call, emit, for_, for_parallel, fork, listen, run_workflow, try_
from iogate.engine.tasks.due_times import add_duration
from iogate.errors import WorkflowError
from iogate.json_pointer import escape

_FUNCTIONS_DEEP = 32
"""Maximum nesting of functions; deeper nesting is an endless recursion."""


def begin(ctx: ExecutionContext, scope: Frame, task: Task, arguments: Scope) -> int | None:
    """Dispatch a task of any kind to the code of its kind; `arguments` hold its input.

    Raises WorkflowError if the task fails.
    """
    body, data = task.body, arguments.input
    match body:
        case Set(value):
            return ctx.complete(scope, task, arguments, value.evaluate(data, arguments))
        case Switch():
            return _switch(ctx, scope, task, body, arguments)
        case Do(tasks):
            return ctx.enter(ctx.open(scope, arguments), tasks.pointer, value=data)
        case For():
            return for_.begin(ctx, scope, task, body, arguments)
        case Try():
            return try_.begin(ctx, scope, body, arguments)
        case Fork():
            fork.begin(ctx, scope, body, arguments)
            return None
        case Raise():
            raise errors.build_raised(body, arguments)
        case Wait(duration):
            return _wait(ctx, scope, task, arguments, duration.evaluate(data, arguments))
        case Emit():
            return emit.begin(ctx, scope, task, body, arguments)
        case Listen():
            return listen.begin(ctx, scope, task, body, arguments)
        case Child():
            return run_workflow.begin(ctx, scope, task, body, arguments)
        case Http() | OpenApi() | Function() | Process() | Container():
            return _outside(ctx, scope, task, arguments)
        case Inline():
            return _function(ctx, scope, body, arguments)
        case Unresolved(call):
            raise WorkflowError("configuration", detail=f"call: {call} is not executed by this release")
        case Unsupported(what):
            raise WorkflowError("configuration", detail=f"{what} is not executed by this release")
        case _:
            assert_never(body)


def leave(ctx: ExecutionContext, scope: Frame, frame: Frame, task: Task) -> int | None:
    """Dispatch the end of a list of tasks in `scope` to the code of the kind of the task around it."""
    body = task.body
    match body:
        case For(parallel=most) if most:
            return for_parallel.leave(ctx, scope, frame, task, body)
        case For():
            return for_.leave(ctx, scope, frame, task, body)
        case Try():
            return try_.leave(ctx, scope, frame, body)
        case Fork():
            return fork.leave(ctx, scope, frame, body)
        case Listen():
            return listen.leave(ctx, scope, frame, task, body)
        case _:
            return ctx.leave_list(scope)


def _switch(ctx: ExecutionContext, scope: Frame, task: Task, body: Switch, arguments: Scope) -> int | None:
    data = arguments.input
    for case in body.cases:
        if case.when is not None and is_truthy(case.when.evaluate(data, arguments)):
            chosen = case
            break
    else:
        if body.default is None:
            return ctx.complete(scope, task, arguments, data)
        chosen = body.default
    return ctx.complete(scope, task, arguments, data, chosen.then, {"case": chosen.name})


def _function(ctx: ExecutionContext, scope: Frame, body: Inline, arguments: Scope) -> int:
    if len(ctx.tree.enclosing_calls(scope)) >= _FUNCTIONS_DEEP:
        raise WorkflowError("runtime", detail=f"more than {_FUNCTIONS_DEEP} functions call one another")
    given = body.arguments.evaluate(arguments.input, arguments)
    frame, pointer = ctx.open(scope, arguments), f"{FUNCTIONS}{escape(body.name)}"
    if body.foreign:
        return ctx.enter(frame, pointer, value=given, context={}, calls=ctx.tree.context_owner(scope).calls)
    return ctx.enter(frame, pointer, value=given)


def _wait(ctx: ExecutionContext, scope: Frame, task: Task, arguments: Scope, duration: Any) -> int | None:
    due_ms = add_duration(duration, ctx.now_ms, "wait")
    if due_ms <= ctx.now_ms:
        return ctx.complete(scope, task, arguments, arguments.input)
    ctx.open(scope, arguments, phase="timer", due_ms=due_ms)
    ctx.note("task.waiting", task, {"due_ms": due_ms}, scope)
    return None


def _outside(ctx: ExecutionContext, scope: Frame, task: Task, arguments: Scope) -> int | None:
    frame = ctx.open(scope, arguments, phase="effect")
    try:
        command = describe_effect(ctx, scope, task, frame)
    except WorkflowError:
        ctx.tree.remove(frame)
        raise
    if command.await_result:
        ctx.performs.append(command)
        return None
    ctx.tree.remove(frame)
    ctx.tree.count_definite_answer(scope)  # the next start of the task is another one
    at = ctx.complete(ctx.tree[scope.id], task, arguments, arguments.input)
    # After a failed `output` or `export`, the repetition of the task begins the effect.
    ctx.performs.append(command)
    return at


def describe_effect(
    ctx: ExecutionContext, scope: Frame, task: Task, frame: Frame, *, again: bool = False
) -> Perform:
    """Return the command of a task's effect, for the dispatch of a task and for its repetition.

    Its expressions see the start of the task as the time, so that a repeated command is the same.
    Raises UnknownOutcomeError if an effect that must happen at most once would be repeated.
    """
    body = task.body
    assert isinstance(body, call.Outside)
    calls = [ctx.program.tasks[each.pointer] for each in ctx.tree.enclosing_calls(scope)]
    at_most_once = any(each.at_most_once for each in (task, *calls)) or (
        isinstance(body, Function) and f"{body.name}:{body.version}" in ctx.environment.once
    )
    if at_most_once and (again or ctx.tree.is_unanswered(scope, task)):
        raise errors.UnknownOutcomeError
    reference, key = ctx.tree.effect_identity(scope, task, ctx.facts.uid)
    arguments = ctx.arguments(scope, task, frame)
    arguments.now_ms, arguments.idempotency_key = frame.started_ms, key
    return Perform(
        frame=frame.id,
        reference=reference,
        effect=call.effect(body, arguments),
        idempotency_key=key,
        deadline_ms=ctx.tree.deadline(frame),
        await_result=body.awaits if isinstance(body, Process | Container) else True,
        at_most_once=at_most_once,
    )
