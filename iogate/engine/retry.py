"""Another attempt of a faulted run: from the task that faulted, or from an earlier task.

Called by `runs retry`, never by `advance`. A faulted state holds its tree as it was when the error was
raised; this module turns it into a state that can continue. Invariants: no committed step is repeated
unless an operator names it; the parts of idempotency keys do not change.

    leaf scope      begins the task that faulted
    effect          is requested again, with its key (`Resumed`)
    at most once    was cancelled, and its outcome is unknown: its task begins again, with the same key
    timer, delay    continues to its due time
    event           is subscribed to again (`Resumed`); events of the meantime are lost
    child           was cancelled with its parent: its task begins again
    deadline        starts again with its full length, as does `limit.duration` of a `try`
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from iogate.compiler.program import Program
from iogate.compiler.tasks import Do, For, Fork, Task, Try
from iogate.engine.state import kept_keys
from iogate.engine.state.frame import Frame, replace_frame
from iogate.engine.state.frame_tree import FrameTree, is_function
from iogate.engine.state.run_state import State
from iogate.errors import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumedState:
    """A state that continues from a given task."""

    state: State
    is_original_input: bool
    """False if the task gets the data that flowed when the run faulted, because its own input is not kept."""


def resume_faulted(program: Program, state: State, now_ms: int) -> State:
    """Return the state for a retry at the task that faulted.

    Raises Refused if the run has not faulted.
    """
    if state.status != "faulted":
        raise Refused(f"the run is {state.status}: only a faulted run can be retried")
    if not state.frames:
        return State(next_id=state.next_id, inbox_done=state.inbox_done, links=state.links)
    tree = FrameTree(state)
    kept = [each for each in state.frames.values() if not _restarts(program, tree, each)]
    frames = {each.id: _ready(each, now_ms) for each in kept}
    resumed = replace(state, frames=frames, status="running", output=None, error=None)
    return replace(resumed, faulted_at=None, index=None, trail=None)


def _restarts(program: Program, tree: FrameTree, frame: Frame) -> bool:
    """Tell whether a retry removes a frame, so that its task begins again; the operator permits it."""
    if frame.phase != "effect":
        return frame.phase == "child"
    calls = tree.enclosing_calls(tree.parent(frame))
    return any(program.tasks[each.pointer].at_most_once for each in (frame, *calls))


def _ready(frame: Frame, now_ms: int) -> Frame:
    attributes: dict[str, Any] = {}
    if frame.deadline_ms is not None:
        attributes["deadline_ms"] = now_ms + frame.deadline_ms - frame.timed_from_ms
    if frame.deadline_ms is not None or (frame.kind == "task" and frame.phase in ("inside", "retry")):
        attributes["restarted_ms"] = now_ms  # `started_ms` stays: the arguments of an effect depend on it
    if frame.phase == "event":
        attributes["wants"] = None
    return _permit(replace_frame(frame, **attributes) if attributes else frame)


def _permit(frame: Frame) -> Frame:
    """Permit, by the retry of an operator, to repeat effects that must happen at most once."""
    return replace_frame(frame, kept_keys=kept_keys.permit(frame.kept_keys)) if frame.kept_keys else frame


def resume_from(program: Program, state: State, pointer: str, now_ms: int, given: Any) -> ResumedState:
    """Return the state for a retry from the task at `pointer`; `given` is the input of the run.

    Raises Refused if the run was not in the task's list when it faulted, or had not reached the task.
    """
    task, at, index = _place(program, pointer)
    resumed = resume_faulted(program, state, now_ms)
    if not resumed.frames:
        if pointer == program.lists["/do"].tasks[0].pointer:
            return ResumedState(state=resumed, is_original_input=True)
        raise Refused(f"the run has not begun: it cannot be retried from {pointer}, only from its start")
    path = _path(program, state)
    scope = next((frame for frame in path if frame.pointer == at), None)
    if scope is None:
        known = ", ".join(frame.pointer for frame in path)
        raise Refused(
            f"the run was not in {at} when it faulted",
            hint=f"name a task of a list that it was in: {known}",
        )
    if index > scope.position:
        current = _current_task(program, scope)
        raise Refused(f'the run has not reached task "{task.name}": in {at} it is at {current}')
    value, is_original_input = _input(program, state.frames, scope, index, given)
    tree = FrameTree(resumed)
    tree.remove_below(tree[scope.id])
    tree.renew_keys(tree[scope.id])
    tree.put(replace_frame(tree[scope.id], position=index, value=value, extended=None, phase="inside"))
    frames = {key: _permit(frame) for key, frame in tree.frames.items()}
    return ResumedState(
        state=replace(resumed, frames=frames, index=None), is_original_input=is_original_input
    )


def restart_call(program: Program, state: State) -> State:
    """Return the state for a retry before the call in which the run faulted, if no task ended there.

    The current definition then evaluates the arguments of the call. Otherwise return the same state.
    """
    call: Frame | None = None
    for scope in _path(program, state):
        assert scope.parent is not None
        around = state.frames[scope.parent]
        if around.parent is None or not _is_untouched(state.frames, around, scope):
            break
        if is_function(scope.pointer):
            call = around
    if call is None:
        return state
    tree = FrameTree(state)
    tree.remove_below(call)
    tree.remove(call)
    error = {**(state.error or {}), "instance": call.pointer}
    at = None if state.faulted_at is None else call.parent
    return replace(state, frames=tree.frames, error=error, faulted_at=at, index=None, trail=None)


def _is_untouched(frames: Mapping[int, Frame], task: Frame, scope: Frame) -> bool:
    """Tell, for a retry, whether a task has begun without any of its inner tasks."""
    return (
        (scope.position, scope.turn or 0, task.attempt) == (0, 0, 0)
        and not scope.extended
        and task.phase == "inside"
        and task.extension is None
        and not scope.pointer.endswith("/catch/do")
        and sum(each.parent == task.id for each in frames.values()) == 1
    )


def enclosing_call(program: Program, state: State) -> str | None:
    """Return, for a retry, the pointer of the outermost call of the function with the fault; or None."""
    calls = [scope.parent for scope in _path(program, state) if is_function(scope.pointer)]
    return None if not calls or calls[-1] is None else state.frames[calls[-1]].pointer


def _place(program: Program, pointer: str) -> tuple[Task, str, int]:
    """Return the task to retry from by its pointer, the pointer of its list, and its index there."""
    for at, tasks in program.lists.items():
        for index, task in enumerate(tasks.tasks):
            if task.pointer == pointer:
                return task, at, index
    raise Refused(
        f"{program.name} has no task {pointer}",
        hint="a task's pointer is its reference, such as /do/2/charge",
    )


def _path(program: Program, state: State) -> list[Frame]:
    """Return the scopes around the task to retry from, innermost first."""
    frames = state.frames
    inner = {frame.parent for frame in frames.values()}
    leaves = [frame for frame in frames.values() if frame.kind == "scope" and frame.id not in inner]
    where = (state.error or {}).get("instance")
    faulted = [leaf for leaf in leaves if where in (_current_task(program, leaf), _around(frames, leaf))]
    at = state.faulted_at
    scope = max(faulted or leaves, key=lambda leaf: (leaf.id == at, leaf.id), default=None)
    if scope is None:
        return [frame for frame in frames.values() if frame.pointer == "/do" and frame.kind == "scope"]
    path: list[Frame] = []
    while True:
        path.append(scope)
        assert scope.parent is not None
        task = frames[scope.parent]
        if task.parent is None:
            return path
        scope = frames[task.parent]


def _around(frames: Mapping[int, Frame], scope: Frame) -> str:
    return frames[scope.parent].pointer if scope.parent is not None else ""


def _current_task(program: Program, scope: Frame) -> str:
    tasks = program.lists[scope.pointer].tasks
    return tasks[scope.position].pointer if scope.position < len(tasks) else "its end"


def _input(
    program: Program, frames: Mapping[int, Frame], scope: Frame, index: int, given: Any
) -> tuple[Any, bool]:
    """Return the input of the task to retry from, and whether it is the input that the task had before."""
    if index == scope.position:
        around = next((each for each in frames.values() if each.parent == scope.id), None)
        # During an extension after the task, the task's output flows already.
        return (around.raw, True) if around is not None and around.then is not None else (scope.value, True)
    assert scope.parent is not None
    frame = frames[scope.parent]
    if index == 0 and frame.parent is None and program.flow.input_from is None:
        return given, True
    if index == 0 and frame.parent is not None and frame.extension is None and not is_function(scope.pointer):
        body = program.tasks[frame.pointer].body
        if isinstance(body, Do | Try | Fork) or (
            isinstance(body, For) and (scope.turn == 0 or scope.owns_context)
        ):
            return frame.input, True
    return scope.value, False


def migrate(old: Program, new: Program, state: State) -> State:
    """Return the state for a retry with another version of the workflow, at the tasks of the same names.

    Raises Refused, which names the tasks and lists that the other version lacks.
    """
    migration = _Migration(old, new)
    frames = {key: migration.frame(frame) for key, frame in sorted(state.frames.items())}
    if migration.lost:
        raise Refused(
            f"the run does not fit {new.name}: " + "; ".join(dict.fromkeys(migration.lost)),
            hint="retry it without --on current, with the definition that it began with",
        )
    error = dict(state.error) if state.error is not None else None
    if error is not None and error.get("instance") in old.tasks:
        error["instance"] = migration.task(error["instance"]) or error["instance"]
    return replace(state, frames=frames, error=error, index=None, trail=None)


def migrate_and_resume_from(
    old: Program, new: Program, state: State, pointer: str, now_ms: int, given: Any
) -> ResumedState:
    """Return the state for a retry from the task at `pointer` of another version of the workflow.

    Tasks that began after that one need not be in the other version: they begin again.

    Raises Refused if the task, or a task around or before it that the run was in, is not in both versions.
    """
    _place(new, pointer)
    try:
        return resume_from(new, migrate(old, new, state), pointer, now_ms, given)
    except Refused as refused:
        before = _Migration(new, old).task(pointer)
        if before is None:
            raise
        try:
            resumed = resume_from(old, state, before, now_ms, given)
            return replace(resumed, state=migrate(old, new, resumed.state))
        except Refused:
            raise refused from None


class _Migration:
    """Mapping of pointers from one program to another, by the names of tasks."""

    def __init__(self, old: Program, new: Program) -> None:
        self.old = old
        self.new = new
        self.lost: list[str] = []
        """Reasons why the state does not fit."""
        self._lists = {task.pointer: (at, task) for at, tasks in old.lists.items() for task in tasks.tasks}

    def frame(self, frame: Frame) -> Frame:
        """Return the frame of a retry with its pointers in the new program."""
        if frame.kind != "scope":
            return self._of_task(frame) if frame.pointer else frame
        at = self.list(frame.pointer)
        if at is None:
            return frame
        position = self._position(frame, at)
        attributes: dict[str, Any] = {"pointer": at, "position": position}
        tasks = self.old.lists[frame.pointer].tasks
        if frame.extended is not None and frame.position < len(tasks):
            pointer = self.task(tasks[frame.position].pointer)
            if pointer is not None:
                attributes["extended"] = self._extensions(frame, tasks[frame.position], pointer)
        return replace_frame(frame, **attributes)

    def _of_task(self, frame: Frame) -> Frame:
        pointer = self.task(frame.pointer)
        if pointer is None:
            return frame
        before, after = self.old.tasks[frame.pointer], self.new.tasks[pointer]
        if type(before.body) is not type(after.body):
            self.lost.append(f'task "{before.name}" ({frame.pointer}) is of another kind')
        elif _is_parallel(before) != _is_parallel(after):
            self.lost.append(f'"{before.name}" ({frame.pointer}) is parallel in one version only')
        elif isinstance(after.body, Fork) and not _same_branches(before, after):
            self.lost.append(f'the branches of "{before.name}" ({frame.pointer}) differ')
        elif frame.phase == "event" and before.definition.get("listen") != after.definition.get("listen"):
            self.lost.append(f'"{before.name}" ({frame.pointer}) listens to something else')
        attributes: dict[str, Any] = {"pointer": pointer}
        if frame.extension is not None:
            name = before.extensions[frame.extension].name
            names = [each.name for each in after.extensions]
            if name in names:
                attributes["extension"] = names.index(name)
            else:
                self.lost.append(f'extension "{name}" no longer extends "{before.name}" ({frame.pointer})')
        if isinstance(frame.then, int):
            at, _ = self._lists[frame.pointer]
            attributes["then"] = self._index(self.old.lists[at].tasks[frame.then], self.list(at) or at)
        return replace_frame(frame, **attributes)

    def _extensions(self, scope: Frame, before: Task, pointer: str) -> list[int]:
        names = [each.name for each in self.new.tasks[pointer].extensions]
        applied = [before.extensions[index].name for index in scope.extended]
        return [names.index(name) for name in applied if name in names]

    def _position(self, scope: Frame, at: str) -> int:
        """Return the index, for a retry, of the task of the same name; at the end, that after the last."""
        before, after = self.old.lists[scope.pointer].tasks, self.new.lists[at].tasks
        beyond = max(scope.position - len(before) + 1, 0)
        index = self._index(before[scope.position - beyond], at)
        if index is None:
            return scope.position
        if scope.position > len(before):  # ended by `exit`
            return len(after) + 1
        return index + beyond

    def _index(self, task: Task, at: str) -> int | None:
        """Return the index, for a retry, of the task of the same name in a new list; record its absence."""
        names = [each.name for each in self.new.lists[at].tasks]
        if task.name in names:
            return names.index(task.name)
        self.lost.append(f'it has no task "{task.name}" in {at}')
        return None

    def list(self, pointer: str) -> str | None:
        """Return the pointer of the list in the program to retry with; record its absence."""
        found = self._list(pointer)
        if found is not None and found not in self.new.lists:
            self.lost.append(f"it has no list {found}")
            return None
        return found

    def _list(self, pointer: str) -> str | None:
        if pointer == "/do" or is_function(pointer):
            return pointer
        if pointer.startswith("/use/extensions/") and pointer.count("/") == 5:
            _, _, _, _, name, moment = pointer.split("/")
            return next((at for at in self.new.lists if _extension_of(at) == (name, moment)), pointer)
        around = max((task for task in self._lists if pointer.startswith(f"{task}/")), key=len, default=None)
        if around is None:
            return pointer
        new = self.task(around)
        if new is None:
            return None
        suffix = pointer[len(around) :]
        if not suffix.startswith("/fork/branches/"):
            return new + suffix
        (branch,) = self.old.lists[pointer].tasks
        return next(
            (
                at
                for at, tasks in self.new.lists.items()
                if at.startswith(f"{new}/fork/branches/")
                and at.count("/") == new.count("/") + 3
                and tasks.tasks[0].name == branch.name
            ),
            pointer,
        )

    def task(self, pointer: str) -> str | None:
        """Return the pointer of the same task in the program to retry with; record its absence."""
        at, task = self._lists[pointer]
        new = self.list(at)
        if new is None:
            return None
        for each in self.new.lists[new].tasks:
            if each.name == task.name:
                return each.pointer
        self.lost.append(f'it has no task "{task.name}" in {new}')
        return None


def _extension_of(pointer: str) -> tuple[str, str] | None:
    if not pointer.startswith("/use/extensions/") or pointer.count("/") != 5:
        return None
    _, _, _, _, name, moment = pointer.split("/")
    return name, moment


def _is_parallel(task: Task) -> bool:
    return isinstance(task.body, For) and task.body.parallel > 0


def _same_branches(before: Task, after: Task) -> bool:
    return list(_branches(before)) == list(_branches(after))


def _branches(task: Task) -> Iterator[str]:
    assert isinstance(task.body, Fork)
    for branch in task.body.branches:
        yield branch.tasks[0].name
