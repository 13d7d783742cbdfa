"""Drives a run to its end in one process: the engine and effects of production, a clock of its own.

Called by `replay`, by the command `test` and by projects' tests. What is mocked answers at once; scripts,
shell commands and functions that are not mocked are run; an HTTP call that is neither mocked nor covered by
`endpoints` ends the test, not the run, so that no `try` can hide it. When nothing is under way, the clock
jumps to the next moment at which something is due.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from iogate import documents
from iogate import functions as registry
from iogate.compiler import program as programs
from iogate.compiler.compile import compile_documents
from iogate.compiler.program import Program
from iogate.compiler.revision import Bundle
from iogate.compiler.workflows import precedence
from iogate.documents.problems import render_all
from iogate.effects import EffectContext, Effects
from iogate.engine.advance import Environment, RunFacts, advance
from iogate.engine.commands import CallHttp, Happening, Note, Perform, Performed
from iogate.engine.state import State, WaitingFor
from iogate.errors import ExpectationFailed, InvalidFiles, NotFound, StillRunning, WorkflowError
from iogate.settings import Settings
from iogate.testing.clock import FakeClock

UID = "213996969363910656"

_TURN = re.compile(r"/for/\d+/do(?=/)")


class Unmocked(ExpectationFailed):
    """A run wanted to call out where nothing stands in for the outside."""


@dataclass(frozen=True, kw_only=True)
class Mock:
    """What a task's effect comes to: an output, before the task's `output.as`, or an error (RFC 7807)."""

    output: Any = None
    error: Mapping[str, Any] | None = None


Mocks = Mapping[str, Mock | Callable[[Perform], Mock]]
"""By the task's reference, `/do/0/loop/for/do/1/call` or, for one turn, `/do/0/loop/for/7/do/1/call`."""


@dataclass(frozen=True, kw_only=True)
class Called:
    """An effect that a run had performed, and its outcome."""

    perform: Perform
    performed: Performed
    mocked: bool


@dataclass(frozen=True, kw_only=True)
class Outcome:
    uid: str
    status: str
    """`completed`, `faulted`, or `waiting` for something that only the outside can bring."""
    output: Any
    error: Mapping[str, Any] | None
    notes: tuple[Note, ...]
    """The journal."""
    calls: tuple[Called, ...]
    waiting_for: WaitingFor | None
    elapsed_s: float
    """By the run's own clock."""


@dataclass(kw_only=True)
class Harness:
    """A compiled project, ready to run its workflows."""

    bundle: Bundle
    settings: Settings = field(default_factory=Settings)
    functions: registry.Registry = field(default_factory=registry.Registry)
    secrets: Mapping[str, Any] | None = None
    """What `use.secrets` resolve to; None gives each one a placeholder."""
    root: Path = Path()
    _programs: dict[str, Program] = field(default_factory=dict)

    @classmethod
    def load(cls, root: Path, *, settings: Settings | None = None) -> Self:
        """Compile the documents of a project's folder.

        Raises InvalidFiles, with every problem in its message, where they do not hold.
        """
        settings = settings or Settings(allow_run=("script", "shell"))
        functions = registry.load(settings.functions, root)
        read = documents.load(root)
        compiled = compile_documents(read, settings, root=root, functions=functions)
        if compiled.bundle is None:
            raise InvalidFiles(render_all(compiled.errors, read.sources))
        return cls(bundle=compiled.bundle, settings=settings, functions=functions, root=root)

    async def run(
        self,
        workflow: str,
        input: Any = None,  # noqa: A002 - the DSL's word
        *,
        mocks: Mocks | None = None,
        clock: FakeClock | None = None,
        uid: str = UID,
        offline: bool = True,
        limit_s: float = 60.0,
    ) -> Outcome:
        """Run a workflow, `namespace/name` or `namespace/name:version`, to its end.

        Raises Unmocked, NotFound for an unknown workflow, and StillRunning after `limit_s` of real time.
        """
        digest = self._digest(workflow)
        run = _Run(
            program=self._program(digest),
            context=EffectContext(uid=uid, program=digest),
            mocks=mocks or {},
            clock=clock or FakeClock(),
            offline=offline,
            secrets=self.secrets,
        )
        effects = Effects(settings=self.settings, resources=self._resource, functions=self.functions)
        try:
            async with effects, asyncio.timeout(limit_s):
                return await run.to_end(effects, {} if input is None else input)
        except TimeoutError:
            raise StillRunning(f"{workflow} is still running after {limit_s:g} s") from None

    def _digest(self, workflow: str) -> str:
        known = self.bundle.revision.workflows
        named = [name for name in known if name == workflow or name.startswith(workflow + ":")]
        if not named:
            raise NotFound(f"no workflow {workflow}; there are: {', '.join(sorted(known)) or 'none'}")
        return known[max(named, key=lambda name: precedence(name.rpartition(":")[2]))].program

    def _program(self, digest: str) -> Program:
        if digest not in self._programs:
            self._programs[digest] = programs.load(json.loads(self.bundle.programs[digest]))
        return self._programs[digest]

    async def _resource(self, _: EffectContext, uri: str) -> bytes:
        return self.bundle.contents[self.bundle.revision.resources[uri]]


