"""Moves a walk: from the leaves that can move, task by task, until all wait or the budget is used up.

Used by `advance` only. On top of the kinds of tasks, which know nothing of what is around theirs.

    begin ── if false ──────────────────────────────► move      (skipped: nothing of it applies)
      │ input.schema, input.from
      ├─ set, switch, raise ──► complete                         one step
      ├─ do, for, function ───► scope … leave ──► complete       frames: task, scope below it
      └─ wait, call, run ─────► parked … wake, answer ──► complete
                                   │ output.as, export.as
    complete ──► move: next, named, exit (past the last), end (the run)
    an error anywhere ──► carried up the tree to what catches it, else the run faults
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from iogate.compiler.stages import BEFORE
from iogate.compiler.tasks import Fork, Listen, Task, Try
from iogate.engine import errors
from iogate.engine.commands import Arrived, ChildEnded, Performed
from iogate.engine.interpreter.context import NOTHING, Fault, Walk
from iogate.engine.scope import truthy
from iogate.engine.state.frame import Frame
from iogate.engine.tasks import dispatch, extensions, fork, listen, run_workflow, try_, wait
from iogate.errors import WorkflowError
from iogate.timing import durations

_NAMED = 3
"""Tasks that the error of an expired run names."""
_SHARE = 20
"""Steps of one branch before the next has its turn."""


def answered(walk: Walk, performed: Performed) -> None:
    """Go on with the task whose effect has an outcome; one that nobody waits for is ignored."""
    frame = walk.tree.get(performed.frame)
    if frame is None or frame.phase != "effect":
        return
    task = walk.program.tasks[frame.pointer]
    scope = walk.tree.remove(frame)
    if performed.definite:
        walk.tree.count_answer(scope)
    walk.begins()
    if performed.error is not None:
        _carry(walk, walk.fault(performed.error, task, scope, definite=performed.definite))
    else:
        _complete(walk, frame, task, performed.output, performed.authorization)


def received(walk: Walk, message: Arrived | ChildEnded) -> None:
    """Take in a message; one for a frame that is gone, or waits for something else, counts for nothing."""
    frame = walk.tree.get(message.frame)
    walk.begins()
    match message:
        case Arrived(event=event) if frame is not None and frame.phase == "event":
            try:
                listen.arrived(walk, frame, walk.program.tasks[frame.pointer], event)
            except Fault as fault:
                _carry(walk, fault)
        case ChildEnded() if frame is not None and frame.phase == "child":
            task, scope = walk.program.tasks[frame.pointer], walk.tree.parent(frame)
            walk.tree.take(frame)
            walk.begins()
            if message.status == "completed":
                _complete(walk, frame, task, message.output)
            else:
                _carry(walk, walk.fault(run_workflow.error(message), task, scope))
        case _:
            pass


def asked_again(walk: Walk, worker: str = "") -> None:
    """Ask once more for every effect under way, with the same keys and arguments.

    In another attempt, after a fault, tasks that listen subscribe anew. `worker`: the one that had begun the
    effects and ended, if there was one; the journal then says of each that it was begun again or interrupted.
    """
    for frame in walk.tree.listening():
        if frame.wants is None:
            listen.again(walk, frame, walk.program.tasks[frame.pointer])
    for frame in walk.tree.under_way():
        if frame.id not in walk.tree:
            continue  # the fault of an earlier one has ended it
        task, scope = walk.program.tasks[frame.pointer], walk.tree.parent(frame)
        try:
            dispatch.perform(walk, scope, task, frame, again=True)
        except WorkflowError as error:
            walk.tree.remove(frame)
            walk.begins()
            definite = not isinstance(error, errors.UnknownOutcomeError)
            if worker and not definite:
                walk.note("task.interrupted", task, {"worker": worker})
            _carry(walk, walk.fault(error, task, scope, definite=definite))
        else:
            if worker:
                walk.note("task.restarted", task, {"worker": worker})


def wake(walk: Walk) -> None:
    """Let every moment happen that has come, in the order of time: ends of waits, timeouts."""
    for _, is_deadline, key in walk.tree.in_time(walk.now_ms):
        frame = walk.tree.get(key)
        if frame is None or walk.ended is not None:
            continue
        walk.begins()
        if is_deadline:
            _time_out(walk, frame)
            continue
        task = walk.program.tasks[frame.pointer]
        if frame.phase == "timer":
            _complete(walk, walk.tree.take(frame), task, frame.input)
        elif frame.phase == "retry":
            try:
                try_.again(walk, frame, task)
            except WorkflowError as error:
                scope = walk.tree.parent(frame)
                walk.cancelled(walk.tree.remove_below(frame))
                walk.tree.take(frame)
                _carry(walk, walk.fault(error, task, scope))


def run(walk: Walk) -> None:
    """Move every leaf that can until it waits; `more` says that the budget ended first."""
    walk.ready = deque(walk.tree.leaves())
    share = max(1, min(_SHARE, walk.budget // max(len(walk.ready), 1)))
    while walk.ready and walk.ended is None:
        at: int | None = walk.ready.popleft()
        left = share
        while at is not None and at in walk.tree:
            if walk.budget <= 0:
                walk.more = True
                walk.ready.appendleft(at)
                return
            if left <= 0:
                walk.ready.append(at)
                break
            left -= 1
            walk.budget -= 1
            walk.begins()
            try:
                at = _step(walk, walk.tree[at])
            except Fault as fault:
                at = _carry(walk, fault)


def _step(walk: Walk, scope: Frame) -> int | None:
    tasks = walk.program.lists[scope.pointer].tasks
    if scope.position < len(tasks):
        task = tasks[scope.position]
        if walk.emits and isinstance(task.body, Listen):
            # Who listens hears what comes from now on: the events before go out before it subscribes.
            walk.pause()
            return scope.id
        try:
            return _begin(walk, scope, task)
        except WorkflowError as error:
            raise walk.fault(error, task, scope) from None
    frame = walk.tree.parent(scope)
    if frame.parent is None:
        walk.end_completed(scope.value, scope.context)
        return None
    task = walk.program.tasks[frame.pointer]
    if frame.extension is None:
        return dispatch.leave(walk, scope, frame, task)
    outer = walk.tree.parent(frame)
    try:
        return extensions.leave(walk, scope, frame, task)
    except WorkflowError as error:
        raise walk.fault(error, task, outer) from None


def _begin(walk: Walk, scope: Frame, task: Task) -> int | None:
    arguments = walk.arguments_at(scope, task, BEFORE)
    arguments.raw, arguments.started_ms = scope.value, walk.now_ms
    if scope.extended is None:
        if task.condition is not None and not truthy(task.condition.evaluate(scope.value, arguments)):
            walk.note("task.skipped", task)
            return walk.move(scope.id, scope.value, "continue")
        walk.note("task.started", task, NOTHING if scope.turn is None else {"turn": scope.turn})
        if task.extensions:
            at = extensions.begin(walk, scope, task, arguments)
            if at is not None:
                return at
            scope = walk.tree[scope.id]
    walk.take_input(task, arguments)
    arguments.deadline_ms = wait.deadline(task.timeout, arguments.input, arguments, walk.now_ms)
    return dispatch.begin(walk, scope, task, arguments)


def _complete(
    walk: Walk,
    frame: Frame,
    task: Task,
    output: object,
    authorization: Mapping[str, object] | None = None,
) -> None:
    try:
        walk.complete_frame(frame, task, output, authorization=authorization)
    except Fault as fault:
        _carry(walk, fault)


def _time_out(walk: Walk, frame: Frame) -> None:
    """End what is inside a frame whose time is over, and raise the standard's error there."""
    assert frame.deadline_ms is not None
    length = durations.format_seconds((frame.deadline_ms - frame.started_ms) / 1000)
    if frame.parent is None:
        expire(walk, f"the workflow took longer than its timeout of {length}")
        return
    walk.cancelled(walk.tree.remove_below(frame))
    if frame.kind == "scope":  # one attempt of a `try`: the error comes from inside it
        scope, task = frame, walk.program.tasks[walk.tree.parent(frame).pointer]
        detail = f"its attempt took longer than the limit of {length}"
    else:
        scope, task = walk.tree.remove(frame), walk.program.tasks[frame.pointer]
        detail = f"it took longer than its timeout of {length}"
    walk.begins()
    _carry(walk, walk.fault(WorkflowError("timeout", detail=detail), task, scope, definite=False))


