"""The next step of a run is predicted before it happens, and the prediction is correct."""

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


class Predicted(Run):
    """A run whose slices reach one task each, as those of a solitary worker."""

    def slice(self, *happened: EngineEvent) -> tuple[NextTask | None, Advance]:
        found = next_task(self.program, self.state, happened, self.now_ms)
        budget = 0 if has_pending_events(self.state, happened, self.now_ms) else 1
        result = advance(
            self.program, self.state, happened, self.now_ms, self.facts, self.environment, budget
        )
        self.state = result.state
        return found, result

    def places(self, *happened: EngineEvent) -> list[str | None]:
        """Return the predicted places of the slices that follow these events."""
        found, result = self.slice(*happened)
        places = [found.pointer if found else None]
        while result.more:
            found, result = self.slice()
            places.append(found.pointer if found else None)
        return places


def predicted(text: str) -> Predicted:
    return Predicted(program(text))


def test_the_input_then_each_task_then_the_output_is_predicted() -> None:
    run = predicted("do: [{a: {set: 1}}, {b: {do: [{c: {set: 2}}]}}]")
    assert run.places() == ["/input", "/do/0/a", "/do/1/b", "/do/1/b/do/0/c", "/do/1/b", "/output"]
    assert run.state.status == "completed"


def test_a_result_is_processed_before_the_next_task() -> None:
    run = predicted(f"do: [{{a: {CALL}}}, {{b: {{set: 2}}}}]")
    assert run.places() == ["/input", "/do/0/a"]
    assert task_under_way(run.program, run.state) == NextTask(pointer="/do/0/a", name="a")
    assert run.places(Resumed()) == ["/do/0/a"]
    (frame,) = run.state.under_way
    assert run.places(Performed(frame=frame, output=1)) == ["/do/0/a", "/do/1/b", "/output"]


def test_a_due_timer_belongs_to_its_waiting_task() -> None:
    run = predicted("do: [{w: {wait: PT1S}}, {b: {set: 2}}]")
    assert run.places() == ["/input", "/do/0/w"]
    run.now_ms += 1_000
    assert run.places() == ["/do/0/w", "/do/1/b", "/output"]


def test_the_timeout_of_an_attempt_belongs_to_its_try() -> None:
    limit = "retry: {limit: {attempt: {count: 1, duration: PT1S}}}"
    run = predicted(f"do: [{{t: {{try: [{{w: {{wait: PT1H}}}}], catch: {{{limit}}}}}}}]")
    run.places()
    run.now_ms += 1_000
    assert run.places()[0] == "/do/0/t"


def test_the_end_of_an_iteration_belongs_to_its_loop() -> None:
    run = predicted("do: [{l: {for: {in: '[1, 2]'}, do: [{s: {set: .}}]}}]")
    loop, inside = "/do/0/l", "/do/0/l/for/do/0/s"
    assert run.places() == ["/input", loop, inside, loop, inside, loop, "/output"]


def test_several_candidates_give_no_prediction() -> None:
    run = predicted(f"do: [{{f: {{fork: {{branches: [{{a: {CALL}}}, {{b: {CALL}}}]}}}}}}]")
    run.places()
    assert task_under_way(run.program, run.state) is None
    first, second = run.state.under_way
    assert run.places(Resumed()) == [None]
    assert next_task(run.program, run.state, [Performed(frame=first)] * 2, run.now_ms) is not None
    both = (Performed(frame=first, output=1), Performed(frame=second, output=2))
    assert run.places(*both)[0] is None


def test_the_end_of_a_run_predicts_no_task() -> None:
    run = predicted(f"do: [{{a: {CALL}}}]")
    run.places()
    assert run.places(Cancelled()) == [None]
    assert next_task(run.program, run.state, (), run.now_ms) is None


@settings(max_examples=examples(60), **CALM)
@given(workflow=workflows(), value=st.integers(-5, 20))
def test_each_start_is_predicted_and_prediction_has_no_side_effect(
    workflow: dict[str, Any], value: int
) -> None:
    loaded = load({"document": HEADER, **workflow})
    run = Predicted(loaded, input=value)
    while not run.state.ended:
        found, result = run.slice()
        begun = [note.reference for note in result.notes if note.kind in {"task.started", "task.skipped"}]
        assert begun in ([], [found.pointer if found else None])
        if not result.more and not run.state.ended:
            assert run.state.due_ms is not None
            run.now_ms = max(run.now_ms, run.state.due_ms)
    assert outcome(run.state) == outcome(Run(loaded, input=value).finish(no_effects))
