"""In-process worker and event bus for the runs of one test: the requested run and its children.

Used by `harness`. Follows the rules of worker and store: events are published after the commit of the state,
so a run receives its own events through the bus only; a run receives events from its subscription on; an
awaited child is cancelled with the task that waits for it. Invariant: the clock advances only if no run can
proceed.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from iogate.compiler.program import Program
from iogate.compiler.revision import resource_name
from iogate.effects import EffectContext, Effects
from iogate.engine.advance import Environment, RunFacts, advance
from iogate.engine.commands import (
    Arrived,
    Authentication,
    CallFunction,
    CallHttp,
    CallOpenApi,
    Cancelled,
    ChildEnded,
    Effect,
    EngineEvent,
    Note,
    Perform,
    Performed,
    StartChild,
)
from iogate.engine.errors import RaisedError
from iogate.engine.event_prefilter import may_match
from iogate.engine.state.run_state import State
from iogate.errors import NotFound, WorkflowError
from iogate.testing.clock import FakeClock
from iogate.testing.outcome import Arrival, Called, Mock, Mocks, Outcome, Unmocked
from iogate.testing.surroundings import envelope_of, environment_of

DEEPEST = 32
"""Workflows that start one another."""

_TURN = re.compile(r"/(for|foreach)/\d+/do(?=/)")


@dataclass(frozen=True, kw_only=True)
class Cast:
    """A workflow ready to run."""

    digest: str
    program: Program


@dataclass(eq=False, kw_only=True)
class _Run:
    uid: str
    cast: Cast
    facts: RunFacts
    environment: Environment
    parent: _Run | None = None
    path: str = ""
    """References of the tasks that led here, outermost first, for mocks."""
    frame: int | None = None
    """The parent's, where it waits for this run."""
    depth: int = 0
    state: State = field(default_factory=State)
    more: bool = True
    news: list[EngineEvent] = field(default_factory=list)
    numbers: int = 0
    ended_ms: int | None = None
    notes: list[Note] = field(default_factory=list)
    calls: list[Called] = field(default_factory=list)
    emitted: list[Mapping[str, Any]] = field(default_factory=list)
    children: list[_Run] = field(default_factory=list)
    under_way: dict[asyncio.Task[Performed], tuple[Perform, bool]] = field(default_factory=dict)

    @property
    def awaited(self) -> list[asyncio.Task[Performed]]:
        """Effects that the run waits for."""
        return [task for task, (perform, _) in self.under_way.items() if perform.await_result]

    @property
    def listening(self) -> bool:
        return any(frame.wants for frame in self.state.frames.values())

    def next_number(self) -> int:
        """Of a message in the run's inbox."""
        self.numbers += 1
        return self.numbers


