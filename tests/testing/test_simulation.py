"""Simulation: child runs, events for waiting runs, and mocks of either."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest

from iogate.documents.api import DebugCase
from iogate.engine.commands import StartChild
from iogate.settings import Settings
from iogate.testing import Arrival, FakeClock, Harness, Mock, Unmocked, replay

PARENT = """
    - pay: {run: {workflow: {namespace: t, name: pay, version: latest, input: {n: '${ .n }'}}}}
"""
PAY = """
    - each:
        for: {in: '${ [1, 2] }'}
        do:
          - charge:
              call: http
              with: {method: post, endpoint: "https://api.example.com/pay"}
"""
NAP = """
    - nap: {wait: PT1H}
"""
LISTEN = """
    - l: {listen: {to: {any: [], until: length == 2}}}
"""


def project(root: Path, /, **workflows: str) -> Harness:
    (root / "workflows.d").mkdir(exist_ok=True)
    for name, do in workflows.items():
        head = f"document: {{dsl: 1.0.3, namespace: t, name: {name}, version: 1.0.0}}\ndo:\n"
        (root / "workflows.d" / f"{name}.yaml").write_text(head + indent(dedent(do), "  "))
    return Harness.load(root, settings=Settings(allow_run=("shell",)))


async def test_a_mock_replaces_a_whole_child(tmp_path: Path) -> None:
    harness = project(tmp_path, w=PARENT, pay=PAY)
    asked: list[Any] = []

    def answer(start: StartChild) -> Mock:
        asked.append((start.name, start.input))
        return Mock(output="paid")

    outcome = await harness.run("t/w", {"n": 3}, mocks={"/do/0/pay": answer})
    assert (outcome.output, outcome.children, asked) == ("paid", (), [("pay", {"n": 3})])


async def test_a_mocked_child_may_fail(tmp_path: Path) -> None:
    error = {"type": "https://e.example/t", "status": 418, "title": "Teapot"}
    outcome = await project(tmp_path, w=PARENT, pay=PAY).run("t/w", mocks={"/do/0/pay": Mock(error=error)})
    assert outcome.error == {**error, "instance": "/do/0/pay"}


async def test_a_task_of_a_child_is_mocked_below_the_task_that_runs_it(tmp_path: Path) -> None:
    each, special = "/do/0/pay/do/0/each/for/do/0/charge", "/do/0/pay/do/0/each/for/1/do/0/charge"
    mocks = {each: Mock(output="each"), special: Mock(output="special")}
    outcome = await project(tmp_path, w=PARENT, pay=PAY).run("t/w", mocks=mocks)
    (child,) = outcome.children
    assert outcome.output == "special"
    assert [call.performed.output for call in child.calls] == ["each", "special"]
    assert (child.workflow, child.status, child.input) == ("t/pay:1.0.0", "completed", {"n": None})
    assert child.uid != outcome.uid


SHARED = """
document: {dsl: 1.0.3, namespace: t, name: w, version: 1.0.0}
use:
  functions:
    paid: {run: {workflow: {namespace: t, name: pay, version: latest}}}
  extensions:
    - audit:
        extend: set
        before:
          - tell: {run: {workflow: {namespace: t, name: pay, version: latest}}}
do:
  - say: {set: {n: 1}}
  - call: {call: paid}
