"""Whatever the workflow: it does what a naive interpreter does, and stopping anywhere makes no difference."""

from __future__ import annotations

import json
import time
from typing import Any

import jq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from iogate.compiler.program import load
from iogate.engine.advance import RunFacts, advance
from iogate.engine.commands import Perform, Performed, Resumed
from iogate.engine.state import State, changes, frame_from_json, frame_to_json
from tests.engine.engine_runs import HEADER, NOW_MS, Run, no_effects

# A naive interpreter of pure tasks: recursive, by the book, without frames.


class Raised(Exception):
    pass


class Ended(Exception):
    pass


def evaluate(text: str, value: Any, known: dict[str, Any]) -> Any:
    results = jq.compile(text, args=known).input_value(value).all()
    return results[0] if len(results) == 1 else results or None


class Naive:
    """Data and `$context` are integers or null, expressions pick from a fixed set."""

    def __init__(self) -> None:
        self.context: Any = {}
        self.steps = 0

    def run(self, tasks: list[dict[str, Any]], value: Any) -> tuple[str, Any]:
        try:
            return "completed", self.tasks(tasks, value, {})
        except Ended as ended:
            return "completed", ended.args[0]
        except Raised as raised:
            return "faulted", raised.args[0]

    def tasks(self, tasks: list[dict[str, Any]], value: Any, around: dict[str, Any]) -> Any:
        names = [next(iter(each)) for each in tasks]
        at = 0
        while at < len(tasks):
            value, then = self.task(tasks[at][names[at]], value, around)
            if then == "exit":
                break
            if then == "end":
                raise Ended(value)
            at = at + 1 if then == "continue" else names.index(then)
        return value

    def task(self, task: dict[str, Any], raw: Any, around: dict[str, Any]) -> tuple[Any, str]:
        known = {**around, "context": self.context}
        if "if" in task and evaluate(task["if"], raw, known) in (None, False):
            return raw, "continue"
        value = evaluate(task["input"]["from"], raw, known) if "input" in task else raw
        then, out = task.get("then", "continue"), value
        known["input"] = value
        if "set" in task:
            out = evaluate(task["set"], value, known)
        elif "raise" in task:
            raise Raised(task["raise"]["error"]["status"])
        elif "switch" in task:
            for entry in task["switch"]:
                (case,) = entry.values()
                if "when" not in case or evaluate(case["when"], value, known) not in (None, False):
                    then = case["then"]
                    break
        elif "for" in task:
            items = evaluate(task["for"]["in"], value, known)
            each, index = task["for"].get("each", "item"), task["for"].get("at", "index")
            for at, item in enumerate(items):
                inside = {**around, each: item, index: at}
                seen = {**inside, "context": self.context, "input": value}
                if "while" in task and evaluate(task["while"], out, seen) in (None, False):
                    break
                out = self.tasks(task["do"], out, inside)
        elif "try" in task:
            out, then = self.attempt(task, value, around, then)
        elif "fork" in task:
            out = self.fork(task["fork"]["branches"], value, around)
        elif "do" in task:
            out = self.tasks(task["do"], value, around)
        known = {**around, "context": self.context, "input": value}
        if "output" in task:
            out = evaluate(task["output"]["as"], out, known)
        if "export" in task:
            self.context = evaluate(task["export"]["as"], out, {**known, "output": out})
        return out, then

    def attempt(self, task: dict[str, Any], value: Any, around: dict[str, Any], then: str) -> tuple[Any, str]:
        catch = task["catch"]
        retry = catch.get("retry")
        retries = retry["limit"]["attempt"]["count"] if retry else 0
        while True:
            try:
                return self.tasks(task["try"], value, around), then
            except Raised as raised:
                if (
                    catch.get("errors", {"with": {"status": raised.args[0]}})["with"]["status"]
                    != raised.args[0]
                ):
                    raise
                if retries > 0:
                    retries -= 1
                    continue
                if retry and "do" not in catch and "then" not in catch:
                    raise
                inside = {**around, "error": {"status": raised.args[0]}}
                out = self.tasks(catch["do"], value, inside) if "do" in catch else value
                return out, catch.get("then", then)

    def fork(self, branches: list[dict[str, Any]], value: Any, around: dict[str, Any]) -> Any:
        before = merged = self.context
        outputs = []
        for branch in branches:
            self.context = before
            (only,) = branch.values()
            outputs.append(self.task(only, value, around)[0])
            if self.context != before:
                merged = {**merged, **self.context}
        self.context = merged
        return outputs


