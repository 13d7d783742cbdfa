"""One walk over a program: from the leaves that can move, task by task, until all wait or time is up.

Used by `advance` only, which makes one for each call. Frames are replaced, never changed; the walk
owns just the mapping that holds them.

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

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, assert_never

from iogate import durations
from iogate.compiler.program import Program
from iogate.compiler.tasks import (
    Do,
    For,
    Function,
    Http,
    Inline,
    Process,
    Raise,
    Set,
    Switch,
    Target,
    Task,
    Unsupported,
    Wait,
)
from iogate.engine import calls, frames, raising, schemas
from iogate.engine.commands import Note, Perform, Performed
from iogate.engine.scope import (
    BEFORE,
    EXPORT,
    INSIDE,
    WORKFLOW,
    WORKFLOW_OUTPUT,
    Environment,
    RunFacts,
    Scope,
)
from iogate.engine.state import Frame
from iogate.errors import WorkflowError
from iogate.expressions.paths import type_name

_FUNCTIONS_DEEP = 32
"""Functions inside functions; beyond it they call each other in a circle."""

_NOTHING: Mapping[str, Any] = {}


class Walk:
    def __init__(
        self,
        *,
        program: Program,
        facts: RunFacts,
        environment: Environment,
        now_ms: int,
        tree: frames.Tree,
        budget: int,
    ) -> None:
        self.program = program
        self.facts = facts
        self.environment = environment
        self.now_ms = now_ms
        self.tree = tree
        self.budget = budget
        self.more = False
        self.notes: list[Note] = []
        self.performs: list[Perform] = []
        self.ended: Literal["completed", "faulted", "cancelled"] | None = None
        self.output: Any = None
        self.error: dict[str, Any] | None = None

    # the run as a whole

    def begin_run(self) -> None:
        """Take the workflow's input and stand before its first task."""
        self._note("workflow.started")
        scope = self._workflow_scope(WORKFLOW, None)
        flow = self.program.flow
        value = self.facts.input
        try:
            if flow.input_schema is not None:
                schemas.require(flow.input_schema, value, "input of the workflow")
            if flow.input_from is not None:
                value = flow.input_from.evaluate(value, scope)
        except WorkflowError as error:
            self.end_faulted(raising.problem(error, "/input"))
            return
        root = self.tree.add(Frame(id=self.tree.next_id, kind="task", input=value, started_ms=self.now_ms))
        self.tree.add(
            Frame(
                id=self.tree.next_id,
                parent=root.id,
                kind="scope",
                pointer="/do",
                value=value,
                owns_context=True,
                context={},
            )
        )

    def _end_completed(self, value: Any, context: Any) -> None:
        flow = self.program.flow
        try:
            if flow.output_as is not None:
                value = flow.output_as.evaluate(value, self._workflow_scope(WORKFLOW_OUTPUT, context))
            if flow.output_schema is not None:
                schemas.require(flow.output_schema, value, "output of the workflow")
        except WorkflowError as error:
            self.end_faulted(raising.problem(error, "/output"))
            return
        self._cancel_rest()
        self.ended, self.output = "completed", value
        self._note("workflow.completed")

    def end_faulted(self, error: dict[str, Any]) -> None:
        """Nothing caught it: the run ends with the error."""
        self._cancel_rest()
        self.ended, self.error = "faulted", error
        self._note("workflow.faulted", detail={"error": error})

    def end_cancelled(self, reason: str) -> None:
        self._cancel_rest()
        self.ended = "cancelled"
        self._note("workflow.cancelled", detail={"reason": reason} if reason else _NOTHING)

    def _cancel_rest(self) -> None:
        for frame in self.tree.clear():
            if frame.kind == "task" and frame.pointer:
                self._note("task.cancelled", self.program.tasks[frame.pointer])

    # news from outside

    def answered(self, performed: Performed) -> None:
        """Go on with the task whose effect has an outcome; one that nobody waits for is ignored."""
        frame = self.tree.get(performed.frame)
        if frame is None or frame.phase != "effect":
            return
        task = self.program.tasks[frame.pointer]
        scope = self.tree.remove(frame)
        if performed.definite:
            owner = self.tree.owner(scope)
            self.tree.put(replace(owner, calls=owner.calls + 1))
        if performed.error is not None:
            self._fault(scope.id, task, raising.problem(performed.error, task.pointer))
        else:
            self._complete_frame(scope, task, frame, performed.output)

    def asked_again(self) -> None:
        """Ask once more for every effect under way, with the same keys and arguments."""
        for frame in self.tree.in_phase("effect"):
            if frame.id not in self.tree:
                continue  # an earlier one's fault has ended its branch
            task = self.program.tasks[frame.pointer]
            scope = self.tree.parent(frame)
            try:
                self._perform(scope, task, frame, again=True)
            except WorkflowError as error:
                self.tree.remove(frame)
                self._fault(scope.id, task, raising.placed(error, task, scope))

    def wake(self) -> None:
        """Go on with every wait that is over."""
        for frame in self.tree.in_phase("timer"):
            if frame.due_ms is not None and frame.due_ms <= self.now_ms and frame.id in self.tree:
                scope = self.tree.remove(frame)
                self._complete_frame(scope, self.program.tasks[frame.pointer], frame, frame.input)

    # the walk

    def run(self) -> None:
        """Move every leaf that can until it waits; `more` says that the budget ended first."""
        for leaf in self.tree.leaves():
            at: int | None = leaf
            while at is not None and self.ended is None and at in self.tree:
                if self.budget <= 0:
                    self.more = True
                    return
                self.budget -= 1
                at = self._step(self.tree[at])

    def _step(self, scope: Frame) -> int | None:
        tasks = self.program.lists[scope.pointer].tasks
        if scope.position >= len(tasks):
            return self._leave(scope)
        task = tasks[scope.position]
        try:
            return self._begin(scope, task)
        except WorkflowError as error:
            return self._fault(scope.id, task, raising.placed(error, task, scope))

    def _begin(self, scope: Frame, task: Task) -> int | None:
        data = scope.value
        arguments = self._scope(scope, task, raw=data, started_ms=self.now_ms)
        if task.condition is not None and not truthy(task.condition.evaluate(data, arguments)):
            self._note("task.skipped", task)
            return self._move(scope.id, data, "continue")
        self._note("task.started", task, _turn(scope))
        if not task.plain:
            flow = task.flow
            if flow.input_schema is not None:
                schemas.require(flow.input_schema, data, "input")
            if flow.input_from is not None:
                data = flow.input_from.evaluate(data, arguments)
        arguments.input = data
        arguments.stage = INSIDE
        body = task.body
        match body:
            case Set(value):
                return self._complete(scope, task, arguments, value.evaluate(data, arguments))
            case Switch():
                return self._switch(scope, task, body, arguments)
            case Do(tasks):
                return self._enter(self._open(scope, task, arguments), tasks.pointer)
            case For():
                return self._loop(scope, task, body, arguments)
            case Raise():
                raise raising.raised(body, arguments)
            case Wait(duration):
                return self._wait(scope, task, arguments, duration.evaluate(data, arguments))
            case Http() | Function() | Process():
                return self._outside(scope, task, arguments)
            case Inline():
                return self._function(scope, task, body, arguments)
            case Unsupported(what):
                raise WorkflowError("configuration", detail=f"{what} is not executed by this release")
            case _:
                assert_never(body)

    def _switch(self, scope: Frame, task: Task, body: Switch, arguments: Scope) -> int | None:
        data = arguments.input
        for case in body.cases:
            if case.when is not None and truthy(case.when.evaluate(data, arguments)):
                chosen = case
                break
        else:
            if body.default is None:
                return self._complete(scope, task, arguments, data)
            chosen = body.default
        return self._complete(scope, task, arguments, data, chosen.then, {"case": chosen.name})

    def _loop(self, scope: Frame, task: Task, body: For, arguments: Scope) -> int | None:
        items = body.items.evaluate(arguments.input, arguments)
        if not isinstance(items, list):
            raise WorkflowError("expression", detail=f"for.in must give an array, not {type_name(items)}")
        if not items:
            return self._complete(scope, task, arguments, arguments.input)
        frame = self._open(scope, task, arguments, items=items)
        return self._turn(self._enter(frame, body.tasks.pointer, turn=0), body)

    def _turn(self, at: int, body: For) -> int | None:
        """Let the loop's next turn begin, where `while` holds."""
        inner = self.tree[at]
        if body.condition is None:
            return at
        loop = self.tree.parent(inner)
        task = self.program.tasks[loop.pointer]
        arguments = self._scope(inner, task, raw=loop.raw, started_ms=loop.started_ms)
        arguments.input, arguments.stage = loop.input, INSIDE
        try:
            holds = truthy(body.condition.evaluate(inner.value, arguments))
        except WorkflowError as error:
            self.tree.remove(inner)
            outer = self.tree.remove(loop)
            return self._fault(outer.id, task, raising.placed(error, task, inner))
        return at if holds else self._done(inner)

    def _function(self, scope: Frame, task: Task, body: Inline, arguments: Scope) -> int:
        if self.tree.functions_around(scope) >= _FUNCTIONS_DEEP:
            raise WorkflowError("runtime", detail=f"more than {_FUNCTIONS_DEEP} functions call one another")
        given = body.arguments.evaluate(arguments.input, arguments)
        return self._enter(self._open(scope, task, arguments), f"/use/functions/{body.name}", value=given)

    def _wait(self, scope: Frame, task: Task, arguments: Scope, duration: Any) -> int | None:
        try:
            due_ms = durations.read_duration(duration).after_ms(self.now_ms)
        except durations.InvalidDuration as error:
            raise WorkflowError("expression", detail=f"wait: {error}") from None
        if due_ms <= self.now_ms:
            return self._complete(scope, task, arguments, arguments.input)
        self._open(scope, task, arguments, phase="timer", due_ms=due_ms)
        self._note("task.waiting", task, {"due_ms": due_ms})
        return None

    def _outside(self, scope: Frame, task: Task, arguments: Scope) -> int | None:
        frame = self._open(scope, task, arguments, phase="effect")
        try:
            awaits = self._perform(scope, task, frame)
        except WorkflowError:
            self.tree.remove(frame)
            raise
        if awaits:
            return None
        self.tree.remove(frame)
        return self._complete(scope, task, arguments, arguments.input)

    def _perform(self, scope: Frame, task: Task, frame: Frame, *, again: bool = False) -> bool:
        """Ask for the task's effect. Its time is the task's start, so that asking again says the same."""
        if again and task.at_most_once:
            raise WorkflowError("runtime", detail="its outcome is unknown, and it must happen at most once")
        body = task.body
        assert isinstance(body, Http | Function | Process)
        arguments = self._scope(scope, task, raw=frame.raw, started_ms=frame.started_ms)
        arguments.input, arguments.stage, arguments.now_ms = frame.input, INSIDE, frame.started_ms
        reference = self.tree.path(scope) + task.pointer[len(scope.pointer) :]
        key = f"{self.facts.uid}{reference}/{self.tree.owner(scope).calls}"
        arguments.idempotency_key = key
        awaits = not isinstance(body, Process) or body.awaits
        self.performs.append(
            Perform(
                frame=frame.id,
                reference=reference,
                effect=calls.effect(body, arguments),
                idempotency_key=key,
                await_result=awaits,
                at_most_once=task.at_most_once,
            )
        )
        return awaits

    # in and out of tasks

    def _open(self, scope: Frame, task: Task, arguments: Scope, **attributes: Any) -> Frame:
        return self.tree.add(
            Frame(
                id=self.tree.next_id,
                parent=scope.id,
                kind="task",
                pointer=task.pointer,
                raw=arguments.raw,
                input=arguments.input,
                started_ms=arguments.started_ms,
                **attributes,
            )
        )

    def _enter(self, frame: Frame, pointer: str, *, turn: int | None = None, value: Any = ...) -> int:
        data = frame.input if value is ... else value
        return self.tree.add(
            Frame(id=self.tree.next_id, parent=frame.id, kind="scope", pointer=pointer, turn=turn, value=data)
        ).id

    def _leave(self, scope: Frame) -> int | None:
        """The list of tasks is through: the next turn, or the task around it is done."""
        frame = self.tree.parent(scope)
        if frame.parent is None:
            self._end_completed(scope.value, scope.context)
            return None
        body = self.program.tasks[frame.pointer].body
        if isinstance(body, For) and scope.turn is not None and scope.turn + 1 < len(frame.items):
            self.tree.put(replace(scope, position=0, turn=scope.turn + 1))
            return self._turn(scope.id, body)
        return self._done(scope)

    def _done(self, scope: Frame) -> int | None:
        frame = self.tree.remove(scope)
        outer = self.tree.remove(frame)
        return self._complete_frame(outer, self.program.tasks[frame.pointer], frame, scope.value)

    def _complete_frame(self, scope: Frame, task: Task, frame: Frame, output: Any) -> int | None:
        arguments = self._scope(scope, task, raw=frame.raw, started_ms=frame.started_ms)
        arguments.input, arguments.stage = frame.input, INSIDE
        try:
            return self._complete(scope, task, arguments, output)
        except WorkflowError as error:
            return self._fault(scope.id, task, raising.placed(error, task, scope))

    def _complete(
        self,
        scope: Frame,
        task: Task,
        arguments: Scope,
        output: Any,
        then: Target | None = None,
        detail: Mapping[str, Any] = _NOTHING,
    ) -> int | None:
        if not task.plain:
            output = self._export(scope, task, arguments, output)
        self._note("task.completed", task, detail)
        return self._move(scope.id, output, task.then if then is None else then)

    def _export(self, scope: Frame, task: Task, arguments: Scope, output: Any) -> Any:
        flow = task.flow
        calls.authenticator(task.body, arguments)
        arguments.raw_output = output
        if flow.output_as is not None:
            output = flow.output_as.evaluate(output, arguments)
        if flow.output_schema is not None:
            schemas.require(flow.output_schema, output, "output")
        if flow.export_as is not None:
            arguments.output, arguments.stage = output, EXPORT
            context = flow.export_as.evaluate(output, arguments)
            if flow.export_schema is not None:
                schemas.require(flow.export_schema, context, "context")
            self.tree.put(replace(self.tree.owner(self.tree[scope.id]), context=context))
        return output

    def _move(self, at: int, value: Any, then: Target) -> int | None:
        scope = self.tree[at]
        match then:
            case "continue":
                position = scope.position + 1
            case "exit":
                position = len(self.program.lists[scope.pointer].tasks)
            case "end":
                self._end_completed(value, self.tree.owner(scope).context)
                return None
            case _:
                position = then
        self.tree.put(replace(scope, position=position, value=value))
        return at

    def _fault(self, at: int, task: Task, error: dict[str, Any]) -> int | None:
        """Carry the error up from the task in scope `at` to what catches it; to the run's end otherwise."""
        self._note("task.faulted", task, {"error": error})
        scope = self.tree[at]
        while (frame := self.tree.parent(scope)).parent is not None:
            self._note("task.faulted", self.program.tasks[frame.pointer], {"error": error})
            self.tree.remove_below(frame)
            scope = self.tree.remove(frame)
        self.tree.remove_below(frame)
        self.end_faulted(error)
        return None

    # what expressions see

    def _scope(self, scope: Frame, task: Task, *, raw: Any, started_ms: int) -> Scope:
        return Scope(
            program=self.program,
            facts=self.facts,
            environment=self.environment,
            now_ms=self.now_ms,
            stage=BEFORE,
            context=self.tree.owner(scope).context,
            locals=lambda: self.tree.variables(scope, self.program),
            task=task,
            started_ms=started_ms,
            raw=raw,
        )

    def _workflow_scope(self, stage: frozenset[str], context: Any) -> Scope:
        return Scope(
            program=self.program,
            facts=self.facts,
            environment=self.environment,
            now_ms=self.now_ms,
            stage=stage,
            context=context,
            locals=dict,
        )

    def _note(self, kind: Any, task: Task | None = None, detail: Mapping[str, Any] = _NOTHING) -> None:
        self.notes.append(
            Note(
                kind=kind,
                at_ms=self.now_ms,
                reference=task.pointer if task is not None else "",
                name=task.name if task is not None else "",
                detail=detail,
            )
        )


def truthy(result: Any) -> bool:
    """What counts as true in conditions: as in jq, all but false and null."""
    return result is not None and result is not False


def _turn(scope: Frame) -> Mapping[str, Any]:
    return _NOTHING if scope.turn is None else {"turn": scope.turn}
