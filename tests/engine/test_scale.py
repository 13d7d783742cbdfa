"""Costs of steps do not grow with the number of surrounding branches, iterations and tasks.

Counted in lines of the engine that run, not in seconds: a look at every branch would show.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from iogate import engine
from iogate.compiler.program import Program, load
from iogate.engine.advance import RunFacts, advance
from iogate.engine.commands import EngineEvent, Performed
from iogate.engine.state.run_state import State, diff_frames
from iogate.errors import WorkflowError
from iogate.store import state_codec as frames
from iogate.store.state_codec import Codec, Delta
from tests.engine.engine_runs import HEADER, NOW_MS, stored

ENGINE = str(Path(engine.__file__).parent)
FACTS = RunFacts(uid="1", started_at_ms=NOW_MS, input=None)


def lines(work: Callable[[], Any]) -> int:
    """Return the number of executed lines of the engine."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.startswith(ENGINE):
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def program(*tasks: Any) -> Program:
    return load({"document": HEADER, "do": [{f"t{index}": task} for index, task in enumerate(tasks)]})


def completed(made: Program, state: State, *happened: EngineEvent, now_ms: int = NOW_MS) -> State:
    """Return the state when nothing is left to do."""
    while True:
        result = advance(made, state, happened, now_ms, FACTS)
        state, happened = result.state, ()
        if not result.more:
            return state


def fork(count: int, task: Any) -> Program:
    return program({"fork": {"branches": [{f"b{index}": task} for index in range(count)]}})


CALL = {"call": "f:1.0.0@default", "with": {"n": 1}}