"""
TELL, PAID = "/use/extensions/0/audit/before/0/tell", "/use/functions/paid"
CHARGE = "/do/0/each/for/do/0/charge"


@pytest.mark.parametrize("inner", ["", CHARGE], ids=["whole", "its tasks"])
async def test_a_child_of_an_extension_or_a_function_is_mocked_by_the_keys_that_validate_takes(
    tmp_path: Path, inner: str
) -> None:
    mocks = {TELL + inner: {"output": "told"}, PAID + inner: {"output": "paid"}}
    case = {"name": "case", "body": {}, "mocks": mocks, "expect": {"output": "paid"}}
    api = {
        "module": "t",
        "auth": "none",
        "timeout": "1m",
        "methods": {"w": {"workflow": "t/w", "debug": [case]}},
    }
    project(tmp_path, pay=PAY)
    (tmp_path / "workflows.d/w.yaml").write_text(SHARED)
    (tmp_path / "apis.d").mkdir()
    (tmp_path / "apis.d/t.yaml").write_text(json.dumps(api))
    harness = Harness.load(tmp_path)
    assert (await replay(harness, "t/w", DebugCase.model_validate(case))).failures == ()
    with pytest.raises(Unmocked) as caught:
        await harness.run("t/w")
    assert f"mocks: {{{TELL}{CHARGE}: {{output: …}}}}" in caught.value.hint


NESTED = """
document: {dsl: 1.0.3, namespace: t, name: w, version: 1.0.0}
use:
  functions:
    outer: {do: [{step: {call: inner}}]}
    inner: {call: http, with: {method: get, endpoint: "https://api.example.com"}}
do:
  - a: {call: outer}