@dataclass(kw_only=True)
class _Run:
    program: Program
    context: EffectContext
    mocks: Mocks
    clock: FakeClock
    offline: bool
    secrets: Mapping[str, Any] | None
    notes: list[Note] = field(default_factory=list)
    calls: list[Called] = field(default_factory=list)
    under_way: dict[asyncio.Task[Performed], tuple[Perform, bool]] = field(default_factory=dict)

    async def to_end(self, effects: Effects, value: Any) -> Outcome:
        began_ms = self.clock.now_ms
        facts = RunFacts(uid=self.context.uid, started_at_ms=began_ms, input=value)
        secrets = self.secrets
        if secrets is None:
            secrets = {name: f"secret {name}" for name in self.program.secrets}
        environment = Environment(secrets=secrets)
        state = State()
        happened: Sequence[Happening] = ()
        try:
            while True:
                step = advance(self.program, state, happened, self.clock.now_ms, facts, environment)
                state, happened = step.state, ()
                self.notes += step.notes
                for perform in step.performs:
                    self._begin(effects, perform, state)
                if state.ended or (not step.more and not await self._time_passes(state)):
                    return self._outcome(state, began_ms)
                if not step.more:
                    happened = await self._news(state)
                await asyncio.sleep(0)
        finally:
            for task in self.under_way:
                task.cancel()
            await asyncio.gather(*self.under_way, return_exceptions=True)

    def _begin(self, effects: Effects, perform: Perform, state: State) -> None:
        mock = self._mock(perform, state)
        if mock is None and self.offline and isinstance(perform.effect, CallHttp):
            self._check_covered(effects, perform, perform.effect)
        if mock is not None:
            work = _answered(perform, mock(perform) if callable(mock) else mock)
        else:
            work = effects.perform(perform, run=self.context)
        self.under_way[asyncio.ensure_future(work)] = (perform, mock is not None)

    def _check_covered(self, effects: Effects, perform: Perform, call: CallHttp) -> None:
        if not effects.covers(call.url):
            reference = _static(perform.reference)
            raise Unmocked(
                f"{reference} calls out, and nothing stands in for it",
                hint=f"mock it: mocks: {{{reference}: {{output: …}}}}, or name a test host in `endpoints`",
            )

    def _mock(self, perform: Perform, state: State) -> Mock | Callable[[Perform], Mock] | None:
        """Find a mock for one turn of a loop, for the task, or for the call of the function it is in."""
        reference = perform.reference
        caller = reference.partition("/use/functions/")[0]
        frame = state.frames.get(perform.frame)
        pointers = (frame.pointer,) if frame is not None else ()
        for name in (reference, _static(reference), *pointers, caller, _static(caller)):
            if name in self.mocks:
                return self.mocks[name]
        return None

    async def _time_passes(self, state: State) -> bool:
        """Move the clock where only time is waited for; False where only the outside can help."""
        if any(perform.await_result for perform, _ in self.under_way.values()):
            return True
        if state.due_ms is None:
            return False
        self.clock.move_to(state.due_ms)
        return True

    async def _news(self, state: State) -> Sequence[Happening]:
        """Wait for what is under way and awaited; effects whose frames are gone are ended."""
        waiting: list[asyncio.Task[Performed]] = []
        for task, (perform, _) in list(self.under_way.items()):
            if perform.await_result and perform.frame not in state.frames:
                task.cancel()
                del self.under_way[task]
            elif perform.await_result:
                waiting.append(task)
        if not waiting:
            return ()
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return [self._collect(task) for task in waiting if task in done]

    def _collect(self, task: asyncio.Task[Performed]) -> Performed:
        perform, mocked = self.under_way.pop(task)
        performed = task.result()
        self.calls.append(Called(perform=perform, performed=performed, mocked=mocked))
        return performed

    def _outcome(self, state: State, began_ms: int) -> Outcome:
        return Outcome(
            uid=self.context.uid,
            status=state.status,
            output=state.output,
            error=state.error,
            notes=tuple(self.notes),
            calls=tuple(self.calls),
            waiting_for=state.waiting_for,
            elapsed_s=(self.clock.now_ms - began_ms) / 1000,
        )


def _static(reference: str) -> str:
    return _TURN.sub("/for/do", reference)


async def _answered(perform: Perform, mock: Mock) -> Performed:
    """Answer as the mock says."""
    if mock.error is None:
        return Performed(frame=perform.frame, output=mock.output)
    known = dict(mock.error)
    error = WorkflowError(
        known.get("type", "runtime"),
        status=known.get("status"),
        title=known.get("title"),
        detail=known.get("detail"),
    )
    return Performed(frame=perform.frame, error=error)
