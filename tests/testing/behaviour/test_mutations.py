"""Seeded mutations of workflows are named with their kind and pointer; refactorings cause no alarm."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import pytest

from iogate.testing.behaviour.replay_comparison import FindingKind
from iogate.testing.behaviour.replays import WorkflowReplay
from tests.testing.behaviour.recorded import RecordedRun, recorded, replayed
from tests.testing.behaviour.workflows import SUBJECTS, http

Do = list[dict[str, Any]]
Change = Callable[[dict[str, Any]], None]

_RUNS: dict[str, list[RecordedRun]] = {}


@dataclass(frozen=True)
class Mutation:
    name: str
    subject: str
    change: Change
    kind: str
    pointer: str
    detail: str = ""
    count: int | None = None


def edit(path: str, value: Any) -> Change:
    """Return a change that sets the member at a path of the definition; `None` deletes it."""

    def change(definition: dict[str, Any]) -> None:
        *parents, last = path.strip("/").split("/")
        place: Any = definition
        for token in parents:
            place = place[int(token)] if isinstance(place, list) else place[token]
        if isinstance(place, list):
            if value is None:
                del place[int(last)]
            else:
                place[int(last)] = value
        elif value is None:
            del place[last]
        else:
            place[last] = value

    return change


def insert(path: str, at: int, task: dict[str, Any]) -> Change:
    def change(definition: dict[str, Any]) -> None:
        place: Any = definition
        for token in path.strip("/").split("/"):
            place = place[int(token)] if isinstance(place, list) else place[token]
        place.insert(at, task)

    return change


def several(*changes: Change) -> Change:
    def change(definition: dict[str, Any]) -> None:
        for each in changes:
            each(definition)

    return change


def swap(path: str, first: int, second: int) -> Change:
    def change(definition: dict[str, Any]) -> None:
        place: Any = definition
        for token in path.strip("/").split("/"):
            place = place[int(token)] if isinstance(place, list) else place[token]
        place[first], place[second] = place[second], place[first]

    return change


CHARGE = "/do/3/charge/with"
PRICE = "/do/0/each/do/0/price/with"

MUTATIONS = [
    # Branches.
    Mutation(
        "a limit of a switch",
        "order",
        edit("/do/1/check/switch/0/large/when", "${ .total > 40 }"),
        "branch",
        "/do/1/check",
        count=2,
    ),
    Mutation(
        "an inverted switch",
        "order",
        edit("/do/1/check/switch/0/large/when", "${ .total <= 100 }"),
        "branch",
        "/do/1/check",
        count=4,
    ),
    Mutation(
        "another target of a case",
        "order",
        edit("/do/1/check/switch/1/normal/then", "label"),
        "branch",
        "/do/1/check",
        count=3,
    ),
    Mutation(
        "a condition that skips more",
        "order",
        edit("/do/4/gift/if", "${ false }"),
        "branch",
        "/do/4/gift",
        count=1,
    ),
    Mutation(
        "a condition that skips less", "order", edit("/do/4/gift/if", None), "branch", "/do/4/gift", count=2
    ),
    Mutation(
        "another then of a call",
        "order",
        edit("/do/2/review/then", "gift"),
        "branch",
        "/do/2/review",
        count=1,
    ),
    Mutation(
        "an end in the middle", "order", edit("/do/3/charge/then", "end"), "branch", "/do/3/charge", count=3
    ),
    Mutation(
        "a new switch",
        "order",
        insert("/do", 1, {"hurry": {"switch": [{"any": {"when": "${ .amount == 5 }", "then": "label"}}]}}),
        "branch",
        "/do/1/hurry",
        count=1,
    ),
    Mutation(
        "fewer items of a loop",
        "lines",
        edit("/do/0/each/for/in", "${ .lines[:1] }"),
        "branch",
        "/do/0/each",
        count=2,
    ),
    Mutation(
        "a while of a loop",
        "lines",
        edit("/do/0/each/while", "${ $index < 2 }"),
        "branch",
        "/do/0/each",
        count=1,
    ),
    Mutation(
        "a narrower catch",
        "guarded",
        edit("/do/1/optional/catch/errors/with/status", 404),
        "fault",
        "/do/1/optional/try/0/gone",
        "communication",
    ),
    Mutation("no retry", "guarded", edit("/do/0/careful/catch/retry", None), "branch", "/do/0/careful"),
    # Requests.
    Mutation(
        "a factor in a set",
        "order",
        edit("/do/0/prepare/set/total", "${ .amount * 9 }"),
        "request",
        "/do/3/charge",
        "body",
        3,
    ),
    Mutation(
        "a member of a body",
        "order",
        edit(f"{CHARGE}/body/currency", "EUR"),
        "request",
        "/do/3/charge",
        "body",
        3,
    ),
    Mutation(
        "a removed member of a body",
        "order",
        edit(f"{CHARGE}/body/sku", None),
        "request",
        "/do/3/charge",
        "body",
        3,
    ),
    Mutation(
        "a path",
        "order",
        edit(f"{CHARGE}/endpoint", "https://shop.example/v2/charge"),
        "request",
        "/do/3/charge",
        "URL",
        3,
    ),
    Mutation(
        "a host",
        "order",
        edit("/do/2/review/with/endpoint", "https://other.example/review"),
        "request",
        "/do/2/review",
        "URL",
        1,
    ),
    Mutation("a method", "order", edit(f"{CHARGE}/method", "put"), "request", "/do/3/charge", "method", 3),
    Mutation(
        "a header", "order", edit(f"{CHARGE}/headers/X-Kind", "test"), "request", "/do/3/charge", "headers", 3
    ),
    Mutation(
        "a query parameter", "order", edit(f"{CHARGE}/query/page", "2"), "request", "/do/3/charge", "query", 3
    ),
    Mutation(
        "a body in a loop",
        "lines",
        edit(f"{PRICE}/body/index", "${ $index + 1 }"),
        "request",
        "/do/0/each/do/0/price",
        "body",
        3,
    ),
    Mutation(
        "an input of a child",
        "events",
        edit("/do/2/sub/run/workflow/input/n", 5),
        "request",
        "/do/2/sub",
        "input",
        2,
    ),
    Mutation(
        "a version of a child",
        "events",
        edit("/do/2/sub/run/workflow/version", "2.0.0"),
        "request",
        "/do/2/sub",
        "workflow",
        2,
    ),
    Mutation(
        "data of an event",
        "events",
        edit("/do/0/tell/emit/event/with/data/n", "${ .n + 1 }"),
        "request",
        "/do/0/tell",
        "event",
        2,
    ),
    Mutation(
        "a type of an event",
        "events",
        edit("/do/0/tell/emit/event/with/type", "said"),
        "request",
        "/do/0/tell",
        "event",
        2,
    ),
    Mutation(
        "a shell command",
        "parallel",
        edit("/do/1/count/run/shell/command", "count"),
        "request",
        "/do/1/count",
        "code",
        2,
    ),
    Mutation(
        "an argument",
        "parallel",
        edit("/do/1/count/run/shell/arguments/0", "-s"),
        "request",
        "/do/1/count",
        "arguments",
        2,
    ),
    Mutation(
        "an environment",
        "parallel",
        edit("/do/1/count/run/shell/environment/AMOUNT", "1"),
        "request",
        "/do/1/count",
        "environment",
        2,
    ),
    Mutation(
        "a body in a function",
        "parallel",
        edit("/use/functions/pack/with/body/text", "${ .text | ascii_upcase }"),
        "request",
        "/use/functions/pack",
        "body",
        2,
    ),
    # Calls that are new or gone.
    Mutation(
        "a new call",
        "order",
        insert("/do", 0, {"audit": http("audit", {"sku": "${ .sku }"})}),
        "unrecorded",
        "/do/0/audit",
        count=4,
    ),
    Mutation("a removed call", "order", edit("/do/4", None), "missing", "/do/4/gift", count=1),
    Mutation("calls in another order", "pair", swap("/do", 0, 1), "order", "/do/1/first", count=1),
    Mutation("a removed event", "events", edit("/do/0", None), "missing", "/do/0/tell", count=2),
    # Ends.
    Mutation(
        "a schema of an input",
        "order",
        edit("/do/3/charge/input", {"schema": {"document": {"properties": {"total": {"maximum": 60}}}}}),
        "fault",
        "/do/3/charge",
        "validation",
        1,
    ),
    Mutation(
        "an expression that fails",
        "order",
        edit("/do/5/label/set/text", '${ .id + "x" }'),
        "fault",
        "/do/5/label",
        "expression",
        4,
    ),
    Mutation(
        "a stricter limit",
        "guarded",
        edit("/do/2/limit/if", "${ $workflow.input.n > 2 }"),
        "fault",
        "/do/2/limit",
        "limit",
        1,
    ),
    Mutation(
        "a looser limit",
        "guarded",
        edit("/do/2/limit/if", "${ $workflow.input.n > 9 }"),
        "recovery",
        "/do/2/limit",
        "",
        1,
    ),
    Mutation(
        "another error",
        "guarded",
        edit("/do/2/limit/raise/error/status", 429),
        "fault",
        "/do/2/limit",
        "limit",
        1,
    ),
    Mutation(
        "a text of the output",
        "order",
        edit("/do/5/label/set/text", '${ "no. " + (.id | tostring) }'),
        "output",
        "/do/5/label",
        "",
        4,
    ),
    Mutation(
        "an output of a task",
        "lines",
        edit("/do/2/result/output/as/net", "${ .kept }"),
        "output",
        "/do/2/result",
        "",
        3,
    ),
    Mutation(
        "an export", "parallel", edit("/do/3/last/export/as/packed", "fixed"), "output", "/do/3/last", "", 2
    ),
    Mutation(
        "an output of the workflow",
        "order",
        edit("/output", {"as": {"text": "${ .text }"}}),
        "output",
        "/output",
        "",
        4,
    ),
    Mutation(
        "a fallback",
        "guarded",
        edit("/do/1/optional/catch/do/0/fallback/set/took", "nothing"),
        "output",
        "/do/1/optional/catch/do/0/fallback",
        "",
        3,
    ),
    # Time and events.
    Mutation("a removed wait", "events", edit("/do/1", None), "wait", "/do/1/nap", "", 2),
    Mutation(
        "a wait of no time", "events", edit("/do/1/nap/wait", {"seconds": 0}), "wait", "/do/1/nap", "", 2
    ),
    Mutation(
        "a new wait",
        "order",
        insert("/do", 0, {"rest": {"wait": {"seconds": 5}}}),
        "wait",
        "/do/0/rest",
        "",
        4,
    ),
    Mutation("a shorter wait", "events", edit("/do/1/nap/wait", {"minutes": 4}), "wait", "/do/1/nap", "", 2),
    Mutation(
        "a delay of retries",
        "guarded",
        edit("/do/0/careful/catch/retry/delay/seconds", 9),
        "wait",
        "/do/0/careful",
    ),
    Mutation(
        "a filter of events",
        "events",
        edit("/do/3/hear/listen/to/one/with/type", "refunded"),
        "stuck",
        "/do/3/hear",
        "",
        2,
    ),
]


def resolves(pointer: str, document: Any) -> bool:
    """Tell whether a JSON Pointer names a place of a document, which may be its data flow."""
    for token in pointer.split("/")[1:]:
        try:
            document = document[int(token)] if isinstance(document, list) else document[token]
        except (LookupError, ValueError):
            return False
    return True


async def runs_of(subject: str) -> list[RecordedRun]:
    if subject not in _RUNS:
        case = SUBJECTS[subject]
        _RUNS[subject] = [
            await recorded(case.definition, value, case.answer, case.events) for value in case.inputs
        ]
    return _RUNS[subject]


async def result_of(subject: str, change: Change) -> WorkflowReplay:
    old = SUBJECTS[subject].definition
    new = copy.deepcopy(old)
    change(new)
    assert json.dumps(new) != json.dumps(old)
    return await replayed(old, new, await runs_of(subject))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name)
async def test_a_mutation_is_named_with_its_pointer(mutation: Mutation) -> None:
    result = await result_of(mutation.subject, mutation.change)
    named = [(each.finding.kind, each.finding.pointer, each.finding.detail) for each in result.findings]
    assert (mutation.kind, mutation.pointer, mutation.detail) in named
    assert len(named) <= 3, named
    new = copy.deepcopy(SUBJECTS[mutation.subject].definition)
    mutation.change(new)
    for each in result.findings:
        documents = (new, SUBJECTS[mutation.subject].definition)
        assert any(resolves(each.finding.pointer, document) for document in documents), each
    if mutation.count is not None:
        (found,) = [
            each.count
            for each in result.findings
            if (each.finding.kind, each.finding.pointer) == (mutation.kind, mutation.pointer)
        ]
        assert found == mutation.count


def test_there_are_enough_mutations_of_each_kind() -> None:
    assert len(MUTATIONS) >= 40
    assert {each.kind for each in MUTATIONS} == set(get_args(FindingKind))


def _rename_variable(definition: dict[str, Any]) -> None:
    values = definition["do"][0]["prepare"]["set"]
    values["sum"] = values.pop("total")
    text = json.dumps(definition).replace(".total", ".sum")
    definition.update(json.loads(text))


def _extract(definition: dict[str, Any]) -> None:
    charge = definition["do"][3]["charge"]
    arguments = {"sku": "${ .sku }", "total": "${ .total }"}
    definition["use"] = {"functions": {"bill": {"call": "http", "with": charge["with"]}}}
    definition["do"][3]["charge"] = {"call": "bill", "with": arguments}


def _split(definition: dict[str, Any]) -> None:
    definition["do"][0:1] = [
        {"first": {"set": {"sku": "${ .sku }", "amount": "${ .amount }"}}},
        {"second": {"set": {"sku": "${ .sku }", "amount": "${ .amount }", "total": "${ .amount * 10 }"}}},
    ]


def _wrap(definition: dict[str, Any]) -> None:
    definition["do"][3] = {"pay": {"do": [definition["do"][3]]}}
    edit("/do/1/check/switch/1/normal/then", "pay")(definition)


def _retry_policy(definition: dict[str, Any]) -> None:
    catch = definition["do"][0]["careful"]["catch"]
    definition["use"] = {"retries": {"patient": catch["retry"]}}
    catch["retry"] = "patient"


REFACTORINGS: dict[str, tuple[str, Change]] = {
    "a variable renamed": ("order", _rename_variable),
    "a variable of a loop renamed": (
        "lines",
        several(edit("/do/0/each/for/each", "item"), edit(f"{PRICE}/body/amount", "${ $item.amount }")),
    ),
    "keys of a set in another order": (
        "order",
        edit(
            "/do/0/prepare/set",
            {"total": "${ .amount * 10 }", "sku": "${ .sku }", "amount": "${ .amount }"},
        ),
    ),
    "a function extracted": ("order", _extract),
    "a set split": ("order", _split),
    "an expression written in another way": (
        "order",
        several(
            edit("/do/0/prepare/set/total", "${ [range(10)] as $all | 10 * .amount }"),
            edit("/do/1/check/switch/0/large/when", "${ (.total <= 100) | not }"),
            edit("/do/5/label/set/text", '${ "order \\(.id)" }'),
        ),
    ),
    "comments and descriptions": (
        "order",
        several(
            edit("/document/summary", "Charges an order"), edit("/do/3/charge/metadata", {"note": "pays"})
        ),
    ),
    "a call renamed": (
        "order",
        several(
            lambda definition: definition["do"][3].update(bill=definition["do"][3].pop("charge")),
            edit("/do/1/check/switch/1/normal/then", "bill"),
        ),
    ),
    "a task wrapped": ("order", _wrap),
    "a task that changes nothing": ("order", insert("/do", 1, {"same": {"set": "${ . }"}})),
    "explicit defaults": (
        "order",
        several(edit("/do/0/prepare/then", "continue"), edit("/do/4/gift/then", "continue")),
    ),
    "cases in an order that does not matter": ("order", swap("/do/1/check/switch", 0, 1)),
    "a duration in another form": ("events", edit("/do/1/nap/wait", "PT300S")),
    "a caller of a function renamed": (
        "parallel",
        lambda definition: definition["do"][2].update(pack=definition["do"][2].pop("call-it")),
    ),
    "a wait with another name": (
        "events",
        lambda definition: definition["do"][1].update(rest=definition["do"][1].pop("nap")),
    ),
    "a policy with a name": ("guarded", _retry_policy),
}


@pytest.mark.parametrize("name", REFACTORINGS)
async def test_a_refactoring_causes_no_alarm(name: str) -> None:
    subject, change = REFACTORINGS[name]
    result = await result_of(subject, change)
    assert result.findings == ()
    assert result.replayed == result.unchanged == len(SUBJECTS[subject].inputs)
