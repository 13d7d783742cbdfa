"""Runs that receive messages as a worker delivers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iogate.compiler.program import load
from iogate.engine.advance import Advance, RunFacts, advance
from iogate.engine.commands import Arrived, EngineEvent
from iogate.engine.event_prefilter import may_match
from iogate.engine.state.run_state import State
from tests.engine.engine_runs import HEADER, NOW_MS, stored

FACTS = RunFacts(uid="42", started_at_ms=NOW_MS, input={})


def event(type_: str, data: Any = None, **attributes: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": "i", "source": "/s", "type": type_, "data": data, **attributes}


class Listener:
    """A run that receives messages as from a worker: matched by its subscriptions, numbered, in a budget."""

    def __init__(self, made: Any, *, budget: int = 200, stores: bool = False, data: Any = None) -> None:
        self.program, self.budget, self.stores = made, budget, stores
        self.facts = RunFacts(uid="42", started_at_ms=NOW_MS, input={} if data is None else data)
        self.state, self.number, self.now_ms = State(), 0, NOW_MS
        self.steps: list[Advance] = []
        self.advance()

    def advance(self, *happened: EngineEvent) -> None:
        news: tuple[EngineEvent, ...] = happened
        while True:
            if self.stores:
                self.state = stored(self.state)
            step = advance(self.program, self.state, news, self.now_ms, self.facts, budget=self.budget)
            self.steps.append(step)
            self.state, news = step.state, ()
            if not step.more:
                return

    def messages(self, happened: Mapping[str, Any]) -> list[Arrived]:
        made = []
        for frame in self.state.frames.values():
            if any(may_match(wanted, happened) for wanted in frame.wants or ()):
                self.number += 1
                made.append(Arrived(frame=frame.id, number=self.number, event=happened))
        return made

    def receive(self, *events: Mapping[str, Any]) -> Listener:
        """Deliver events one after the other."""
        for each in events:
            self.advance(*self.messages(each))
        return self

    @property
    def frame(self) -> int:
        """Return the waiting frame."""
        (found,) = [each.id for each in self.state.frames.values() if each.phase in ("event", "child")]
        return found

    @property
    def emitted(self) -> list[Mapping[str, Any]]:
        return [emit.event for step in self.steps for emit in step.emits]

    @property
    def started(self) -> list[Any]:
        return [child.input for step in self.steps for child in step.children]

    def notes(self, kind: str) -> list[Mapping[str, Any]]:
        return [note.detail for step in self.steps for note in step.notes if note.kind == kind]


def listening(to: Mapping[str, Any], **more: Any) -> Any:
    return load({"document": HEADER, "do": [{"l": {"listen": {"to": to}, **more}}]})
