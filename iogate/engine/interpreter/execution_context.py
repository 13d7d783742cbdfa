"""Execution context of one call of `advance`, and the operations that all kinds of tasks share.

Created by `advance`, used by `loop` and the kinds of tasks. Frames are replaced, never changed; the context
owns the tree that holds them. Invariant: an operation that fails raises, and leaves the tree without the
task's frame (Fault) or unchanged (WorkflowError).
"""

from __future__ import annotations

from collections import ChainMap, deque
from collections.abc import Mapping
from typing import Any, Literal

from iogate.compiler.expression_scope import EXPORT, INSIDE, WORKFLOW_INPUT, WORKFLOW_OUTPUT
from iogate.compiler.program import Program
from iogate.compiler.tasks import Child, Flow, Listen, Target, Task, TaskList
from iogate.compiler.tasks import Emit as EmitBody
from iogate.engine import data_schemas, errors
from iogate.engine.commands import Emit, Note, Perform, StartChild, TaskEnd, TaskFault
from iogate.engine.expression_scope import Environment, RunFacts, Scope
from iogate.engine.state.frame import Frame, replace_frame
from iogate.engine.state.frame_tree import FrameTree, attempt_of, parallel_reference, task_reference
from iogate.engine.tasks import call as calls
from iogate.engine.tasks import due_times
from iogate.errors import WorkflowError, in_family

NOTHING: Mapping[str, Any] = {}
NO_FRAMES: Mapping[int, Frame] = {}
_RECORDED_APART = calls.Outside | Child | EmitBody | Listen


class Fault(Exception):
    """The error of the task in scope `at`, until a task around it catches it.

    `definite` is False if the failed task has an effect that may or may not have happened.
    """

    def __init__(self, at: int, task: Task, error: dict[str, Any], *, definite: bool = True) -> None:
        super().__init__(error.get("detail"))
        self.at = at
        self.task = task
        self.error = error
        self.definite = definite


