"""Runs workflows in tests: from a YAML definition, an input, and results of effects; no clock, no sleep."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from iogate.compiler.program import Program, load
from iogate.engine.advance import Environment, RunFacts, advance
from iogate.engine.commands import EngineEvent, Note, Perform, Performed
from iogate.engine.state.frame import frame_to_json
from iogate.engine.state.run_state import State, head_to_json, state_from_json
from iogate.errors import WorkflowError

NOW_MS = 1_700_000_000_123
HEADER = {"dsl": "1.0.3", "namespace": "test", "name": "sample", "version": "1.0.0"}

Answer = Callable[[Perform], Any]


def program(text: str, resources: Mapping[str, Any] | None = None) -> Program:
    definition = yaml.safe_load(text)
    return load({"document": HEADER, **definition}, resources)


def stored(state: State) -> State:
    """Return the state as it is after it went through the store."""
    head = json.loads(json.dumps(head_to_json(state)))
    frames = {key: json.loads(json.dumps(frame_to_json(frame))) for key, frame in state.frames.items()}
    return state_from_json(head, frames)


@dataclass
class Run:
    """One run, driven by the test."""

    program: Program
    input: Any = None
    environment: Environment = field(default_factory=Environment)
    now_ms: int = NOW_MS
    budget: int = 200
    stores: bool = False
    """Load the state anew before each call."""
    performs: list[Perform] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    state: State = field(init=False)
    facts: RunFacts = field(init=False)

    def __post_init__(self) -> None:
        self.facts = RunFacts(uid="42", started_at_ms=self.now_ms, input=self.input)
        self.state = State()

    def advance(self, *happened: EngineEvent) -> tuple[Perform, ...]:
        """Advance with these events until the budget suffices; return the effects requested meanwhile."""
        news: tuple[EngineEvent, ...] = happened
        requested: list[Perform] = []
        while True:
            if self.stores:
                self.state = stored(self.state)
            result = advance(
                self.program, self.state, news, self.now_ms, self.facts, self.environment, self.budget
            )
            self.state, news = result.state, ()
            self.notes.extend(result.notes)
            requested.extend(result.performs)
            if not result.more:
                self.performs.extend(requested)
                return tuple(requested)

    def finish(self, answer: Answer) -> State:
        """Answer every effect and let every wait pass until the run ends."""
        self.advance()
        while not self.state.ended:
            perform = self.under_way()
            if perform is not None:
                try:
                    performed = Performed(frame=perform.frame, output=answer(perform))
                except WorkflowError as error:
                    performed = Performed(frame=perform.frame, error=error)
                self.advance(performed)
            else:
                assert self.state.due_ms is not None, "the run waits for nothing"
                self.now_ms = max(self.now_ms, self.state.due_ms)
                self.advance()
        return self.state

    def under_way(self) -> Perform | None:
        """Return the first effect that is still awaited."""
        for perform in self.performs:
            frame = self.state.frames.get(perform.frame)
            if frame is not None and frame.phase == "effect":
                return perform
        return None

    def happened(self, *kinds: str) -> list[tuple[str, str]]:
        """Return kind and name of the journal notes of these kinds, in order."""
        return [(note.kind, note.name) for note in self.notes if note.kind in kinds]


def no_effects(perform: Perform) -> Any:
    raise AssertionError(f"unexpected effect: {perform}")


def outcome(text: str, data: Any = None, answer: Answer = no_effects, **options: Any) -> State:
    """Return the end of the workflow with this input."""
    return Run(program(text), input=data, **options).finish(answer)


def output(text: str, data: Any = None, answer: Answer = no_effects, **options: Any) -> Any:
    """Return the output of the workflow, which must complete."""
    state = outcome(text, data, answer, **options)
    assert state.status == "completed", state.error
    return state.output


def error(text: str, data: Any = None, answer: Answer = no_effects, **options: Any) -> dict[str, Any]:
    """Return the error of the workflow, which must fault."""
    state = outcome(text, data, answer, **options)
    assert state.status == "faulted", state.output
    assert state.error is not None
    return dict(state.error)