"""


@pytest.mark.parametrize("key", ["/use/functions/inner", "/use/functions/outer/do/0/step", "/do/0/a"])
async def test_a_call_in_nested_functions_is_mocked_at_each_of_them(tmp_path: Path, key: str) -> None:
    (tmp_path / "workflows.d").mkdir()
    (tmp_path / "workflows.d/w.yaml").write_text(NESTED)
    outcome = await Harness.load(tmp_path).run("t/w", mocks={key: Mock(output=7)})
    assert (outcome.status, outcome.output) == ("completed", 7)


async def test_events_arrive_one_by_one_when_a_run_listens(tmp_path: Path) -> None:
    harness = project(tmp_path, w=NAP + LISTEN)
    outcome = await harness.run("t/w", events=[{"type": "a", "data": 1}, {"type": "b", "data": 2}])
    assert (outcome.output, outcome.elapsed_s) == ([1, 2], 3600)


async def test_an_event_can_arrive_at_a_given_time(tmp_path: Path) -> None:
    harness = project(tmp_path, w=LISTEN)
    events: list[dict[str, Any] | Arrival] = [{"type": "a"}, Arrival(event={"type": "b"}, after_s=90.5)]
    outcome = await harness.run("t/w", events=events)
    assert (outcome.status, outcome.elapsed_s) == ("completed", 90.5)


async def test_an_event_before_any_listener_is_lost(tmp_path: Path) -> None:
    harness = project(tmp_path, w=NAP + LISTEN)
    events: list[dict[str, Any] | Arrival] = [
        Arrival(event={"type": "a", "data": 1}, after_s=10),
        {"type": "b"},
        {"type": "c"},
    ]
    assert (await harness.run("t/w", events=events)).output == [None, None]


async def test_a_listener_without_events_stays_waiting(tmp_path: Path) -> None:
    outcome = await project(tmp_path, w=LISTEN).run("t/w", events=[{"type": "a"}])
    assert outcome.status == "waiting"
    assert outcome.waiting_for is not None
    assert outcome.waiting_for.task == "/do/0/l"


async def test_emitted_events_are_recorded(tmp_path: Path) -> None:
    emit = "- e: {emit: {event: {with: {type: a, data: '${ .n }'}}}, output: {as: .data}}"
    outcome = await project(tmp_path, w=PARENT, pay=emit).run("t/w", {"n": 5})
    assert (outcome.output, outcome.emitted) == (5, ())
    (child,) = outcome.children
    assert [event["data"] for event in child.emitted] == [5]


async def test_a_debug_case_provides_its_events(tmp_path: Path) -> None:
    (tmp_path / "apis.d").mkdir()
    (tmp_path / "apis.d" / "t.yaml").write_text(
        "module: t\nauth: none\ntimeout: 1m\nmethods: {w: {workflow: t/w, verbs: [POST]}}\n"
    )
    case = {"name": "c", "events": [{"type": "a", "data": 1}, {"type": "b"}], "expect": {"output": [1, None]}}
    replayed = await replay(project(tmp_path, w=LISTEN), "t/w", DebugCase.model_validate(case))
    assert replayed.failures == ()


async def test_an_error_of_a_mock_ends_the_test_and_not_the_run(tmp_path: Path) -> None:
    caught = """
        - t:
            try:
              - call: {call: http, with: {method: get, endpoint: "https://api.example.com"}}
              - pay: {run: {workflow: {namespace: t, name: pay, version: latest}}}
            catch: {do: [{say: {set: {caught: true}}}]}
    """
    harness = project(tmp_path, w=caught, pay=PAY)

    def fails(_: Any) -> Mock:
        raise KeyError("the author's own")

    for name in ("call", "pay"):
        call = {"/do/0/t/try/0/call": Mock(output=None)} if name == "pay" else {}
        number = ("call", "pay").index(name)
        with pytest.raises(KeyError, match="the author's own"):
            await harness.run("t/w", mocks={**call, f"/do/0/t/try/{number}/{name}": fails})


async def test_a_run_keeps_its_lease_while_the_clock_jumps(tmp_path: Path) -> None:
    """A child has an effect under way, while a mock moves the clock beyond the end of its lease."""
    do = """
        - both:
            fork:
              branches:
                - slow: {run: {workflow: {namespace: t, name: slow, version: latest}}}
                - then:
                    do:
                      - nap: {wait: {milliseconds: 50}}
                      - call: {call: http, with: {method: get, endpoint: "https://api.example.com"}}
                      - quick: {run: {workflow: {namespace: t, name: quick, version: latest}}}
    """
    slow = "- shell: {run: {shell: {command: 'sleep 0.3; echo done'}}}"
    harness = project(tmp_path, w=do, slow=slow, quick="- say: {set: {ok: true}}")
    clock = FakeClock()

    def passes(_: Any) -> Mock:
        clock.advance(3_600)
        return Mock(output=None)

    mocks = {"/do/0/both/fork/branches/1/then/do/1/call": passes}
    outcome = await harness.run("t/w", mocks=mocks, clock=clock)
    assert (outcome.status, outcome.elapsed_s) == ("completed", 3_600.05), outcome.error
    (child,) = (each for each in outcome.children if each.workflow == "t/slow:1.0.0")
    assert child.output == "done\n"
    kinds = [note.kind for note in child.notes if note.name == "shell"]
    assert kinds == ["task.started", "process.output", "task.completed"]


async def test_equal_runs_have_equal_outcomes(tmp_path: Path) -> None:
    """With children, events, forks and timers: also the order of all entries is the same."""
    do = """
        - both:
            fork:
              branches:
                - first: {run: {workflow: {namespace: t, name: child, version: latest, input: {n: 1}}}}
                - second: {run: {workflow: {namespace: t, name: child, version: latest, input: {n: 2}}}}
                - hears: {listen: {to: {any: [], until: length == 2}}}
                - nap: {wait: PT0.5S}
    """
    child = """
        - nap: {wait: PT2S}
        - say: {emit: {event: {with: {source: /t, type: said, data: '${ .n }'}}}}
    """
    harness = project(tmp_path, w=do, child=child)
    first, second = [await harness.run("t/w", {}) for _ in range(2)]
    assert (first.status, first.elapsed_s) == ("completed", 2.0), first.error
    assert [note.kind for note in first.notes] == [note.kind for note in second.notes]
    assert [replace(each, emitted=(), children=()) for each in (first, *first.children)] == [
        replace(each, emitted=(), children=()) for each in (second, *second.children)
    ]


async def test_an_event_arrives_at_its_time_while_a_real_effect_is_under_way(tmp_path: Path) -> None:
    """The listening task would time out before the script ends."""
    both = """
        - both:
            fork:
              branches:
                - slow: {run: {shell: {command: sleep 1.5}}}
                - heard:
                    listen: {to: {one: {with: {type: go}}}}
                    timeout: {after: PT1S}
    """
    arrival = Arrival(event={"type": "go"}, after_s=0.2)
    outcome = await project(tmp_path, both=both).run("t/both", events=[arrival])
    assert (outcome.status, outcome.error) == ("completed", None)
