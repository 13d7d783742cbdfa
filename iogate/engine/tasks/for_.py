"""`for`: executes its list of tasks once per item, one iteration after the other.

Used by `dispatch`; `for_parallel` executes parallel loops. All iterations share one scope, which carries the
data of each to the next.
"""

from __future__ import annotations

from iogate.compiler.tasks import For, Task
from iogate.engine.expression_scope import Scope, is_truthy
from iogate.engine.interpreter.execution_context import ExecutionContext, Fault
from iogate.engine.state.frame import Frame, replace_frame
from iogate.engine.tasks import for_parallel
from iogate.errors import WorkflowError
from iogate.json_values import type_name


def begin(ctx: ExecutionContext, scope: Frame, task: Task, body: For, arguments: Scope) -> int | None:
    """Begin a `for`: its first iteration, or all of a parallel loop that may run at once.

    Raises WorkflowError if `in` gives no array, and Fault if `while` cannot be evaluated.
    """
    items = body.items.evaluate(arguments.input, arguments)
    if not isinstance(items, list):
        raise WorkflowError("expression", detail=f"for.in must give an array, not {type_name(items)}")
    if body.parallel:
        return for_parallel.begin(ctx, scope, task, body, arguments, items)
    if not items:
        return ctx.complete(scope, task, arguments, arguments.input)
    frame = ctx.open(scope, arguments, items=items)
    return _begin_iteration(ctx, ctx.enter(frame, body.tasks.pointer, value=frame.input, turn=0), task, body)


def leave(ctx: ExecutionContext, scope: Frame, frame: Frame, task: Task, body: For) -> int | None:
    """End an iteration of a `for`: begin the next one, or complete the task after the last.

    Raises Fault if `while` cannot be evaluated.
    """
    if scope.turn is None or scope.turn + 1 >= len(frame.items):
        return ctx.leave_list(scope)
    ctx.tree.put(replace_frame(scope, position=0, laps=0, turn=scope.turn + 1))
    return _begin_iteration(ctx, scope.id, task, body)


def _begin_iteration(ctx: ExecutionContext, at: int, task: Task, body: For) -> int | None:
    """Begin the next iteration of a `for` if `while` is true; otherwise end the loop."""
    if body.condition is None:
        return at
    inner = ctx.tree[at]
    frame = ctx.tree.parent(inner)
    arguments = ctx.arguments(inner, task, frame)
    try:
        holds = is_truthy(body.condition.evaluate(inner.value, arguments))
    except WorkflowError as error:
        described = ctx.describe_error(error, task, inner)
        outer = ctx.tree.remove(ctx.tree.remove(inner))
        raise Fault(outer.id, task, described) from None
    return at if holds else ctx.leave_list(inner)