class ExecutionContext:
    """The tree of one run during a slice, and the commands and notes of the slice so far."""

    def __init__(
        self,
        *,
        program: Program,
        facts: RunFacts,
        environment: Environment,
        now_ms: int,
        tree: FrameTree,
        budget: int,
        inbox_done: int = 0,
        traced: bool = False,
    ) -> None:
        self.program = program
        self.facts = facts
        self.environment = environment
        self.now_ms = now_ms
        self.tree = tree
        self.budget = budget
        self.inbox_done = inbox_done
        self.traced = traced
        self.more = False
        self.ready: deque[int] = deque()
        """Scopes that can move."""
        self.savepoint = 0
        """Position in the tree's log before the current operation: a retry of the run starts there."""
        self.frames_at_fault: Mapping[int, Frame] = {}
        """The frames at the savepoint, of a run that has faulted."""
        self.faulted_at: int | None = None
        """Scope of the task that faulted the run, if several iterations may be at that task."""
        self.notes: list[Note] = []
        self.faulted: list[TaskFault] = []
        self.completed: list[TaskEnd] = []
        self.performs: list[Perform] = []
        self.emits: list[Emit] = []
        self.children: list[StartChild] = []
        self.ended: Literal["completed", "faulted", "cancelled"] | None = None
        self.output: Any = None
        self.error: dict[str, Any] | None = None

    # the run as a whole

    def begin_run(self) -> None:
        """Begin a run in this execution context: transform its input and enter its list of tasks."""
        self.note("workflow.started")
        flow, value = self.program.flow, self.facts.input
        try:
            if flow.input_schema is not None:
                data_schemas.require(flow.input_schema, value, "input of the workflow")
            arguments = self._workflow_arguments(WORKFLOW_INPUT, None)
            if flow.input_from is not None:
                value = flow.input_from.evaluate(value, arguments)
            deadline_ms = due_times.deadline(self.program.timeout, value, arguments, self.now_ms)
        except WorkflowError as error:
            self.fault_run(errors.to_problem(error, "/input", self.environment.redact))
            return
        root = Frame(id=self.tree.next_id, kind="task", started_ms=self.now_ms, deadline_ms=deadline_ms)
        self.tree.add(root)
        self.enter(root, "/do", value=value, context={})

    def complete_run(self, value: Any, context: Any) -> None:
        """End the run of the execution context as completed, after its last task or by `end`."""
        flow = self.program.flow
        try:
            if flow.output_as is not None:
                value = flow.output_as.evaluate(value, self._workflow_arguments(WORKFLOW_OUTPUT, context))
            if flow.output_schema is not None:
                data_schemas.require(flow.output_schema, value, "output of the workflow")
        except WorkflowError as error:
            self.fault_run(errors.to_problem(error, "/output", self.environment.redact))
            return
        self._end("completed")
        self.output = value
        self.note("workflow.completed")

    def fault_run(self, error: dict[str, Any], at: int | None = None) -> None:
        """End the run of the execution context with an error; `at` is the scope of the failed task."""
        error = errors.to_stored(self.with_error_type(error), self.environment.redact)
        self.frames_at_fault = self.tree.frames_at(self.savepoint)
        self.faulted_at = at if self.program.parallel else None
        self._end("faulted")
        self.error = error
        # The journal entry of the task has the output of a failed process.
        self.note("workflow.faulted", detail={"error": errors.strip_extensions(error)})

    def with_error_type(self, error: Mapping[str, Any]) -> dict[str, Any]:
        """Return the error for the execution context, with its type in the settings' URI family."""
        return in_family(error, self.environment.error_types)

    def cancel_run(self, reason: str) -> None:
        self._end("cancelled")
        self.note("workflow.cancelled", detail={"reason": reason} if reason else NOTHING)

    def _end(self, status: Literal["completed", "faulted", "cancelled"]) -> None:
        self.note_cancelled(self.tree.clear())
        self.ended = status

    def note_cancelled(self, frames: tuple[Frame, ...]) -> None:
        """Note in the execution context the cancellation of the tasks of removed frames."""
        known: Mapping[int, Frame] = NO_FRAMES
        if self.program.parallel and frames:
            known = ChainMap({frame.id: frame for frame in frames}, dict(self.tree.frames))
        for frame in frames:
            if frame.kind == "task" and frame.pointer:
                detail = NOTHING
                if known and frame.parent is not None:
                    detail = _iteration(known, known[frame.parent], frame.pointer)
                self.note("task.cancelled", self.program.tasks[frame.pointer], detail)

    def set_savepoint(self) -> None:
        """Set a savepoint of the execution context: after an error that ends the run, its tree is as now."""
        self.savepoint = self.tree.mark()

    def fault(self, error: WorkflowError, task: Task, scope: Frame, *, definite: bool = True) -> Fault:
        """Return the error of the task in a scope of the execution context as a Fault, to be raised."""
        return Fault(scope.id, task, self.describe_error(error, task, scope), definite=definite)

    def describe_error(self, error: WorkflowError, task: Task, scope: Frame) -> dict[str, Any]:
        """Return the error of the task in a scope of the execution context as data, with its location."""
        calls = self.tree.enclosing_calls(scope)
        around = [(self.program.tasks[call.pointer], self.tree.parent(call)) for call in calls]
        return errors.locate(error, task, scope, around, redact=self.environment.redact)

    # in and out of tasks

    def open(self, scope: Frame, arguments: Scope, **attributes: Any) -> Frame:
        """Add to the execution context a frame for a task that contains other tasks or has to wait."""
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
        """Add to the execution context a scope inside the task of `frame`, at a list; return its id."""
        if context is not ...:
            attributes |= {"owns_context": True, "context": context}
        scope = Frame(
            id=self.tree.next_id, parent=frame.id, kind="scope", pointer=pointer, value=value, **attributes
        )
        return self.tree.add(scope).id

    def leave_list(self, scope: Frame, then: Target | None = None) -> int | None:
        """Complete, in the execution context, the task around `scope` with the data that flows out of it."""
        frame = self.tree.take(self.tree.remove(scope))
        return self.complete_frame(frame, self.program.tasks[frame.pointer], scope.value, then)

    def complete_frame(
        self,
        frame: Frame,
        task: Task,
        output: Any,
        then: Target | None = None,
        authorization: Mapping[str, Any] | None = None,
    ) -> int | None:
        """Complete, in the execution context, the task of a frame that was taken out of the tree.

        Raises Fault if that fails.
        """
        scope = self.tree.parent(frame)
        arguments = self.arguments(scope, task, frame)
        arguments.authorization = authorization
        try:
            return self.complete(scope, task, arguments, output, then)
        except WorkflowError as error:
            raise self.fault(error, task, scope) from None

    def complete(
        self,
        scope: Frame,
        task: Task,
        arguments: Scope,
        output: Any,
        then: Target | None = None,
        detail: Mapping[str, Any] = NOTHING,
    ) -> int | None:
        """Complete a task of the execution context: transform and export its output, and follow `then`."""
        raw_output = output
        if not task.plain:
            calls.provide_authorization(task.body, arguments)
            output = self.transform_output(scope, task.flow, arguments, output)
        if self.traced and not isinstance(task.body, _RECORDED_APART):
            self._trace(scope, task, arguments.input, output)
        then = task.then if then is None else then
        if scope.extended is not None:
            for index in reversed(scope.extended):
                if (tasks := task.extensions[index].after) is not None:
                    self.tree.put(replace_frame(self.tree[scope.id], value=output))
                    rest = {"extension": index, "output": raw_output, "then": then}
                    return self.enter_extension(scope, tasks, arguments, value=output, **rest)
        self.note("task.completed", task, detail, scope)
        return self.move(scope.id, output, then)

    def _trace(self, scope: Frame, task: Task, data: Any, output: Any) -> None:
        """Add to the execution context the data of a completed task, for the record of a traced run."""
        frames = self.tree.frames
        reference, attempt = task_reference(frames, scope, task.pointer), attempt_of(frames, scope)
        self.completed.append(TaskEnd(reference=reference, input=data, output=output, attempt=attempt))

    def enter_extension(
        self, scope: Frame, tasks: TaskList, arguments: Scope, *, value: Any, **attributes: Any
    ) -> int:
        """Enter, in the execution context, a list of an extension of the task of `arguments`."""
        task = arguments.task
        assert task is not None
        frame = Frame(
            id=self.tree.next_id,
            parent=scope.id,
            kind="task",
            pointer=task.pointer,
            raw=arguments.raw,
            started_ms=arguments.started_ms,
            **attributes,
        )
        return self.enter(self.tree.add(frame), tasks.pointer, value=value)

    def transform_output(self, scope: Frame, flow: Flow, arguments: Scope, output: Any) -> Any:
        """Transform the raw output of a task of the execution context, and replace `$context`."""
        arguments.raw_output, arguments.has_output = output, True
        if flow.output_as is not None:
            output = flow.output_as.evaluate(output, arguments)
        if flow.output_schema is not None:
            data_schemas.require(flow.output_schema, output, "output")
        owner = self.tree.context_owner(self.tree[scope.id])
        context = owner.context
        if flow.export_as is not None:
            arguments.output, arguments.stage = output, EXPORT
            context = flow.export_as.evaluate(output, arguments)
        if flow.export_schema is not None:
            data_schemas.require(flow.export_schema, context, "context")
        if context is not owner.context:
            self.tree.put(replace_frame(owner, context=context))
        return output

    def move(self, at: int, value: Any, then: Target) -> int | None:
        """Move a scope of the execution context to the task that `then` names, with `value` as its data."""
        scope = self.tree[at]
        match then:
            case "continue":
                position = scope.position + 1
            case "exit":  # one position further than after the last task
                position = len(self.program.lists[scope.pointer].tasks) + 1
            case "end":
                context = self.tree.context_owner(scope).context
                end = {"position": len(self.program.lists["/do"].tasks) + 1, "extended": None}
                self.note_cancelled(self.tree.unwind(scope, value=value, context=context, **end))
                self.set_savepoint()  # a retry only evaluates the output of the workflow again
                self.complete_run(value, context)
                return None
            case _:
                position = then
                if position <= scope.position:
                    scope = self.tree.count_lap(scope)
        if scope.extended is not None:
            scope = replace_frame(scope, extended=None)
        self.tree.put(replace_frame(scope, position=position, value=value))
        return at

    def transform_input(self, task: Task, arguments: Scope) -> None:
        """Validate and transform the raw input of a task of the execution context, in `arguments`."""
        data = arguments.raw
        if not task.plain:
            if task.flow.input_schema is not None:
                data_schemas.require(task.flow.input_schema, data, "input")
            if task.flow.input_from is not None:
                data = task.flow.input_from.evaluate(data, arguments)
        arguments.input, arguments.stage = data, INSIDE

    # variables of expressions

    def arguments(self, scope: Frame, task: Task, frame: Frame, more: Mapping[str, Any] = NOTHING) -> Scope:
        """Return the variables of a task's expressions in the execution context, once it has a frame."""
        arguments = self.arguments_at_stage(scope, task, INSIDE)
        if more:
            arguments.locals = lambda: {**self.tree.variables(scope, self.program), **more}
        arguments.raw = frame.raw if task.flow.input_from is not None else frame.input
        arguments.input, arguments.started_ms = frame.input, frame.started_ms
        return arguments

    def arguments_at_stage(self, scope: Frame, task: Task, stage: frozenset[str]) -> Scope:
        """Return the variables of expressions in the execution context at a stage, without a task's data."""
        arguments = Scope(
            program=self.program,
            facts=self.facts,
            environment=self.environment,
            now_ms=self.now_ms,
            stage=stage,
            context=self.tree.context_owner(scope).context,
            locals=lambda: self.tree.variables(scope, self.program),
            task=task,
        )
        if task.pointer.startswith("/use/extensions/"):
            arguments.extended = lambda: self._extended_task(scope, arguments)
        return arguments

    def _extended_task(self, scope: Frame, arguments: Scope) -> Mapping[str, Any]:
        """Return the extended task's descriptor in the execution context: `$task` in an extension."""
        frame = self.tree.extended_task(scope)
        assert frame is not None
        after = {"output": frame.output} if frame.then is not None else NOTHING
        task = self.program.tasks[frame.pointer]
        return {
            **arguments.describe_with_definition(task, raw=frame.raw, started_ms=frame.started_ms),
            **after,
        }

    def _workflow_arguments(self, stage: frozenset[str], context: Any) -> Scope:
        return Scope(
            program=self.program,
            facts=self.facts,
            environment=self.environment,
            now_ms=self.now_ms,
            stage=stage,
            context=context,
            locals=dict,
        )

    def end_slice(self) -> None:
        """End the slice of the execution context before the next step, so that its commands come first."""
        self.budget = 0

    def note(
        self,
        kind: Any,
        task: Task | None = None,
        detail: Mapping[str, Any] = NOTHING,
        scope: Frame | None = None,
    ) -> None:
        """Add to the execution context a note for people; `scope` tells the iteration of a task."""
        if self.program.parallel and scope is not None and task is not None:
            detail = {**detail, **_iteration(self.tree.frames, scope, task.pointer)}
        pointer, name = ("", "") if task is None else (task.pointer, task.name)
        self.notes.append(Note(kind=kind, at_ms=self.now_ms, reference=pointer, name=name, detail=detail))


def _iteration(frames: Mapping[int, Frame], scope: Frame, pointer: str) -> Mapping[str, Any]:
    """Return the member of an execution context's note that tells apart iterations of parallel loops."""
    reference = parallel_reference(frames, scope, pointer)
    return NOTHING if reference is None else {"iteration": reference}
