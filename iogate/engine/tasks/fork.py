"""`fork`: branches side by side, each with its own `$context`, and how they come together.

Used by `dispatch` and `steps`. A branch is a scope of one task. All get the same input; the output is
the array of theirs in declared order, or, where they compete, that of the first to end. What a branch
exports is its own until the join, which merges changed top-level keys in declared order.
"""

from __future__ import annotations

import json
from typing import Any

from iogate.compiler.tasks import Fork
from iogate.engine.interpreter.context import ExecutionContext
from iogate.engine.scope import Scope
from iogate.engine.state.frame import Frame, replace_frame


def begin(ctx: ExecutionContext, scope: Frame, body: Fork, arguments: Scope) -> None:
    """Open every branch."""
    frame = ctx.open(scope, arguments)
    owner = ctx.tree.context_owner(scope)
    for branch in body.branches:
        ctx.ready.append(
            ctx.enter(frame, branch.pointer, value=frame.input, context=owner.context, calls=owner.calls)
        )


def leave(ctx: ExecutionContext, scope: Frame, frame: Frame, body: Fork) -> int | None:
    """A branch is through: the first wins where they compete; otherwise the last joins them all."""
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
    """A competitor has failed: it is taken out, and counts for nothing while another may win."""
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
    """`into` with what a branch changed; a context that is no object is changed as a whole."""
    if _same(before, after):
        return into
    if not (isinstance(into, dict) and isinstance(after, dict)):
        return after
    known = before if isinstance(before, dict) else {}
    new = {name: value for name, value in after.items() if name not in known or not _same(known[name], value)}
    return {**into, **new}


def _same(first: Any, second: Any) -> bool:
    """Equality of JSON values, in which true is not 1."""
    return first is second or json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
