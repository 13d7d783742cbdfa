"""One walk over a program: from the leaves that can move, task by task, until all wait or time is up.

Used by `advance` only, which makes one for each call. Frames are replaced, never changed; the walk
owns just the tree that holds them.

    begin ── if false ──────────────────────────────► move      (skipped: nothing of it applies)
      │ input.schema, input.from
      ├─ set, switch, raise ──► complete                         one step
      ├─ do, for, function ───► scope … leave ──► complete       frames: task, scope below it
      └─ wait, call, run ─────► parked … wake, answer ──► complete
                                   │ output.as, export.as
    complete ──► move: next, named, exit (past the last), end (the run)
    a WorkflowError anywhere ──► fault: up the tree to what catches it, else the run
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

from iogate.compiler.program import Program
from iogate.compiler.stages import BEFORE, EXPORT, INSIDE, WORKFLOW_INPUT, WORKFLOW_OUTPUT
from iogate.compiler.tasks import Fork, Target, Task, Try
from iogate.engine import attempts, bodies, branches, calls, raising, schemas, waits
from iogate.engine.commands import Note, Perform, Performed
from iogate.engine.frames import Tree
from iogate.engine.scope import Environment, RunFacts, Scope, truthy
from iogate.engine.state import Frame, changed
from iogate.errors import WorkflowError

_NOTHING: Mapping[str, Any] = {}
_SHARE = 20
"""Steps of one branch before the next has its turn."""


class Walk:
    def __init__(
        self,
        *,
        program: Program,
        facts: RunFacts,
        environment: Environment,
        now_ms: int,
        tree: Tree,
        budget: int,
    ) -> None:
        self.program = program
        self.facts = facts
        self.environment = environment
        self.now_ms = now_ms
        self.tree = tree
        self.budget = budget
        self.more = False
        self.ready: deque[int] = deque()
        """Scopes that can move."""
        self.notes: list[Note] = []
        self.performs: list[Perform] = []
        self.ended: Literal["completed", "faulted", "cancelled"] | None = None
        self.output: Any = None
        self.error: dict[str, Any] | None = None

    # the run as a whole

    def begin_run(self) -> None:
        """Take the workflow's input and stand before its first task."""
        self.note("workflow.started")
        flow, value = self.program.flow, self.facts.input
        try:
            if flow.input_schema is not None:
                schemas.require(flow.input_schema, value, "input of the workflow")
            arguments = self._workflow(WORKFLOW_INPUT, None)
            if flow.input_from is not None:
                value = flow.input_from.evaluate(value, arguments)
            deadline_ms = waits.deadline(self.program.timeout, value, arguments, self.now_ms)
        except WorkflowError as error:
            self.end_faulted(raising.problem(error, "/input"))
            return
        root = Frame(id=self.tree.next_id, kind="task", started_ms=self.now_ms, deadline_ms=deadline_ms)
        self.tree.add(root)
        self.enter(root, "/do", value=value, context={})

    def end_completed(self, value: Any, context: Any) -> None:
        """The workflow's last task is through, or one said `end`."""
        flow = self.program.flow
        try:
            if flow.output_as is not None:
                value = flow.output_as.evaluate(value, self._workflow(WORKFLOW_OUTPUT, context))
            if flow.output_schema is not None:
                schemas.require(flow.output_schema, value, "output of the workflow")
        except WorkflowError as error:
            self.end_faulted(raising.problem(error, "/output"))
            return
        self._end("completed")
        self.output = value
        self.note("workflow.completed")

    def end_faulted(self, error: dict[str, Any]) -> None:
        """Nothing caught it: the run ends with the error."""
        self._end("faulted")
        self.error = error
        self.note("workflow.faulted", detail={"error": error})

    def end_cancelled(self, reason: str) -> None:
        self._end("cancelled")
        self.note("workflow.cancelled", detail={"reason": reason} if reason else _NOTHING)

    def _end(self, status: Literal["completed", "faulted", "cancelled"]) -> None:
        self.cancelled(self.tree.clear())
        self.ended = status

    def cancelled(self, frames: tuple[Frame, ...]) -> None:
        """Say of tasks that were taken out of the tree that they will not end by themselves."""
        for frame in frames:
            if frame.kind == "task" and frame.pointer:
                self.note("task.cancelled", self.program.tasks[frame.pointer])

    # news from outside

    def answered(self, performed: Performed) -> None:
        """Go on with the task whose effect has an outcome; one that nobody waits for is ignored."""
        frame = self.tree.get(performed.frame)
        if frame is None or frame.phase != "effect":
            return
        task = self.program.tasks[frame.pointer]
        scope = self.tree.remove(frame)
        if performed.definite:
            self.tree.count_answer(scope)
        if performed.error is not None:
            described = raising.problem(performed.error, task.pointer)
            self.fault(scope.id, task, described, definite=performed.definite)
        else:
            self.complete_frame(frame, task, performed.output)

    def asked_again(self) -> None:
        """Ask once more for every effect under way, with the same keys and arguments."""
        for frame in self.tree.in_phase("effect"):
            if frame.id not in self.tree:
                continue  # the fault of an earlier one has ended it
            task, scope = self.program.tasks[frame.pointer], self.tree.parent(frame)
            try:
                bodies.perform(self, scope, task, frame, again=True)
            except WorkflowError as error:
                self.tree.remove(frame)
                definite = not isinstance(error, raising.UnknownOutcomeError)
                self.fault(scope.id, task, raising.placed(error, task, scope), definite=definite)

    def wake(self) -> None:
        """Let every moment happen that has come, in the order of time: ends of waits, timeouts."""
        for _, is_deadline, key in self.tree.in_time(self.now_ms):
            frame = self.tree.get(key)
            if frame is None or self.ended is not None:
                continue
            if is_deadline:
                self._time_out(frame)
                continue
            task = self.program.tasks[frame.pointer]
            if frame.phase == "timer":
                self.complete_frame(self.tree.take(frame), task, frame.input)
            elif frame.phase == "retry":
                try:
                    attempts.again(self, frame, task)
                except WorkflowError as error:
                    scope = self.tree.parent(frame)
                    self.cancelled(self.tree.remove_below(frame))
                    self.tree.take(frame)
                    self.fault(scope.id, task, raising.placed(error, task, scope))

    def _time_out(self, frame: Frame) -> None:
        """End what is inside a frame whose time is over, and raise the standard's error there."""
        late = WorkflowError("timeout", detail="it took longer than its timeout allows")
        if frame.parent is None:
            self.end_faulted(raising.problem(late, "/"))
            return
        self.cancelled(self.tree.remove_below(frame))
        if frame.kind == "scope":  # one attempt of a `try`: the error comes from inside it
            scope, task = frame, self.program.tasks[self.tree.parent(frame).pointer]
        else:
            scope, task = self.tree.remove(frame), self.program.tasks[frame.pointer]
        self.fault(scope.id, task, raising.placed(late, task, scope), definite=False)

    # the walk

    def run(self) -> None:
        """Move every leaf that can until it waits; `more` says that the budget ended first."""
        self.ready = deque(self.tree.leaves())
        share = max(1, min(_SHARE, self.budget // max(len(self.ready), 1)))
        while self.ready and self.ended is None:
            at: int | None = self.ready.popleft()
            left = share
            while at is not None and at in self.tree:
                if self.budget <= 0:
                    self.more = True
                    return
                if left <= 0:
                    self.ready.append(at)
                    break
                left -= 1
                self.budget -= 1
                at = self._step(self.tree[at])

    def _step(self, scope: Frame) -> int | None:
        tasks = self.program.lists[scope.pointer].tasks
        if scope.position < len(tasks):
            task = tasks[scope.position]
            try:
                return self._begin(scope, task)
            except WorkflowError as error:
                return self.fault(scope.id, task, raising.placed(error, task, scope))
        frame = self.tree.parent(scope)
        if frame.parent is None:
            self.end_completed(scope.value, scope.context)
            return None
        return bodies.leave(self, scope, frame, self.program.tasks[frame.pointer])

    def _begin(self, scope: Frame, task: Task) -> int | None:
        data = scope.value
        arguments = self._arguments(scope, task, BEFORE)
        arguments.raw, arguments.started_ms = data, self.now_ms
        if task.condition is not None and not truthy(task.condition.evaluate(data, arguments)):
            self.note("task.skipped", task)
            return self._move(scope.id, data, "continue")
        self.note("task.started", task, _NOTHING if scope.turn is None else {"turn": scope.turn})
        if not task.plain:
            if task.flow.input_schema is not None:
                schemas.require(task.flow.input_schema, data, "input")
            if task.flow.input_from is not None:
                data = task.flow.input_from.evaluate(data, arguments)
        arguments.input, arguments.stage = data, INSIDE
        arguments.deadline_ms = waits.deadline(task.timeout, data, arguments, self.now_ms)
        return bodies.begin(self, scope, task, arguments)

    # in and out of tasks

    def open(self, scope: Frame, arguments: Scope, **attributes: Any) -> Frame:
        """A frame for the task that `arguments` are of: it has an inside, or has to wait."""
        task = arguments.task
        assert task is not None
        return self.tree.add(
            Frame(
                id=self.tree.next_id,
                parent=scope.id,
                kind="task",
                pointer=task.pointer,
                raw=arguments.raw if task.flow.input_from is not None else None,
                input=arguments.input,
                started_ms=arguments.started_ms,
                deadline_ms=arguments.deadline_ms,
                **attributes,
            )
        )

    def enter(self, frame: Frame, pointer: str, *, value: Any, context: Any = ..., **attributes: Any) -> int:
        """A scope inside the task of `frame`, before the first task of the list at `pointer`."""
        if context is not ...:
            attributes |= {"owns_context": True, "context": context}
        scope = Frame(
            id=self.tree.next_id, parent=frame.id, kind="scope", pointer=pointer, value=value, **attributes
        )
        return self.tree.add(scope).id

    def done(self, scope: Frame, then: Target | None = None) -> int | None:
        """The task around `scope` has its output: what flowed out of it."""
        frame = self.tree.take(self.tree.remove(scope))
        return self.complete_frame(frame, self.program.tasks[frame.pointer], scope.value, then)

    def complete_frame(self, frame: Frame, task: Task, output: Any, then: Target | None = None) -> int | None:
        """Complete the task of a frame that was taken out of the tree."""
        scope = self.tree.parent(frame)
        try:
            return self.complete(scope, task, self.arguments(scope, task, frame), output, then)
        except WorkflowError as error:
            return self.fault(scope.id, task, raising.placed(error, task, scope))

    def complete(
        self,
        scope: Frame,
        task: Task,
        arguments: Scope,
        output: Any,
        then: Target | None = None,
        detail: Mapping[str, Any] = _NOTHING,
    ) -> int | None:
        """The task has its raw output: transform it, export, and go where it says."""
        if not task.plain:
            output = self._export(scope, task, arguments, output)
        self.note("task.completed", task, detail)
        return self._move(scope.id, output, task.then if then is None else then)

    def _export(self, scope: Frame, task: Task, arguments: Scope, output: Any) -> Any:
        flow = task.flow
        calls.authenticator(task.body, arguments)
        arguments.raw_output, arguments.has_output = output, True
        if flow.output_as is not None:
            output = flow.output_as.evaluate(output, arguments)
        if flow.output_schema is not None:
            schemas.require(flow.output_schema, output, "output")
        owner = self.tree.owner(self.tree[scope.id])
        context = owner.context
        if flow.export_as is not None:
            arguments.output, arguments.stage = output, EXPORT
            context = flow.export_as.evaluate(output, arguments)
        if flow.export_schema is not None:
            schemas.require(flow.export_schema, context, "context")
        if context is not owner.context:
            self.tree.put(changed(owner, context=context))
        return output

    def _move(self, at: int, value: Any, then: Target) -> int | None:
        scope = self.tree[at]
        match then:
            case "continue":
                position = scope.position + 1
            case "exit":
                position = len(self.program.lists[scope.pointer].tasks)
            case "end":
                self.end_completed(value, self.tree.owner(scope).context)
                return None
            case _:
                position = then
        self.tree.put(changed(scope, position=position, value=value))
        return at

    def fault(self, at: int, task: Task, error: dict[str, Any], *, definite: bool = True) -> int | None:
        """Carry the error up from the task in scope `at` to what catches it; to the run's end otherwise.

        `definite` is False where something outside may or may not have happened.
        """
        self.note("task.faulted", task, {"error": error})
        scope = self.tree[at]
        while (frame := self.tree.parent(scope)).parent is not None:
            around = self.program.tasks[frame.pointer]
            match around.body:
                case Try() as body if scope.pointer == body.tasks.pointer:
                    try:
                        caught = attempts.catch(self, frame, around, error, definite=definite)
                    except WorkflowError as second:
                        error = raising.placed(second, around, self.tree.parent(frame))
                    else:
                        if caught is not None:
                            return caught.at
                case Fork(compete=True) if branches.others_go_on(self, scope, frame):
                    return None
                case _:
                    pass
            self.cancelled(self.tree.remove_below(frame))
            self.note("task.faulted", around, {"error": error})
            scope = self.tree.remove(frame)
        self.tree.remove_below(frame)
        self.end_faulted(error)
        return None

    # what expressions see

    def arguments(self, scope: Frame, task: Task, frame: Frame, more: Mapping[str, Any] = _NOTHING) -> Scope:
        """What the task's own expressions see while its frame is, or was, in the tree."""
        arguments = self._arguments(scope, task, INSIDE)
        if more:
            arguments.locals = lambda: {**self.tree.variables(scope, self.program), **more}
        arguments.raw = frame.raw if task.flow.input_from is not None else frame.input
        arguments.input, arguments.started_ms = frame.input, frame.started_ms
        return arguments

    def _arguments(self, scope: Frame, task: Task, stage: frozenset[str]) -> Scope:
        return Scope(
            program=self.program,
            facts=self.facts,
            environment=self.environment,
            now_ms=self.now_ms,
            stage=stage,
            context=self.tree.owner(scope).context,
            locals=lambda: self.tree.variables(scope, self.program),
            task=task,
        )

    def _workflow(self, stage: frozenset[str], context: Any) -> Scope:
        return Scope(
            program=self.program,
            facts=self.facts,
            environment=self.environment,
            now_ms=self.now_ms,
            stage=stage,
            context=context,
            locals=dict,
        )

    def note(self, kind: Any, task: Task | None = None, detail: Mapping[str, Any] = _NOTHING) -> None:
        """Write down a transition, for people."""
        pointer, name = ("", "") if task is None else (task.pointer, task.name)
        self.notes.append(Note(kind=kind, at_ms=self.now_ms, reference=pointer, name=name, detail=detail))
