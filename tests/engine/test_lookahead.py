"""What a run comes to next is said before it happens, and holds."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from iogate.compiler.program import load
from iogate.engine.advance import Advance, advance
from iogate.engine.commands import Cancelled, EngineEvent, Performed, Resumed
from iogate.engine.lookahead import NextTask, has_pending_events, next_task, task_under_way
from tests.engine.engine_runs import HEADER, Run, no_effects, program
from tests.engine.generated import workflows
from tests.engine.test_properties import CALM, outcome
from tests.examples import examples

CALL = "{call: 'f:1.0.0@default', with: {}}"


class Foretold(Run):
    """A run whose slices come to one thing each, as those of a solitary worker."""

    def slice(self, *happened: EngineEvent) -> tuple[NextTask | None, Advance]:
        found = next_task(self.program, self.state, happened, self.now_ms)
        budget = 0 if has_pending_events(self.state, happened, self.now_ms) else 1
        result = advance(
            self.program, self.state, happened, self.now_ms, self.facts, self.environment, budget
        )
        self.state = result.state
        return found, result

    def places(self, *happened: EngineEvent) -> list[str | None]:
        """Where the slices are that follow from what happened."""
        found, result = self.slice(*happened)
        places = [found.pointer if found else None]
        while result.more:
            found, result = self.slice()
            places.append(found.pointer if found else None)
        return places


def foretold(text: str) -> Foretold:
    return Foretold(program(text))


def test_first_comes_the_input_then_task_after_task_then_the_output() -> None:
    run = foretold("do: [{a: {set: 1}}, {b: {do: [{c: {set: 2}}]}}]")
    assert run.places() == ["/input", "/do/0/a", "/do/1/b", "/do/1/b/do/0/c", "/do/1/b", "/output"]
    assert run.state.status == "completed"


def test_an_answer_is_taken_in_before_the_next_task_begins() -> None:
    run = foretold(f"do: [{{a: {CALL}}}, {{b: {{set: 2}}}}]")
    assert run.places() == ["/input", "/do/0/a"]
    assert task_under_way(run.program, run.state) == NextTask(pointer="/do/0/a", name="a")
    assert run.places(Resumed()) == ["/do/0/a"]
    (frame,) = run.state.under_way
    assert run.places(Performed(frame=frame, output=1)) == ["/do/0/a", "/do/1/b", "/output"]


def test_a_time_that_has_come_is_of_the_task_that_waited_for_it() -> None:
    run = foretold("do: [{w: {wait: PT1S}}, {b: {set: 2}}]")
    assert run.places() == ["/input", "/do/0/w"]
    run.now_ms += 1_000
    assert run.places() == ["/do/0/w", "/do/1/b", "/output"]


def test_the_time_of_one_attempt_is_of_the_try_around_it() -> None:
    limit = "retry: {limit: {attempt: {count: 1, duration: PT1S}}}"
    run = foretold(f"do: [{{t: {{try: [{{w: {{wait: PT1H}}}}], catch: {{{limit}}}}}}}]")
    run.places()
    run.now_ms += 1_000
    assert run.places()[0] == "/do/0/t"


def test_a_turn_that_ends_is_of_its_loop() -> None:
    run = foretold("do: [{l: {for: {in: '[1, 2]'}, do: [{s: {set: .}}]}}]")
    loop, inside = "/do/0/l", "/do/0/l/for/do/0/s"
    assert run.places() == ["/input", loop, inside, loop, inside, loop, "/output"]


def test_where_it_may_be_one_of_several_nothing_is_said() -> None:
    run = foretold(f"do: [{{f: {{fork: {{branches: [{{a: {CALL}}}, {{b: {CALL}}}]}}}}}}]")
    run.places()
    assert task_under_way(run.program, run.state) is None
    first, second = run.state.under_way
    assert run.places(Resumed()) == [None]
    assert next_task(run.program, run.state, [Performed(frame=first)] * 2, run.now_ms) is not None
    both = (Performed(frame=first, output=1), Performed(frame=second, output=2))
    assert run.places(*both)[0] is None


def test_an_end_comes_to_no_task() -> None:
    run = foretold(f"do: [{{a: {CALL}}}]")
    run.places()
    assert run.places(Cancelled()) == [None]
    assert next_task(run.program, run.state, (), run.now_ms) is None


@settings(max_examples=examples(60), **CALM)
@given(workflow=workflows(), value=st.integers(-5, 20))
def test_what_begins_was_foretold_and_to_foretell_changes_nothing(
    workflow: dict[str, Any], value: int
) -> None:
    loaded = load({"document": HEADER, **workflow})
    run = Foretold(loaded, input=value)
    while not run.state.ended:
        found, result = run.slice()
        begun = [note.reference for note in result.notes if note.kind in {"task.started", "task.skipped"}]
        assert begun in ([], [found.pointer if found else None])
        if not result.more and not run.state.ended:
            assert run.state.due_ms is not None
            run.now_ms = max(run.now_ms, run.state.due_ms)
    assert outcome(run.state) == outcome(Run(loaded, input=value).finish(no_effects))