EXPRESSIONS = st.sampled_from(
    [".", ". + 1", ". * 2 % 1000", "7", "(. // 0) - 3", "$input", "($context.n // 0) + 1"]
)
SHAPES = st.sampled_from([".", ". + 1", "(. // 0) * 3 % 1000", "($context.n // 5)"])
CONDITIONS = st.sampled_from([". % 2 == 0", "(. // 0) > 3", "true", "null", "$context.n == null"])
LISTS = st.sampled_from(["[]", "[1, 2, 3]", "[range(. % 4 | fabs)]", "[5]"])


QUIET = ("continue", "exit")
"""Inside a fork nothing ends the run: which branch came first would matter."""


@st.composite
def tasks(draw: Any, depth: int, *, quiet: bool = False) -> list[dict[str, Any]]:
    """A list of tasks; directives lead forward only, so that each ends."""
    names = [f"t{index}" for index in range(draw(st.integers(1, 4)))]
    return [
        {name: draw(task(depth, [*names[index + 1 :], *QUIET, *([] if quiet else ["end"])], quiet=quiet))}
        for index, name in enumerate(names)
    ]


@st.composite
def task(draw: Any, depth: int, targets: list[str], *, quiet: bool = False) -> dict[str, Any]:
    kinds = [
        "set",
        "set",
        "switch",
        "wait",
        *(["raise"] if not quiet and draw(st.integers(0, 5)) == 0 else []),
    ]
    kind = draw(st.sampled_from(kinds if depth == 0 else [*kinds, "for", "do", "try", "try", "fork"]))
    made: dict[str, Any] = {}
    match kind:
        case "set":
            made["set"] = draw(EXPRESSIONS)
        case "wait":
            made["wait"] = {"milliseconds": draw(st.integers(0, 3))}
        case "raise":
            made["raise"] = {"error": {"type": "https://x/e", "status": draw(st.integers(400, 403))}}
        case "switch":
            cases = [{"when": draw(CONDITIONS), "then": draw(st.sampled_from(targets))} for _ in range(2)]
            if draw(st.booleans()):
                cases.append({"then": draw(st.sampled_from(targets))})
            made["switch"] = [{f"c{index}": case} for index, case in enumerate(cases)]
        case "for":
            made["for"] = {"in": draw(LISTS), "each": draw(st.sampled_from(["item", "other"]))}
            if draw(st.booleans()):
                made["while"] = draw(st.sampled_from(["(. // 0) < 50", "$index < 2", "true"]))
            made["do"] = draw(tasks(depth - 1, quiet=quiet))
        case "try":
            made["try"] = draw(tasks(depth - 1, quiet=quiet))
            made["catch"] = draw(catches(depth, targets, quiet=quiet))
        case "fork":
            branches = [
                draw(task(depth - 1, list(QUIET), quiet=True)) for _ in range(draw(st.integers(1, 3)))
            ]
            made["fork"] = {"branches": [{f"b{index}": branch} for index, branch in enumerate(branches)]}
            made["output"] = {"as": "[.. | numbers] | add"}
        case _:
            made["do"] = draw(tasks(depth - 1, quiet=quiet))
    if draw(st.integers(0, 3)) == 0:
        made["if"] = draw(CONDITIONS)
    if draw(st.integers(0, 3)) == 0:
        made["input"] = {"from": draw(SHAPES)}
    if kind != "fork" and draw(st.integers(0, 3)) == 0:
        made["output"] = {"as": draw(SHAPES)}
    if draw(st.integers(0, 3)) == 0:
        made["export"] = {"as": "{n: .}"}
    if draw(st.integers(0, 2)) == 0:
        made["then"] = draw(st.sampled_from(targets))
    return made


