"""A workflow with every kind of task, and the child that it runs; what it calls counts."""

from __future__ import annotations

from typing import Any

from tests.faults.counting import CountingServer
from tests.worker.site import workflow

FUNCTION = '''\
"""A function of the project."""

import iogate


@iogate.function("greet", version="1.0.0")
def greet(name: str) -> dict[str, str]:
    return {"greeting": f"Hello, {name}"}
'''

EMITTED = {"test.said", "test.answer"}
"""Types of the events that one run, with its child, emits."""


def _post(server: CountingServer, path: str, **body: Any) -> dict[str, Any]:
    body = {"uid": "${ $workflow.input.top // $workflow.id }", **body}
    return {"call": "http", "with": {"method": "post", "endpoint": f"{server.url}{path}", "body": body}}


def _kept(task: dict[str, Any], name: str, what: str = ".") -> dict[str, Any]:
    """The task, with its output in the context."""
    return {**task, "export": {"as": f"${{ $context + {{{name}: ({what})}} }}"}}


def _emit(kind: str) -> dict[str, Any]:
    data = {"uid": "${ $workflow.input.top // $workflow.id }"}
    return {"emit": {"event": {"with": {"source": "/tests", "type": kind, "data": data}}}}


def definitions(server: CountingServer) -> tuple[dict[str, Any], dict[str, Any]]:
    """The workflow `every` and its child `answers`."""
    mine = {"correlate": {"run": {"from": "${ .data.uid }", "expect": "${ $workflow.id }"}}}
    hears = {"listen": {"to": {"one": {"with": {"type": "test.answer"}, **mine}}}}
    child = {
        "namespace": "test",
        "name": "answers",
        "version": "1.0.0",
        "input": {"top": "${ $workflow.id }"},
    }
    flaky = {
        "try": [{"calls": _post(server, "/flaky")}],
        "catch": {
            "errors": {"with": {"status": 503}},
            "retry": {"delay": {"milliseconds": 20}, "limit": {"attempt": {"count": 3}}},
        },
    }
    raises = {
        "try": [
            {"raises": {"raise": {"error": {"type": "https://test/wrong", "status": 418, "title": "No"}}}}
        ],
        "catch": {"as": "wrong", "do": [{"mends": {"set": {"caught": "${ $wrong.status }"}}}]},
    }
    loop = {
        "for": {"each": "n", "in": "${ [1, 2] }"},
        "do": [{"calls": _post(server, "/turn", n="${ $n }")}],
    }
    fork = {
        "fork": {
            "branches": [
                {"hears": _kept(hears, "heard", "[.[].uid] == [$workflow.id]")},
                {"asks": _kept({"run": {"workflow": child}}, "child")},
            ]
        }
    }
    script = {"run": {"script": {"language": "python", "code": "print('from a script')"}}}
    every = workflow(
        "every",
        {"begins": {"set": {"n": 1}}},
        {
            "chooses": {
                "switch": [{"known": {"when": "${ .n == 1 }", "then": "turns"}}, {"other": {"then": "end"}}]
            }
        },
        {"skipped": {"raise": {"error": {"type": "https://test/never", "status": 500, "title": "Never"}}}},
        {"turns": loop},
        {"both": fork},
        {"inside": {"do": [{"flaky": flaky}, {"raises": _kept(raises, "raised")}]}},
        {"pauses": {"wait": {"milliseconds": 20}}},
        {"says": _emit("test.said")},
        {"shell": _kept({"run": {"shell": {"command": "echo from a shell"}}}, "shell")},
        {"script": _kept(script, "script")},
        {"greets": _kept({"call": "greet:1.0.0@default", "with": {"name": "Ada"}}, "greets")},
        {"last": _post(server, "/last")},
        {"done": {"set": "${ $context }"}},
    )
    answers = workflow("answers", {"calls": _post(server, "/child")}, {"answers": _emit("test.answer")})
    answers["do"].append({"done": {"set": {"answered": True}}})
    return every, answers
