"""`for` with `parallel`: up to N iterations at once; the output is the list of their outputs, in order.

Used by `dispatch` and `loop`. Each iteration is a scope with the input of the task and its own `$context`, as
a branch of `fork` is; what it exports ends with it.

    task ─┬─ scope    a running iteration; at most `parallel`
          └─ outputs  the number of ended iterations
              ├─ page   up to PAGE outputs, with the indexes of their iterations
              └─ page   …

Iterations begin in order and end in any order. Invariants: an iteration has not begun, has a scope, or has
an output in a page; an output is written once alone and once more in a page of PAGE outputs, so that a commit
writes what is new, and 10,000 outputs are 100 frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from iogate.compiler.tasks import For, Task
from iogate.engine import errors
from iogate.engine.expression_scope import Scope, is_truthy
from iogate.engine.interpreter.execution_context import ExecutionContext, Fault
from iogate.engine.state.frame import Frame, replace_frame
from iogate.errors import WorkflowError

PAGE: Final = 100
"""Outputs in one frame."""


def begin(
    ctx: ExecutionContext, scope: Frame, task: Task, body: For, arguments: Scope, items: list[Any]
) -> int | None:
    """Begin the first iterations of a parallel `for`.

    Raises Fault if `while` cannot be evaluated.
    """
    if not items:
        return ctx.complete(scope, task, arguments, [])
    frame = ctx.open(scope, arguments, items=items, calls_before=ctx.tree.context_owner(scope).calls)
    ctx.tree.add(
        Frame(id=ctx.tree.next_id, parent=frame.id, kind="outputs", pointer=frame.pointer, phase="done")
    )
    return _go_on(ctx, frame, task, body)


def leave(ctx: ExecutionContext, scope: Frame, frame: Frame, task: Task, body: For) -> int | None:
    """End an iteration of a parallel `for` with the data that flows out of its scope.

    Raises Fault if the task fails.
    """
    ctx.tree.remove(scope)
    return _end_iteration(ctx, scope, frame, task, body, scope.value)


def absorb(
    ctx: ExecutionContext, scope: Frame, frame: Frame, task: Task, body: For, error: Mapping[str, Any]
) -> int | None:
    """End an iteration of a parallel `for` with its error as its output: `on_error: continue`.

    Raises Fault if the task fails.
    """
    ctx.note_cancelled(ctx.tree.remove_below(scope))
    ctx.tree.remove(scope)
    return _end_iteration(ctx, scope, frame, task, body, {"error": errors.strip_extensions(error)})


def _end_iteration(
    ctx: ExecutionContext, scope: Frame, frame: Frame, task: Task, body: For, output: Any
) -> int | None:
    assert scope.turn is not None
    _keep(ctx, _outputs(ctx, frame), scope.turn, output)
    return _go_on(ctx, frame, task, body)


def _go_on(ctx: ExecutionContext, frame: Frame, task: Task, body: For) -> int | None:
    """Begin the next iterations as far as `parallel` allows; end the task after the last one."""
    begun = _outputs(ctx, frame).position
    running = ctx.tree.count_children(frame) - 1
    begun += running
    total = frame.position or len(frame.items)
    while running < body.parallel and begun < total:
        if not _begin_iteration(ctx, frame, task, body, begun):
            total = begun
            frame = replace_frame(frame, position=total)
            ctx.tree.put(frame)
            break
        running, begun = running + 1, begun + 1
    return None if running else _complete(ctx, frame, task, total)


def _begin_iteration(ctx: ExecutionContext, frame: Frame, task: Task, body: For, number: int) -> bool:
    """Begin the iteration of an index; return False if `while` ends the loop before it."""
    context = ctx.tree.context_owner(ctx.tree.parent(frame)).context
    at = ctx.enter(
        frame, body.tasks.pointer, value=frame.input, context=context, calls=frame.calls_before, turn=number
    )
    if body.condition is not None:
        inner = ctx.tree[at]
        try:
            holds = is_truthy(body.condition.evaluate(inner.value, ctx.arguments(inner, task, frame)))
        except WorkflowError as error:
            described = ctx.describe_error(error, task, inner)
            ctx.note_cancelled(ctx.tree.remove_below(frame))
            raise Fault(ctx.tree.remove(frame).id, task, described) from None
        if not holds:
            ctx.tree.remove(inner)
            return False
    ctx.ready.append(at)
    return True


def _outputs(ctx: ExecutionContext, frame: Frame) -> Frame:
    """Return the frame that counts ended iterations of a parallel `for`: the oldest child of the task."""
    return ctx.tree.nth_child(frame, 0)


def _keep(ctx: ExecutionContext, outputs: Frame, turn: int, output: Any) -> None:
    """Store the output of a parallel iteration; fold the newest into a page if there are enough."""
    tree, count = ctx.tree, outputs.position + 1
    kept: dict[str, Any] = {"turn": turn, "value": output}
    if count % PAGE == 0:
        single = [*islice(tree.newest_first(outputs), PAGE - 1)]
        for page in single:
            tree.remove(page)
        kept = {
            "items": [turn, *(page.turn for page in single)],
            "value": [output, *(page.value for page in single)],
        }
    page = Frame(
        id=tree.next_id, parent=outputs.id, kind="page", pointer=outputs.pointer, phase="done", **kept
    )
    tree.add(page)
    tree.put(replace_frame(outputs, position=count))


def _complete(ctx: ExecutionContext, frame: Frame, task: Task, total: int) -> int | None:
    values: list[Any] = [None] * total
    for page in ctx.tree.children(_outputs(ctx, frame)):
        if page.turn is not None:
            values[page.turn] = page.value
        else:
            for turn, value in zip(page.items, page.value, strict=True):
                values[turn] = value
    ctx.tree.remove_below(frame)
    return ctx.complete_frame(ctx.tree.take(frame), task, values)
