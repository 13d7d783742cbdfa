"""Replays of parallel loops: iterations are matched by index, in whatever order their results came."""

from __future__ import annotations

import copy
from typing import Any

from iogate.errors import WorkflowError
from iogate.testing.behaviour.replays import WorkflowReplay
from tests.testing.behaviour.recorded import RecordedRun, recorded, replayed
from tests.testing.behaviour.workflows import http
from tests.worker.site import workflow


def loop(*tasks: dict[str, Any], **said: Any) -> dict[str, Any]:
    body = {
        "for": {"in": "${ [range(12)] }", "each": "k"},
        "metadata": {"iogate": {"parallel": 4, **said}},
        "do": list(tasks),
    }
    return workflow("loop", {"all": body}, {"end": {"set": {"sum": "${ . }"}}})


LOOP = loop(
    {"rest": {"wait": {"milliseconds": "${ 10 * (7 * $k % 5) + 1 }"}}},
    {"even": {"if": "${ $k % 2 == 0 }", "set": {"k": "${ $k }"}}},
    {"call": http("a", {"k": "${ $k }"})},
    {"later": {"wait": {"milliseconds": "${ 3 * (5 * $k % 7) + 1 }"}}},
    {"odd": {"if": "${ $k % 2 == 1 }", "set": "${ . + {odd: true} }"}},
    {"which": {"switch": [{"big": {"when": "${ $k > 6 }", "then": "exit"}}, {"small": {"then": "last"}}]}},
    {"last": {"set": "${ . + {small: true} }"}},
)


def slow_and_shuffled(perform: Any) -> Any:
    k = perform.effect.body["k"]
    return (0.01 * (5 * k % 7), {"of": k})


def changed(do: Any) -> dict[str, Any]:
    new = copy.deepcopy(LOOP)
    do(new["do"][0]["all"])
    return new


def found(result: WorkflowReplay) -> list[tuple[str, str, str]]:
    assert result.replayed == 1, result.skipped
    return [(each.finding.kind, each.finding.pointer, each.finding.detail) for each in result.findings]


async def run(answer: Any = slow_and_shuffled, definition: dict[str, Any] = LOOP) -> RecordedRun:
    return await recorded(definition, {}, answer)


async def test_results_in_another_order_and_another_number_at_once_are_no_difference() -> None:
    run_ = await run()
    assert found(await replayed(LOOP, LOOP, [run_])) == []
    for number in (1, 2, 12, 1000):
        new = changed(lambda each, number=number: each["metadata"]["iogate"].update(parallel=number))
        assert found(await replayed(LOOP, new, [run_])) == []


async def test_a_change_in_one_iteration_is_named() -> None:
    run_ = await run()

    def branch(each: dict[str, Any]) -> None:
        each["do"][1]["even"]["if"] = "${ $k % 2 == 0 and $k != 6 }"

    assert found(await replayed(LOOP, changed(branch), [run_])) == [("branch", "/do/0/all/do/1/even", "")]

    def request(each: dict[str, Any]) -> None:
        each["do"][2]["call"]["with"]["body"]["k"] = "${ if $k == 9 then 99 else $k end }"

    assert found(await replayed(LOOP, changed(request), [run_])) == [
        ("request", "/do/0/all/do/2/call", "body")
    ]

    def rest(each: dict[str, Any]) -> None:
        each["do"][0]["rest"]["wait"]["milliseconds"] = (
            "${ if $k == 3 then 500 else 10 * (7 * $k % 5) + 1 end }"
        )

    def late(each: dict[str, Any]) -> None:
        each["do"][4]["odd"]["if"] = "${ $k % 2 == 1 and $k != 7 }"

    assert found(await replayed(LOOP, changed(late), [run_])) == [("branch", "/do/0/all/do/4/odd", "")]

    def case(each: dict[str, Any]) -> None:
        each["do"][5]["which"]["switch"][0]["big"]["when"] = "${ $k > 5 }"

    assert found(await replayed(LOOP, changed(case), [run_])) == [("branch", "/do/0/all/do/5/which", "")]
    assert ("wait", "/do/0/all/do/0/rest", "") in found(await replayed(LOOP, changed(rest), [run_]))


async def test_a_loop_that_becomes_parallel_has_another_output() -> None:
    plain = changed(lambda each: each.pop("metadata"))
    run_ = await run(definition=plain)
    assert found(await replayed(plain, LOOP, [run_])) == [("output", "/do/0/all", "")]


async def test_errors_that_stay_in_the_output_recover_a_run() -> None:
    def answer(perform: Any) -> Any:
        if perform.effect.body["k"] == 5:
            return WorkflowError("communication", status=503)
        return slow_and_shuffled(perform)

    failing = await recorded(LOOP, {}, answer)
    assert failing.status == "faulted"
    assert found(await replayed(LOOP, LOOP, [failing])) == []
    kept = changed(lambda each: each["metadata"]["iogate"].update(on_error="continue"))
    kinds = {kind for kind, _, _ in found(await replayed(LOOP, kept, [failing]))}
    assert kinds <= {"unrecorded", "recovery"}
    assert kinds