def cost_of_a_result(count: int) -> int:
    made = fork(count, {"do": [{"x": CALL}, {"y": CALL}]})
    state = completed(made, State())
    effects = [frame.id for frame in state.frames.values() if frame.phase == "effect"]
    assert len(effects) == count

    def work() -> None:
        result = advance(made, state, (Performed(frame=effects[count // 2], output=1),), NOW_MS, FACTS)
        after = result.state
        assert len(result.performs) == 1
        assert after.in_flight
        assert (after.due_ms, after.waiting_for) == (None, None)
        assert len(diff_frames(state, after)[0]) == 3  # the branch, its scope, the new effect

    return lines(work)


def cost_of_the_end_of_a_branch(count: int) -> int:
    made = fork(count, CALL)
    state = completed(made, State())
    effects = [frame.id for frame in state.frames.values() if frame.phase == "effect"]
    return lines(lambda: advance(made, state, (Performed(frame=effects[1], output=1),), NOW_MS, FACTS))


def cost_of_a_due_wait(count: int) -> int:
    waits = [{f"b{index}": {"wait": {"seconds": index + 1}}} for index in range(count)]
    made = program({"fork": {"branches": waits}})
    state = completed(made, State())

    def work() -> None:
        after = completed(made, state, now_ms=NOW_MS + 1_000)
        assert after.due_ms == NOW_MS + 2_000
        assert after.waiting_for is not None

    return lines(work)


def cost_of_a_failing_competitor(count: int) -> int:
    branches = [{f"b{index}": CALL} for index in range(count)]
    made = program({"fork": {"branches": branches, "compete": True}})
    state = completed(made, State())
    effects = [frame.id for frame in state.frames.values() if frame.phase == "effect"]
    lost = Performed(frame=effects[1], error=WorkflowError("communication"))
    return lines(lambda: advance(made, state, (lost,), NOW_MS, FACTS))


def cost_of_a_slice(count: int) -> int:
    """Return the cost of 200 steps of branches that all have much to do."""
    made = fork(count, {"for": {"in": "[range(1000)]"}, "do": [{"x": {"set": "$item"}}]})
    state = State()
    for _ in range(2 + count // 20):  # all of them are in their loops
        state = advance(made, state, (), NOW_MS, FACTS).state
    return lines(lambda: advance(made, state, (), NOW_MS, FACTS))


@pytest.mark.parametrize(
    "cost", [cost_of_a_result, cost_of_the_end_of_a_branch, cost_of_a_due_wait, cost_of_a_failing_competitor]
)
def test_an_event_of_one_branch_costs_the_same_beside_a_thousand(cost: Callable[[int], int]) -> None:
    assert cost(1_000) <= cost(20) + 10


def test_the_measurement_detects_a_scan_of_all_branches() -> None:
    state = completed(fork(1_000, CALL), State())
    assert lines(lambda: stored(state).in_flight) > 3_000


def test_a_slice_costs_the_same_for_any_number_of_branches() -> None:
    assert cost_of_a_slice(500) < 1.3 * cost_of_a_slice(50)


def test_a_fork_of_a_thousand_branches_joins_in_constant_steps() -> None:
    def whole(count: int) -> int:
        made = fork(count, CALL)
        state = completed(made, State())
        effects = [frame.id for frame in state.frames.values() if frame.phase == "effect"]

        def work() -> None:
            nonlocal state
            for key in effects:
                state = completed(made, state, Performed(frame=key, output=key))
            assert state.output == effects

        return lines(work)

    assert whole(1_000) < 11 * whole(100)


def test_branches_share_slices_fairly() -> None:
    made = fork(300, {"for": {"in": "[range(10)]"}, "do": [{"x": {"set": "$item"}}]})
    state = State()
    for _ in range(12):
        state = advance(made, state, (), NOW_MS, FACTS).state
    turns = [frame.turn or 0 for frame in state.frames.values() if frame.pointer.endswith("/for/do")]
    assert len(turns) >= 290, "in the first slice, in which the fork began, a few were all there was"
    assert max(turns) - min(turns) <= 1


def test_a_task_costs_the_same_among_ten_thousand_as_among_a_hundred() -> None:
    def each(count: int) -> float:
        made = program(*[{"set": {"n": "${ .n }"}}] * count)
        return lines(lambda: completed(made, State())) / count

    assert each(10_000) < 1.05 * each(100)


# what is stored


def deltas(made: Program, state: State, commits: int, *, every: int = 1) -> list[Delta]:
    """Return the first commits of a run whose effects are all answered at once."""
    codec = Codec()
    found: list[Delta] = []
    happened: tuple[EngineEvent, ...] = ()
    while len(found) < commits and not state.ended:
        for _ in range(every):
            result = advance(made, state, happened, NOW_MS, FACTS)
            state = result.state
            happened = tuple(Performed(frame=each.frame, output={"n": 1}) for each in result.performs)
        if not state.ended:
            found.append(codec.delta(state))
    return found


def size(delta: Delta) -> int:
    return (
        len(delta.head or b"") + sum(map(len, delta.frames.values())) + sum(map(len, delta.values.values()))
    )


@pytest.mark.parametrize(
    "task", [CALL, {"do": [{"a": {"set": {"x": "$item"}}}, {"b": CALL}]}, {"try": [{"c": CALL}], "catch": {}}]
)
def test_commits_do_not_grow_over_a_loop_of_100_000_items(task: Any) -> None:
    made = program({"for": {"in": "[range(100000)]"}, "do": [{"x": task}]})
    found = deltas(made, State(), 400)
    assert len(found) == 400
    sizes = [size(each) for each in found]
    assert sizes[0] > 500_000, "the items are written once, at the beginning"
    assert max(sizes[1:]) < 1_000
    assert abs(sizes[399] - sizes[20]) < 20, "what grows is the digits of numbers"
    assert all(len(each.frames) <= 8 for each in found)


def test_slices_of_a_long_pure_loop_write_at_most_two_frames() -> None:
    made = program({"for": {"in": "[range(100000)]"}, "do": [{"x": {"set": {"n": "${ .n + 1 }"}}}]})
    found = deltas(made, State(), 300)
    assert max(size(each) for each in found[1:]) < 500
    assert {len(each.frames) for each in found[2:]} == {1}


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the number of bytes that the codec encoded in each call."""
    sizes: list[int] = []
    real = frames.encode

    def counting(value: Any) -> bytes:
        data = real(value)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(frames, "encode", counting)
    return sizes


def test_a_value_of_10_mb_is_encoded_once_on_its_way_through_20_tasks(encoded: list[int]) -> None:
    value = {"rows": ["x" * 100] * 100_000}
    steps = [{"call": "f:1.0.0@default", "with": {}, "output": {"as": "$input"}}] * 20
    made = program({"call": "f:1.0.0@default", "with": {}, "export": {"as": "{kept: true}"}}, *steps)
    codec, state, written = Codec(), State(), 0
    happened: tuple[EngineEvent, ...] = ()
    commits = 0
    while not state.ended:
        result = advance(made, state, happened, NOW_MS, FACTS)
        state = result.state
        if state.ended:
            break
        delta = codec.delta(state)
        commits += 1
        written += size(delta)
        happened = tuple(Performed(frame=each.frame, output=value) for each in result.performs)
    assert state.output is value
    assert commits == 21
    megabytes = len(frames.encode(value))
    assert megabytes > 10_000_000
    big = [each for each in encoded if each > 1_000_000]
    assert big == [megabytes, megabytes], "by the codec, and just now"
    assert written < megabytes + 21 * 2_000


def test_a_loaded_big_value_is_not_written_again(encoded: list[int]) -> None:
    value = ["x" * 1_000] * 1_000
    made = program({"set": "$workflow.input"}, CALL, {"set": "."}, CALL)
    facts = RunFacts(uid="1", started_at_ms=NOW_MS, input=value)
    state = advance(made, State(), (), NOW_MS, facts).state
    first = Codec().delta(state)
    assert len(first.values) == 1
    assert first.head is not None
    codec = Codec()
    state = codec.load(first.head, first.frames, first.values)
    (effect,) = [frame.id for frame in state.frames.values() if frame.phase == "effect"]
    encoded.clear()
    state = advance(made, state, (Performed(frame=effect, output=1),), NOW_MS, facts).state
    delta = codec.delta(state)
    assert not delta.values
    assert max(encoded) < 2_000


def test_the_summary_of_a_state_agrees_with_a_scan_of_all_frames() -> None:
    made = fork(40, {"do": [{"w": {"wait": {"seconds": 3}}}, {"x": CALL}]})
    state = completed(made, State())
    fresh = stored(state)
    assert (state.due_ms, state.in_flight) == (fresh.due_ms, fresh.in_flight)
    assert state.waiting_for == fresh.waiting_for