@dataclass(kw_only=True)
class Stage:
    effects: Effects
    cast: Callable[[str], Cast]
    """The workflow of a name; NotFound for one that the project does not have."""
    mocks: Mocks
    clock: FakeClock
    offline: bool
    secrets: Mapping[str, Any] | None
    error_types: str = "open-workflow"
    events: Sequence[Mapping[str, Any] | Arrival] = ()
    _runs: list[_Run] = field(default_factory=list)
    _coming: deque[tuple[float | None, dict[str, Any]]] = field(default_factory=deque)
    _seen: set[tuple[str, str]] = field(default_factory=set)
    _began_ms: int = 0

    async def play(self, workflow: str, uid: str, value: Any) -> Outcome:
        """Run a workflow until it has ended, or nothing more can happen."""
        self._began_ms = self.clock.now_ms
        self._coming.extend(self._arrivals())
        root = self._start(self.cast(workflow), uid, value)
        try:
            while await self._settle() and root.ended_ms is None and await self._time_passes():
                pass
            return self._outcome(root)
        finally:
            tasks = [task for run in self._runs for task in run.under_way]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _arrivals(self) -> Iterator[tuple[float | None, dict[str, Any]]]:
        for index, each in enumerate(self.events):
            arrival = each if isinstance(each, Arrival) else Arrival(event=each)
            yield arrival.after_s, envelope_of(arrival.event, index, self.clock.now_ms)

    def _start(self, cast: Cast, uid: str, value: Any, **attributes: Any) -> _Run:
        run = _Run(
            uid=uid,
            cast=cast,
            facts=RunFacts(uid=uid, started_at_ms=self.clock.now_ms, input=value),
            environment=environment_of(cast.program, self.secrets, self.error_types),
            **attributes,
        )
        self._runs.append(run)
        return run

    # what happens without time passing

    async def _settle(self) -> bool:
        """Let all runs go on until they only wait for time or events; always true."""
        while True:
            for run in tuple(self._runs):
                while run.ended_ms is None and (run.more or run.news):
                    self._step(run)
                    await asyncio.sleep(0)
            if any(run.ended_ms is None and (run.more or run.news) for run in self._runs):
                continue
            waiting = {task: run for run in self._runs for task in run.awaited}
            if not waiting:
                return True
            due_ms = self._due_ms()
            # What really happens outside takes the time that it takes, and may come too late.
            left_s = None if due_ms is None else max(due_ms - self.clock.now_ms, 0) / 1000
            done, _ = await asyncio.wait(waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            for task, run in waiting.items():
                if task in done:
                    self._collect(run, task)
            if not done and due_ms is not None:
                self._move_to(due_ms)

    def _step(self, run: _Run) -> None:
        news, run.news = run.news, []
        step = advance(run.cast.program, run.state, news, self.clock.now_ms, run.facts, run.environment)
        run.state, run.more = step.state, step.more
        run.notes += step.notes
        for perform in step.performs:
            self._perform(run, perform)
        for start in step.children:
            self._start_child(run, start)
        for emit in step.emits:
            run.emitted.append(emit.event)
            self._publish(emit.event)
        self._let_go(run)
        if run.state.ended:
            self._ended(run)

    def _let_go(self, run: _Run) -> None:
        """Cancel effects and children whose waiting frame is gone."""
        frames = run.state.frames
        for task in run.awaited:
            if run.under_way[task][0].frame not in frames:
                task.cancel()
                del run.under_way[task]
        for child in run.children:
            if child.frame is not None and child.frame not in frames and child.ended_ms is None:
                child.news.append(Cancelled())

    def _ended(self, run: _Run) -> None:
        run.ended_ms = self.clock.now_ms
        if run.parent is not None and run.frame is not None:
            state = run.state
            assert state.status in ("completed", "faulted", "cancelled")
            self._tell(run.parent, run.frame, state.status, state.output, state.error)

    def _tell(self, run: _Run, frame: int, status: Any, output: Any, error: Any, **more: bool) -> None:
        number = run.next_number()
        run.news.append(
            ChildEnded(frame=frame, number=number, status=status, output=output, error=error, **more)
        )

    def _publish(self, event: Mapping[str, Any]) -> None:
        identity = (event["source"], event["id"])
        if identity in self._seen:
            return
        self._seen.add(identity)
        for run in self._runs:
            for frame in run.state.frames.values():
                if frame.wants and any(may_match(wanted, event) for wanted in frame.wants):
                    run.news.append(Arrived(frame=frame.id, number=run.next_number(), event=event))

    # time and events

    async def _time_passes(self) -> bool:
        """Deliver the next event, or advance to the next due time; return False if there is neither."""
        due_ms = self._due_ms()
        after_s, event = self._coming[0] if self._coming else (None, None)
        if event is not None and after_s is None and any(run.listening for run in self._runs):
            self._coming.popleft()
            self._publish(event)
            return True
        arrival_ms = None if after_s is None else self._began_ms + round(after_s * 1000)
        if event is not None and arrival_ms is not None and (due_ms is None or arrival_ms <= due_ms):
            self._coming.popleft()
            self.clock.move_to(arrival_ms)
            self._publish(event)
            return True
        if due_ms is None:
            return False
        self._move_to(due_ms)
        return True

    def _due_ms(self) -> int | None:
        """Return the earliest due time of all runs."""
        moments = (run.state.due_ms for run in self._runs if run.ended_ms is None)
        return min((moment for moment in moments if moment is not None), default=None)

    def _move_to(self, due_ms: int) -> None:
        self.clock.move_to(due_ms)
        for run in self._runs:
            run.more |= run.state.due_ms is not None and run.state.due_ms <= due_ms

    # effects and children

    def _perform(self, run: _Run, perform: Perform) -> None:
        frame = run.state.frames.get(perform.frame)
        pointer = perform.reference if frame is None else frame.pointer
        mock: Any = self._mock(run, perform.reference, pointer)
        if mock is None and self.offline:
            self._check_covered(perform, run.path + pointer)
        if mock is not None:
            work = _answered(perform, mock(perform) if callable(mock) else mock)
        else:
            work = self.effects.perform(perform, run=EffectContext(uid=run.uid, program=run.cast.digest))
        run.under_way[asyncio.ensure_future(work)] = (perform, mock is not None)

    def _collect(self, run: _Run, task: asyncio.Task[Performed]) -> None:
        perform, mocked = run.under_way.pop(task)
        performed = task.result()
        run.calls.append(Called(perform=perform, performed=performed, mocked=mocked))
        run.news.append(performed)

    def _check_covered(self, perform: Perform, pointer: str) -> None:
        """Raise Unmocked for a call that leaves; a mock of `pointer` stands in wherever it is made from."""
        reference = _static(pointer)
        hint = f"mock it: mocks: {{{reference}: {{output: …}}}}, or name a test host in `endpoints`"
        address = _address(perform.effect)
        if address is not None and not self.effects.covers(address):
            raise Unmocked(f"{reference} calls out, and nothing stands in for it", hint=hint)
        for authority in _authorities(perform.effect):
            if not self.effects.covers(authority):
                said = f"{reference} asks for a token, and nothing stands in for who gives it"
                raise Unmocked(said, hint=hint)

    def _mock(self, run: _Run, reference: str, *pointers: str) -> Any:
        """Find a mock for one turn of a loop, for the task, or for the call of the function it is in."""
        caller = reference.partition("/use/functions/")[0]
        for name in (reference, *pointers, caller):
            for known in (run.path + name, _static(run.path + name)):
                if known in self.mocks:
                    return self.mocks[known]
        return None

    def _start_child(self, run: _Run, start: StartChild) -> None:
        mock = self._mock(run, start.reference)
        if mock is not None:
            answer: Mock = mock(start) if callable(mock) else mock
            if start.awaits:
                status = "completed" if answer.error is None else "faulted"
                self._tell(run, start.frame, status, answer.output, answer.error)
            return
        cast = self._cast_of(run, start)
        if isinstance(cast, WorkflowError):
            if start.awaits:
                self._tell(run, start.frame, "faulted", None, cast.to_json(), started=False)
            return
        child = self._start(
            cast,
            f"{self._runs[0].uid}.{len(self._runs)}",
            start.input,
            parent=run,
            path=run.path + start.reference,
            frame=start.frame if start.awaits else None,
            depth=run.depth + 1,
        )
        run.children.append(child)

    def _cast_of(self, run: _Run, start: StartChild) -> Cast | WorkflowError:
        if run.depth >= DEEPEST:
            return WorkflowError("runtime", detail=f"more than {DEEPEST} workflows start one another")
        version = "" if start.version == "latest" else f":{start.version}"
        try:
            return self.cast(f"{start.namespace}/{start.name}{version}")
        except NotFound as error:
            return WorkflowError("configuration", detail=error.message)

    def _outcome(self, run: _Run) -> Outcome:
        ended_ms = self.clock.now_ms if run.ended_ms is None else run.ended_ms
        return Outcome(
            uid=run.uid,
            status=run.state.status,
            output=run.state.output,
            error=run.state.error,
            notes=tuple(run.notes),
            calls=tuple(run.calls),
            waiting_for=run.state.waiting_for,
            elapsed_s=(ended_ms - run.facts.started_at_ms) / 1000,
            workflow=run.cast.program.name,
            input=run.facts.input,
            emitted=tuple(run.emitted),
            children=tuple(self._outcome(child) for child in run.children),
        )


def _static(reference: str) -> str:
    return _TURN.sub(r"/\1/do", reference)


def _address(effect: Effect) -> str | None:
    """Return the address that the effect calls; None if it stays on this machine."""
    match effect:
        case CallHttp(url=url):
            return url
        case CallOpenApi(operation=operation, document=document):
            # of a stored document, where it came from: its calls most often go there
            return (resource_name(document) or document) if operation is None else operation.url
        case _:
            return None


def _authorities(effect: Effect) -> Iterator[str]:
    """Yield the addresses of the call's token endpoints."""
    match effect:
        case (
            CallHttp(authentication=Authentication() as policy)
            | CallOpenApi(authentication=Authentication() as policy)
        ):
            paths = policy.parameters.get("endpoints") or {}
            for address in (policy.parameters.get("authority"), *paths.values()):
                if isinstance(address, str) and "://" in address:
                    yield address


async def _answered(perform: Perform, mock: Mock) -> Performed:
    """Return the result of a mock."""
    if mock.error is None:
        return Performed(frame=perform.frame, output=mock.output)
    known = dict(mock.error)
    # What stands in for a function raises as it would; what stands in for the rest answers as that does.
    kind = RaisedError if isinstance(perform.effect, CallFunction) else WorkflowError
    usual = "communication" if isinstance(perform.effect, CallHttp | CallOpenApi) else "runtime"
    error = kind(
        known.get("type", usual),
        status=known.get("status"),
        title=known.get("title"),
        detail=known.get("detail"),
        response=known.get("response"),
        process=known.get("process"),
    )
    return Performed(frame=perform.frame, error=error)
