"""`fork`: parallel branches, each with its own `$context`, and their join.

Used by `dispatch` and `loop`. A branch is a scope of one task. All branches get the same input; the output
is the array of their outputs in declared order or, if they compete, the output of the first to end. The
join merges the changed top-level keys of their contexts in declared order.
"""

from __future__ import annotations

from typing import Any

from iogate.compiler.tasks import Fork
from iogate.engine.expression_scope import Scope
from iogate.engine.interpreter.execution_context import ExecutionContext
from iogate.engine.state.frame import Frame, replace_frame
from iogate.json_values import is_equal, is_same


def begin(ctx: ExecutionContext, scope: Frame, body: Fork, arguments: Scope) -> None:
    """Open every branch of a `fork`."""
    frame = ctx.open(scope, arguments)
    owner = ctx.tree.context_owner(scope)
    for branch in body.branches:
        ctx.ready.append(
            ctx.enter(frame, branch.pointer, value=frame.input, context=owner.context, calls=owner.calls)
        )


def leave(ctx: ExecutionContext, scope: Frame, frame: Frame, body: Fork) -> int | None:
    """End a branch of a `fork`: the first wins if they compete; otherwise the last joins them all."""
    ctx.tree.put(replace_frame(scope, phase="done"))
    if not body.compete and not ctx.tree.all_children_done(frame):
        return None
    ended = (scope,) if body.compete else ctx.tree.children(frame)
    _join(ctx, frame, ended)
    ctx.note_cancelled(ctx.tree.remove_below(frame))
    task = ctx.program.tasks[frame.pointer]
    return ctx.complete_frame(
        ctx.tree.take(frame), task, scope.value if body.compete else [branch.value for branch in ended]
    )


def drop_competitor(ctx: ExecutionContext, branch: Frame) -> bool:
    """Remove a branch of a `fork` that has failed, if another may still win; tell whether it was removed."""
    if ctx.tree.is_only_child(branch):
        return False
    ctx.note_cancelled(ctx.tree.remove_below(branch))
    ctx.tree.take(branch)
    return True


def _join(ctx: ExecutionContext, frame: Frame, branches: tuple[Frame, ...]) -> None:
    owner = ctx.tree.context_owner(ctx.tree.parent(frame))
    context = owner.context
    for branch in branches:
        context = _merged(context, owner.context, branch.context)
    ctx.tree.put(replace_frame(owner, context=context))


def _merged(into: Any, before: Any, after: Any) -> Any:
    """Merge the changes of a branch of a `fork` into `into`; replace a context that is not an object."""
    if _is_unchanged(before, after):
        return into
    if not (isinstance(into, dict) and isinstance(after, dict)):
        return after
    known = before if isinstance(before, dict) else {}
    new = {
        name: value
        for name, value in after.items()
        if name not in known or not _is_unchanged(known[name], value)
    }
    return {**into, **new}


def _is_unchanged(before: Any, after: Any) -> bool:
    """Tell whether a branch of a `fork` left a value as it was; jq may write a number in another way.

    The comparison of the texts is faster, but takes 10.0 and 10 for different.
    """
    return is_same(before, after) or is_equal(before, after)
