"""Workflows whose runs are recorded, with inputs and answers: the subjects of the mutations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iogate.engine.commands import CallHttp, Perform
from iogate.errors import WorkflowError
from tests.testing.behaviour.recorded import Answer, Event
from tests.worker.site import workflow


@dataclass(frozen=True, kw_only=True)
class Subject:
    definition: dict[str, Any]
    inputs: Sequence[Any]
    answer: Answer
    events: Sequence[Event] = ()


def http(path: str, body: Any = None, **options: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {"method": "post", "endpoint": f"https://shop.example/{path}", **options}
    return {"call": "http", "with": arguments | ({} if body is None else {"body": body})}


def _answer(perform: Perform) -> Any:
    effect = perform.effect
    if isinstance(effect, CallHttp):
        body = effect.body if isinstance(effect.body, Mapping) else {}
        match effect.url.rpartition("/")[2]:
            case "price":
                return (0.2, {"net": body.get("amount", 1) * 3, "currency": "EUR"})
            case "stock":
                return {"free": 5}
            case "flaky" if body.get("n", 0) % 2 or perform.idempotency_key.endswith("/1/0"):
                return {"took": "flaky"}
            case "flaky":
                return WorkflowError("communication", status=503, title="Busy")
            case "gone":
                return WorkflowError("communication", status=410, title="Gone")
            case _:
                return {"id": 7, "state": "done"}
    return "12 pieces\n"


ORDER = Subject(
    definition=workflow(
        "order",
        {"prepare": {"set": {"sku": "${ .sku }", "amount": "${ .amount }", "total": "${ .amount * 10 }"}}},
        {
            "check": {
                "switch": [
                    {"large": {"when": "${ .total > 100 }", "then": "review"}},
                    {"normal": {"then": "charge"}},
                ]
            }
        },
        {"review": {**http("review", {"total": "${ .total }"}), "then": "label"}},
        {
            "charge": http(
                "charge",
                {"sku": "${ .sku }", "total": "${ .total }"},
                headers={"X-Kind": "order"},
                query={"page": "1"},
            )
        },
        {"gift": {"if": "${ $workflow.input.gift == true }", **http("gift", {"id": "${ .id }"})}},
        {"label": {"set": {"id": "${ .id }", "text": '${ "order " + (.id | tostring) }'}}},
    ),
    inputs=[
        {"sku": "a", "amount": 1, "gift": False},
        {"sku": "b", "amount": 5, "gift": True},
        {"sku": "c", "amount": 10, "gift": False},
        {"sku": "d", "amount": 30, "gift": True},
    ],
    answer=_answer,
)

LINES = Subject(
    definition=workflow(
        "lines",
        {
            "each": {
                "for": {"each": "line", "in": "${ .lines }", "at": "index"},
                "do": [
                    {"price": http("price", {"amount": "${ $line.amount }", "index": "${ $index }"})},
                    {"sum": {"set": {"lines": "${ $workflow.input.lines }", "net": "${ .net }"}}},
                ],
            }
        },
        {"store": http("store", {"net": "${ .net }"}, method="put")},
        {"result": {"set": {"net": "${ .id }", "kept": True}, "output": {"as": {"net": "${ .net }"}}}},
    ),
    inputs=[
        {"lines": [{"amount": 1}, {"amount": 2}]},
        {"lines": [{"amount": 4}]},
        {"lines": [{"amount": 1}, {"amount": 1}, {"amount": 8}]},
    ],
    answer=_answer,
)

GUARDED = Subject(
    definition=workflow(
        "guarded",
        {
            "careful": {
                "try": [{"flaky": http("flaky", {"n": "${ .n }"})}],
                "catch": {
                    "errors": {"with": {"status": 503}},
                    "retry": {"delay": {"seconds": 3}, "limit": {"attempt": {"count": 2}}},
                },
            }
        },
        {
            "optional": {
                "try": [{"gone": http("gone", {"n": 1})}],
                "catch": {
                    "errors": {"with": {"status": 410}},
                    "do": [{"fallback": {"set": {"n": 0, "took": "fallback"}}}],
                },
            }
        },
        {
            "limit": {
                "if": "${ $workflow.input.n > 5 }",
                "raise": {"error": {"type": "https://e.example/limit", "status": 422, "title": "Too many"}},
            }
        },
        {"finish": {"set": {"took": "${ .took }", "n": "${ $workflow.input.n }"}}},
    ),
    inputs=[{"n": 1}, {"n": 2}, {"n": 3}, {"n": 8}],
    answer=_answer,
)

EVENTS = Subject(
    definition=workflow(
        "events",
        {
            "tell": {
                "emit": {"event": {"with": {"source": "/shop", "type": "told", "data": {"n": "${ .n }"}}}}
            }
        },
        {"nap": {"wait": {"minutes": 5}}},
        {
            "sub": {
                "run": {
                    "workflow": {
                        "namespace": "test",
                        "name": "child",
                        "version": "1.0.0",
                        "input": {"n": "${ .n }"},
                    }
                },
                "output": {"as": {"said": "${ .said }"}},
            }
        },
        {"hear": {"listen": {"to": {"one": {"with": {"type": "paid"}}}}, "output": {"as": "${ .[0] }"}}},
        {"thank": http("thank", {"sum": "${ .sum }"})},
        {"end": {"set": {"paid": True}}},
    ),
    inputs=[{"n": 1}, {"n": 2}],
    answer=_answer,
    events=[{"type": "paid", "source": "/bank", "data": {"sum": 30}}],
)

PARALLEL = Subject(
    definition=workflow(
        "parallel",
        {
            "both": {
                "fork": {
                    "branches": [
                        {"left": http("price", {"amount": "${ .amount }"})},
                        {"right": http("stock", {"sku": "${ .sku }"})},
                    ]
                }
            }
        },
        {
            "count": {
                "run": {
                    "shell": {
                        "command": "count --all",
                        "arguments": ["--sku", "${ $workflow.input.sku }"],
                        "environment": {"AMOUNT": "${ .[0].net | tostring }"},
                    }
                }
            }
        },
        {"call-it": {"call": "pack", "with": {"text": "${ . }"}}},
        {"last": {"set": {"packed": "${ . }"}, "export": {"as": {"packed": "${ .packed }"}}}},
        {"outcome": {"set": {"result": "${ $context.packed }"}}},
    )
    | {"use": {"functions": {"pack": http("pack", {"text": "${ .text }"})}}},
    inputs=[{"sku": "a", "amount": 1}, {"sku": "b", "amount": 2}],
    answer=_answer,
)

PAIR = Subject(
    definition=workflow(
        "pair",
        {"first": http("one", {"n": "${ $workflow.input.n }"})},
        {"second": http("two", {"n": "${ $workflow.input.n }"})},
        {"outcome": {"set": {"ok": True}}},
    ),
    inputs=[{"n": 1}],
    answer=_answer,
)

SUBJECTS = {
    "pair": PAIR,
    "order": ORDER,
    "lines": LINES,
    "guarded": GUARDED,
    "events": EVENTS,
    "parallel": PARALLEL,
}
