"""Generated workflows: equal to the reference interpreter, also when stopped between any two steps."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iogate.compiler.program import load
from iogate.engine.advance import RunFacts, advance
from iogate.engine.commands import Perform, Performed, Resumed
from iogate.engine.retry import resume_faulted
from iogate.engine.state.frame import frame_to_json
from iogate.engine.state.frame_index import FrameIndex
from iogate.engine.state.run_state import State, diff_frames
from iogate.store.state_codec import Codec
from tests.engine.engine_runs import HEADER, NOW_MS, Run, no_effects, stored
from tests.engine.generated import workflows
from tests.engine.reference import Reference
from tests.examples import examples
from tests.stored_run import StoredRun

CALM: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
"""The machine may do much else besides."""


def outcome(state: State) -> tuple[str, Any]:
    return state.status, state.output if state.status == "completed" else (state.error or {}).get("status")


@settings(max_examples=examples(150), **CALM)
@given(workflow=workflows(), value=st.integers(-5, 20))
def test_a_workflow_equals_the_reference(workflow: dict[str, Any], value: int) -> None:
    program = load({"document": HEADER, **workflow})
    whole = Run(program, input=value).finish(no_effects)
    reference = Reference((workflow.get("use") or {}).get("extensions", ()))
    assert outcome(whole) == reference.run(workflow["do"], value)


@settings(max_examples=examples(60), **CALM)
@given(workflow=workflows(), value=st.integers(-5, 20))
def test_stopping_and_loading_at_any_step_changes_nothing(workflow: dict[str, Any], value: int) -> None:
    program = load({"document": HEADER, **workflow})
    whole = Run(program, input=value)
    whole.finish(no_effects)
    for budget, stores in ((1, True), (3, True), (1, False)):
        sliced = Run(program, input=value, budget=budget, stores=stores)
        sliced.finish(no_effects)
        assert (sliced.state.status, sliced.state.output, sliced.state.error) == (
            whole.state.status,
            whole.state.output,
            whole.state.error,
        )
        # branches of a fork may take turns differently: who loses, or is cancelled by the error of
        # another, may have had a turn, or none
        if '"compete"' not in json.dumps(workflow) and not fork_faulted(whole):
            assert told(sliced) == told(whole)


def fork_faulted(run: Run) -> bool:
    faulted = [each.reference for each in run.notes if each.kind == "task.faulted"]
    return any(inner.startswith(f"{outer}/fork/branches/") for outer in faulted for inner in faulted)


def told(run: Run) -> list[str]:
    return sorted(
        f"{each.kind} {each.reference} {each.detail}" for each in run.notes if each.kind != "task.cancelled"
    )


@settings(max_examples=examples(60), **CALM)
@given(workflow=workflows(), value=st.integers(-5, 20), every=st.integers(1, 4))
def test_commits_write_the_state(workflow: dict[str, Any], value: int, every: int) -> None:
    """For any number of steps between two commits; a step does not change the state before it."""
    program = load({"document": HEADER, **workflow})
    facts = RunFacts(uid="1", started_at_ms=NOW_MS, input=value)
    state, now_ms, codec, kept = State(), NOW_MS, Codec(), StoredRun()
    for step in range(1, 100_000):
        before = [frame_to_json(frame) for frame in state.frames.values()]
        text = json.dumps(before)
        result = advance(program, state, (), now_ms, facts, budget=1)
        assert advance(program, state, (), now_ms, facts, budget=1) == result
        assert json.dumps([frame_to_json(frame) for frame in state.frames.values()]) == text
        state = result.state
        assert_indexed(state)
        if step % every == 0 or (state.ended and state.status == "faulted"):
            kept.apply(codec.delta(state))
            loaded = kept.load()
            assert loaded == state
            assert loaded.status == state.status
        if state.ended:
            break
        if not result.more:
            assert state.due_ms is not None
            now_ms = state.due_ms


def assert_indexed(state: State) -> None:
    """Check that the index agrees with a scan of all frames."""
    found, fresh = state.indexed(), FrameIndex.of(state.frames.values())
    assert {key: list(each) for key, each in found.below.items()} == {
        key: list(each) for key, each in fresh.below.items()
    }
    assert found.leaves.keys() == fresh.leaves.keys()
    assert (found.effects, found.waits, found.moments) == (fresh.effects, fresh.waits, fresh.moments)
    assert {key: count for key, count in found.done.items() if count} == fresh.done


@settings(max_examples=examples(60), **CALM)
@given(workflow=workflows(), value=st.integers(-5, 20))
def test_a_faulted_run_faults_again_if_nothing_has_changed(workflow: dict[str, Any], value: int) -> None:
    run = Run(load({"document": HEADER, **workflow}), input=value)
    first = run.finish(no_effects)
    if first.status == "faulted":
        run.state = stored(resume_faulted(run.program, first, run.now_ms))
        assert not run.state.ended
        run.advance(Resumed())
        run.finish(no_effects)
        assert (run.state.status, run.state.error) == ("faulted", first.error)


WITH_CALLS = """
do:
  - first: {call: 'f:1.0.0@default', with: {n: '${ .n }'}}
  - loop:
      for: {in: '${ .items }', each: item}
      do:
        - call:
            call: 'g:1.0.0@default'
            with: {n: '${ $item }', before: '${ . }'}
            export: {as: '{last: .}'}
        - pause: {wait: {milliseconds: 5}}
  - last: {set: {result: '${ . }', context: '${ $context }'}}
"""


def answer(perform: Perform) -> Any:
    return {"items": [1, 2, 3]} if perform.reference == "/do/0/first" else perform.idempotency_key


@pytest.mark.parametrize("crash_at", range(8))
def test_a_crash_at_any_moment_changes_neither_outcome_nor_keys(crash_at: int) -> None:
    program = load({"document": HEADER, **yaml.safe_load(WITH_CALLS)})
    calm = Run(program, input={"n": 1})
    calm.finish(answer)
    crashed = Run(program, input={"n": 1}, stores=True)
    waiting = list(crashed.advance())
    moment = 0
    while not crashed.state.ended:
        if moment == crash_at:
            waiting = list(crashed.advance(Resumed()))
        moment += 1
        if waiting:
            perform = waiting.pop(0)
            waiting += crashed.advance(Performed(frame=perform.frame, output=answer(perform)))
        else:
            crashed.now_ms = crashed.state.due_ms or crashed.now_ms
            waiting += crashed.advance()
    assert crashed.state.output == calm.state.output
    assert {each.idempotency_key for each in crashed.performs} == {
        each.idempotency_key for each in calm.performs
    }


def test_a_loop_of_100_000_iterations_is_fast_with_constant_state() -> None:
    program = load(
        {
            "document": HEADER,
            "do": [{"l": {"for": {"in": "[range(100000)]"}, "do": [{"s": {"set": "$item"}}]}}],
        }
    )
    facts = RunFacts(uid="1", started_at_ms=NOW_MS, input=None)
    state, more, most = State(), True, 0
    items: Any = None
    began = time.process_time()
    while more:
        result = advance(program, state, (), NOW_MS, facts)
        most = max(most, len(result.state.frames))
        assert len(result.notes) <= 2 * 200 + 2
        for frame in result.state.frames.values():
            if frame.items is not None:
                assert items is None or frame.items is items, "the list was copied"
                items = frame.items
        if state.frames and result.state.frames:
            changed, _ = diff_frames(state, result.state)
            assert len(changed) <= 3
        state, more = result.state, result.more
    assert state.output == 99_999
    assert most == 4
    assert time.process_time() - began < 20