@st.composite
def catches(draw: Any, depth: int, targets: list[str], *, quiet: bool) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if draw(st.integers(0, 2)) == 0:
        made["errors"] = {"with": {"status": draw(st.integers(400, 403))}}
    if draw(st.booleans()):
        made["retry"] = {"limit": {"attempt": {"count": draw(st.integers(0, 2))}}}
    if draw(st.booleans()):
        made["do"] = [{"h": {"set": "$error.status"}}, *draw(tasks(depth - 1, quiet=quiet))]
    if draw(st.integers(0, 2)) == 0:
        made["then"] = draw(st.sampled_from(targets))
    return made


@settings(max_examples=60, deadline=None)
@given(tree=tasks(2), value=st.integers(-5, 20))
def test_a_workflow_does_what_a_naive_interpreter_does(tree: list[dict[str, Any]], value: int) -> None:
    program = load({"document": HEADER, "do": tree})
    whole = Run(program, input=value).finish(no_effects)
    status, result = Naive().run(tree, value)
    assert whole.status == status
    assert (whole.output if status == "completed" else (whole.error or {}).get("status")) == result
    # each step stored and loaded, and budgets of any size, make no difference
    for budget in (1, 3):
        sliced = Run(program, input=value, budget=budget, stores=True)
        sliced.finish(no_effects)
        assert (sliced.state.status, sliced.state.output, sliced.state.error) == (
            whole.status,
            whole.output,
            whole.error,
        )


@settings(max_examples=40, deadline=None)
@given(tree=tasks(2), value=st.integers(-5, 20))
def test_slices_tell_the_same_story_and_never_mutate_a_state(tree: list[dict[str, Any]], value: int) -> None:
    program = load({"document": HEADER, "do": tree})
    whole, sliced = Run(program, input=value), Run(program, input=value, budget=1)
    whole.finish(no_effects)
    sliced.finish(no_effects)
    # branches of a fork may take turns differently
    told = [
        sorted(f"{each.kind} {each.reference} {each.detail}" for each in run.notes) for run in (whole, sliced)
    ]
    assert told[0] == told[1]
    facts = RunFacts(uid="1", started_at_ms=NOW_MS, input=value)
    state, more = State(), True
    while more:
        before = json.dumps([frame_to_json(frame) for frame in state.frames.values()])
        result = advance(program, state, (), NOW_MS, facts, budget=1)
        again = advance(program, state, (), NOW_MS, facts, budget=1)
        assert result == again
        assert before == json.dumps([frame_to_json(frame) for frame in state.frames.values()])
        changed, gone = changes(state, result.state)
        rebuilt = {**state.frames, **changed}
        assert {key: rebuilt[key] for key in rebuilt if key not in gone} == result.state.frames
        for frame in result.state.frames.values():
            assert frame_from_json(json.loads(json.dumps(frame_to_json(frame)))) == frame
        state, more = result.state, result.more


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
    waiting = list(crashed.tell())
    moment = 0
    while not crashed.state.ended:
        if moment == crash_at:
            waiting = list(crashed.tell(Resumed()))
        moment += 1
        if waiting:
            perform = waiting.pop(0)
            waiting += crashed.tell(Performed(frame=perform.frame, output=answer(perform)))
        else:
            crashed.now_ms = crashed.state.due_ms or crashed.now_ms
            waiting += crashed.tell()
    assert crashed.state.output == calm.state.output
    assert {each.idempotency_key for each in crashed.performs} == {
        each.idempotency_key for each in calm.performs
    }


def test_a_loop_of_100_000_turns_is_fast_and_its_state_does_not_grow() -> None:
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
            changed, _ = changes(state, result.state)
            assert len(changed) <= 3
        state, more = result.state, result.more
    assert state.output == 99_999
    assert most == 4
    assert time.process_time() - began < 20