def expire(walk: Walk, detail: str) -> None:
    """Fault the whole run with the standard's timeout error, which names the tasks that it was at."""
    inner = {frame.parent for frame in walk.tree.frames.values()}
    at = dict.fromkeys(
        frame.pointer
        for frame in walk.tree.frames.values()
        if frame.kind == "task" and frame.pointer and frame.id not in inner
    )
    if at:
        more = f" and {len(at) - _NAMED} more" if len(at) > _NAMED else ""
        detail += f"; it was at {', '.join([*at][:_NAMED])}{more}"
    expired = WorkflowError("timeout", detail=detail)
    walk.end_faulted(errors.problem(expired, "/", walk.environment.redact))


def _carry(walk: Walk, fault: Fault) -> int | None:
    """Carry an error up to what catches it, to the run's end otherwise; gives the scope to go on in."""
    while True:
        try:
            return _up(walk, fault)
        except Fault as further:  # what caught it has failed in turn
            fault = further


def _up(walk: Walk, fault: Fault) -> int | None:
    error = walk.named(fault.error)
    walk.note("task.faulted", fault.task, {"error": errors.shown(error, walk.environment.redact)})
    scope = walk.tree[fault.at]
    while (frame := walk.tree.parent(scope)).parent is not None:
        around = walk.program.tasks[frame.pointer]
        match around.body:
            case Try() as body if scope.pointer == body.tasks.pointer:
                try:
                    caught = try_.catch(walk, frame, around, error, definite=fault.definite)
                except WorkflowError as second:
                    error = walk.named(walk.placed(second, around, walk.tree.parent(frame)))
                else:
                    if caught is not None:
                        return caught.at
            case Fork(compete=True) if frame.extension is None and fork.others_go_on(walk, scope):
                return None
            case _:
                pass
        walk.cancelled(walk.tree.remove_below(frame))
        walk.note("task.faulted", around, {"error": errors.brief(error)})
        scope = walk.tree.remove(frame)
    walk.tree.remove_below(frame)
    walk.end_faulted(error)
    return None
