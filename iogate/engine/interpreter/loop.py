"""Interpreter loop: executes tasks step by step until every branch waits or the budget is used up.

Used by `advance` only. It propagates errors, which the kinds of tasks only raise.

    begin ── if false ──────────────────────────────► move      (skipped)
      │ input.schema, input.from
      ├─ set, switch, raise ──► complete                         one step
      ├─ do, for, function ───► scope … leave ──► complete       frames: task, scope below it
      └─ wait, call, run ─────► waits … timer, result ──► complete
                                   │ output.as, export.as
    complete ──► move: next, named, exit (past the last), end (the run)
    an error anywhere ──► propagated up the tree to a `try` that catches it, else the run faults
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from iogate.compiler.expression_scope import BEFORE
from iogate.compiler.tasks import For, Fork, Listen, Task, Try
from iogate.engine import errors
from iogate.engine.commands import Arrived, ChildEnded, Performed, TaskFault
from iogate.engine.expression_scope import is_truthy
from iogate.engine.interpreter.execution_context import NOTHING, ExecutionContext, Fault
from iogate.engine.state.frame import Frame
from iogate.engine.state.frame_tree import attempt_of, task_reference
from iogate.engine.tasks import (
    dispatch,
    due_times,
    extensions,
    for_parallel,
    fork,
    listen,
    run_workflow,
    try_,
)
from iogate.errors import WorkflowError
from iogate.timing import durations

_NAMED = 3
"""Maximum number of tasks that the error of an expired run names."""
_SHARE = 20
"""Steps of one branch before the next branch continues."""


def finish_effect(ctx: ExecutionContext, performed: Performed) -> None:
    """Continue the interpreter at a task after the end of its effect; ignore a result without a frame."""
    frame = ctx.tree.get(performed.frame)
    if frame is None or frame.phase != "effect":
        return
    task = ctx.program.tasks[frame.pointer]
    scope = ctx.tree.end_effect(frame, definite=performed.definite)
    ctx.set_savepoint()
    if performed.error is not None:
        _propagate(ctx, ctx.fault(performed.error, task, scope, definite=performed.definite))
    else:
        _complete(ctx, frame, task, performed.output, performed.authorization)


def handle_message(ctx: ExecutionContext, message: Arrived | ChildEnded) -> None:
    """Process a message in the interpreter; ignore it if its frame is gone or does not wait for it."""
    frame = ctx.tree.get(message.frame)
    ctx.set_savepoint()
    match message:
        case Arrived(event=event) if frame is not None and frame.phase == "event":
            try:
                listen.handle_event(ctx, frame, ctx.program.tasks[frame.pointer], event)
            except Fault as fault:
                _propagate(ctx, fault)
        case ChildEnded() if frame is not None and frame.phase == "child":
            task, scope = ctx.program.tasks[frame.pointer], ctx.tree.parent(frame)
            ctx.tree.take(frame)
            ctx.set_savepoint()
            if message.status == "completed":
                _complete(ctx, frame, task, message.output)
            else:
                _propagate(ctx, ctx.fault(run_workflow.error(message), task, scope))
        case _:
            pass


def resume_effects(ctx: ExecutionContext, worker: str = "") -> None:
    """Repeat in the interpreter the command of each effect under way, with the same keys and arguments.

    In another attempt, after a fault, listening tasks subscribe again. `worker` is the ended worker that had
    begun the effects, if any; the journal then notes for each that it was restarted or interrupted.
    """
    for frame in ctx.tree.listening():
        if frame.wants is None:
            listen.resubscribe(ctx, frame, ctx.program.tasks[frame.pointer])
    for frame in ctx.tree.under_way():
        if frame.id not in ctx.tree:
            continue  # ended by the fault of an earlier effect
        task, scope = ctx.program.tasks[frame.pointer], ctx.tree.parent(frame)
        try:
            ctx.performs.append(dispatch.describe_effect(ctx, scope, task, frame, again=True))
        except WorkflowError as error:
            ctx.tree.abandon(frame)
            ctx.set_savepoint()
            if worker and isinstance(error, errors.UnknownOutcomeError):
                ctx.note("task.interrupted", task, {"worker": worker}, scope)
            _propagate(ctx, ctx.fault(error, task, scope, definite=False))
        else:
            if worker:
                ctx.note("task.restarted", task, {"worker": worker}, scope)


def fire_timers(ctx: ExecutionContext) -> None:
    """Fire all due timers and timeouts of the interpreter, in the order of time."""
    for _, is_deadline, key in ctx.tree.find_due(ctx.now_ms):
        frame = ctx.tree.get(key)
        if frame is None or ctx.ended is not None:
            continue
        ctx.set_savepoint()
        if is_deadline:
            _time_out(ctx, frame)
            continue
        task = ctx.program.tasks[frame.pointer]
        if frame.phase == "timer":
            _complete(ctx, ctx.tree.take(frame), task, frame.input)
        elif frame.phase == "retry":
            try:
                try_.retry(ctx, frame, task)
            except WorkflowError as error:
                scope = ctx.tree.parent(frame)
                ctx.note_cancelled(ctx.tree.remove_below(frame))
                ctx.tree.take(frame)
                _propagate(ctx, ctx.fault(error, task, scope))


def run(ctx: ExecutionContext) -> None:
    """Execute steps of the interpreter until all leaves wait; set `more` if the budget is used up before."""
    ctx.ready = deque(ctx.tree.leaves())
    share = max(1, min(_SHARE, ctx.budget // max(len(ctx.ready), 1)))
    while ctx.ready and ctx.ended is None:
        at: int | None = ctx.ready.popleft()
        left = share
        while at is not None and at in ctx.tree:
            if ctx.budget <= 0:
                ctx.more = True
                ctx.ready.appendleft(at)
                return
            if left <= 0:
                ctx.ready.append(at)
                break
            left -= 1
            ctx.budget -= 1
            ctx.set_savepoint()
            try:
                at = _step(ctx, ctx.tree[at])
            except Fault as fault:
                at = _propagate(ctx, fault)


def _step(ctx: ExecutionContext, scope: Frame) -> int | None:
    tasks = ctx.program.lists[scope.pointer].tasks
    if scope.position < len(tasks):
        task = tasks[scope.position]
        if ctx.emits and isinstance(task.body, Listen):
            # A listener receives later events only: earlier emits are committed before it subscribes.
            ctx.end_slice()
            return scope.id
        try:
            return _begin(ctx, scope, task)
        except WorkflowError as error:
            raise ctx.fault(error, task, scope) from None
    frame = ctx.tree.parent(scope)
    if frame.parent is None:
        ctx.complete_run(scope.value, scope.context)
        return None
    task = ctx.program.tasks[frame.pointer]
    if frame.extension is None:
        return dispatch.leave(ctx, scope, frame, task)
    outer = ctx.tree.parent(frame)
    try:
        return extensions.leave(ctx, scope, frame, task)
    except WorkflowError as error:
        raise ctx.fault(error, task, outer) from None


def _begin(ctx: ExecutionContext, scope: Frame, task: Task) -> int | None:
    arguments = ctx.arguments_at_stage(scope, task, BEFORE)
    arguments.raw, arguments.started_ms = scope.value, ctx.now_ms
    if scope.extended is None:
        if task.condition is not None and not is_truthy(task.condition.evaluate(scope.value, arguments)):
            ctx.note("task.skipped", task, scope=scope)
            return ctx.move(scope.id, scope.value, "continue")
        ctx.note("task.started", task, NOTHING if scope.turn is None else {"turn": scope.turn}, scope)
        if task.extensions:
            at = extensions.begin(ctx, scope, task, arguments)
            if at is not None:
                return at
            scope = ctx.tree[scope.id]
    ctx.transform_input(task, arguments)
    arguments.deadline_ms = due_times.deadline(task.timeout, arguments.input, arguments, ctx.now_ms)
    return dispatch.begin(ctx, scope, task, arguments)


def _complete(
    ctx: ExecutionContext,
    frame: Frame,
    task: Task,
    output: object,
    authorization: Mapping[str, object] | None = None,
) -> None:
    try:
        ctx.complete_frame(frame, task, output, authorization=authorization)
    except Fault as fault:
        _propagate(ctx, fault)


def _time_out(ctx: ExecutionContext, frame: Frame) -> None:
    """Raise the timeout error at a frame of the interpreter, after cancelling its content."""
    assert frame.deadline_ms is not None
    length = durations.format_seconds((frame.deadline_ms - frame.timed_from_ms) / 1000)
    if frame.parent is None:
        expire_run(ctx, f"the workflow took longer than its timeout of {length}")
        return
    ctx.note_cancelled(ctx.tree.remove_below(frame))
    if frame.kind == "scope":  # one attempt of a `try`: the error comes from inside it
        scope, task = frame, ctx.program.tasks[ctx.tree.parent(frame).pointer]
        detail = f"its attempt took longer than the limit of {length}"
    else:
        scope, task = ctx.tree.abandon(frame), ctx.program.tasks[frame.pointer]
        detail = f"it took longer than its timeout of {length}"
    ctx.set_savepoint()
    _propagate(ctx, ctx.fault(WorkflowError("timeout", detail=detail), task, scope, definite=False))


def expire_run(ctx: ExecutionContext, detail: str) -> None:
    """Fault the interpreter's run with the standard's timeout error, which names the current tasks."""
    inner = {frame.parent for frame in ctx.tree.frames.values()}
    at = dict.fromkeys(
        frame.pointer
        for frame in ctx.tree.frames.values()
        if frame.kind == "task" and frame.pointer and frame.id not in inner
    )
    if at:
        more = f" and {len(at) - _NAMED} more" if len(at) > _NAMED else ""
        detail += f"; it was at {', '.join([*at][:_NAMED])}{more}"
    expired = WorkflowError("timeout", detail=detail)
    ctx.fault_run(errors.to_problem(expired, "/", ctx.environment.redact))


def _propagate(ctx: ExecutionContext, fault: Fault) -> int | None:
    """Propagate an error in the interpreter to a task that catches it, or fault the run; return the scope."""
    while True:
        try:
            return _propagate_once(ctx, fault)
        except Fault as further:  # the handling of the error has failed
            fault = further


def _propagate_once(ctx: ExecutionContext, fault: Fault) -> int | None:
    error = ctx.with_error_type(fault.error)
    scope, at = ctx.tree[fault.at], fault.at
    detail = {"error": errors.to_stored(error, ctx.environment.redact)}
    ctx.note("task.faulted", fault.task, detail, scope)
    frames = ctx.tree.frames
    ctx.faulted.append(
        TaskFault(
            reference=task_reference(frames, scope, fault.task.pointer),
            input=scope.value,
            error=detail["error"],
            attempt=attempt_of(frames, scope),
        )
    )
    while (frame := ctx.tree.parent(scope)).parent is not None:
        around = ctx.program.tasks[frame.pointer]
        match around.body:
            case Try() as body if scope.pointer == body.tasks.pointer:
                try:
                    caught = try_.catch(ctx, frame, around, error, definite=fault.definite)
                except WorkflowError as second:
                    at = ctx.tree.parent(frame).id
                    error = ctx.with_error_type(ctx.describe_error(second, around, ctx.tree.parent(frame)))
                else:
                    if caught is not None:
                        return caught.at
            case Fork(compete=True) if frame.extension is None and fork.drop_competitor(ctx, scope):
                return None
            case For(tolerant=True) as body if scope.pointer == body.tasks.pointer:
                return for_parallel.absorb(ctx, scope, frame, around, body, error)
            case _:
                pass
        ctx.note_cancelled(ctx.tree.remove_below(frame))
        scope = ctx.tree.remove(frame)
        shortened = errors.shorten_texts(error)
        ctx.note("task.faulted", around, {"error": errors.strip_extensions(shortened)}, scope)
    ctx.tree.remove_below(frame)
    ctx.fault_run(error, at)
    return None
