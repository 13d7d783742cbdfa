"""`run: workflow`: starts another run with the step's commit, and waits for its end or not.

Called by `dispatch` and `loop`. The worker finds the workflow and reports `ChildEnded`. The input of the
child is `run.workflow.input`, by default `{}`: the standard passes "the data, if any", and no other data
flows from one workflow into another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iogate.compiler.tasks import Child, Task
from iogate.engine import errors
from iogate.engine.commands import ChildEnded, StartChild
from iogate.engine.expression_scope import Scope
from iogate.engine.interpreter.execution_context import ExecutionContext
from iogate.engine.state.frame import Frame
from iogate.engine.tasks.emit import MOST
from iogate.errors import WorkflowError


def begin(ctx: ExecutionContext, scope: Frame, task: Task, body: Child, arguments: Scope) -> int | None:
    """Start the child workflow of `run: workflow`; wait for its end unless `await` is false.

    A task that is not awaited and fails in its `output` or `export` starts nothing, so that its repetition
    starts the child once.
    """
    given = body.input.evaluate(arguments.input, arguments)
    if not body.awaits:
        command = describe_child(ctx, scope, task, body, given, ctx.tree.reserve())
        at = ctx.complete(ctx.tree[scope.id], task, arguments, arguments.input)
        start(ctx, command)
        return at
    frame = ctx.open(scope, arguments, phase="child")
    start(ctx, describe_child(ctx, scope, task, body, given, frame.id))
    ctx.note("task.waiting", task, {"workflow": f"{body.namespace}/{body.name}:{body.version}"}, scope)
    return None


def describe_child(
    ctx: ExecutionContext, scope: Frame, task: Task, body: Child, given: Any, number: int
) -> StartChild:
    """Return the command to start a child; `number` is the id of the waiting frame, or of no frame."""
    reference, _ = ctx.tree.effect_identity(scope, task, ctx.facts.uid)
    return StartChild(
        frame=number,
        reference=reference,
        namespace=body.namespace,
        name=body.name,
        version=body.version,
        input=given,
        awaits=body.awaits,
    )


def start(ctx: ExecutionContext, command: StartChild) -> None:
    """Add the command to start a child workflow."""
    ctx.children.append(command)
    if len(ctx.children) >= MOST:
        ctx.end_slice()


def error(ended: ChildEnded) -> WorkflowError:
    """Return the error that the end of a child workflow raises in the parent task, with the child's text.

    If no child was started, the error is the parent task's own.
    """
    if ended.status == "cancelled":
        return WorkflowError("runtime", detail="the workflow that it ran was cancelled")
    known: Mapping[str, Any] = ended.error or {}
    kind = errors.RaisedError if ended.started else WorkflowError
    return kind(
        known.get("type") or "runtime",
        status=known.get("status"),
        title=known.get("title"),
        detail=known.get("detail"),
        process=known.get("process"),
        sent_to=known.get("sentTo"),
    )
