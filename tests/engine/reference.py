"""Reference interpreter of the pure tasks of the standard: recursive, without frames or time.

What the engine is held against. Written from `dsl.md` and `dsl-reference.md` alone; errors are their status.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import jq

Tasks = Sequence[Mapping[str, Mapping[str, Any]]]
Names = Mapping[str, Any]
"""Variables that loops and handlers around bind."""

COMPOSITE = ("do", "fork")


class Raised(Exception):
    """An error that propagates; its argument is the status."""


class Ended(Exception):
    """A directive `end`; its argument is the workflow's output."""


@lru_cache(maxsize=10_000)
def compiled(text: str, known: str) -> Any:
    return jq.compile(text, args=json.loads(known))


def evaluate(text: str, value: Any, known: Mapping[str, Any]) -> Any:
    named = {name: member for name, member in known.items() if f"${name}" in text}
    results = compiled(text, json.dumps(named)).input_value(value).all()
    return results[0] if len(results) == 1 else results or None


def holds(text: str, value: Any, known: Mapping[str, Any]) -> bool:
    return evaluate(text, value, known) not in (None, False)


def kind_of(task: Mapping[str, Any]) -> str:
    kinds = ("for", "try", "do", "fork", "raise", "set", "switch", "wait")
    return next(kind for kind in kinds if kind in task)


class Reference:
    """One run of a workflow."""

    def __init__(self, extensions: Sequence[Mapping[str, Any]] = ()) -> None:
        self.extensions = [extension for entry in extensions for extension in entry.values()]
        self.context: Any = {}

    def run(self, tasks: Tasks, value: Any) -> tuple[str, Any]:
        """Return how the workflow ends, and its output or the status of its error."""
        try:
            return "completed", self.tasks(tasks, value, {})[0]
        except Ended as ended:
            return "completed", ended.args[0]
        except Raised as raised:
            return "faulted", raised.args[0]

    def tasks(self, tasks: Tasks, value: Any, around: Names, *, plain: bool = False) -> tuple[Any, bool]:
        """Return the output of a list, and whether `exit` left it; `plain`: nothing in it is extended."""
        names = [next(iter(each)) for each in tasks]
        at = 0
        while at < len(tasks):
            value, then = self.task(tasks[at][names[at]], value, around, plain=plain)
            match then:
                case "exit":
                    return value, True
                case "end":
                    raise Ended(value)
                case "continue":
                    at += 1
                case name:
                    at = names.index(name)
        return value, False

    def task(self, task: Mapping[str, Any], raw: Any, around: Names, *, plain: bool) -> tuple[Any, str]:
        """Return the output of a task, and its directive."""
        known = {**around, "context": self.context}
        if "if" in task and not holds(task["if"], raw, known):
            return raw, "continue"
        applied = [] if plain else [each for each in self.extensions if self.applies(each, task, raw, known)]
        for extension in applied:
            out, exited = self.tasks(extension.get("before", ()), raw, {}, plain=True)
            if exited:
                then = task.get("then", "continue")
                break
        else:
            out, then = self.body(task, self.input(task, raw, around), around, plain=plain)
        out = self.output(task, out, self.input(task, raw, around), around)
        for extension in reversed(applied):
            self.tasks(extension.get("after", ()), out, {}, plain=True)
        return out, then

    def applies(self, extension: Mapping[str, Any], task: Mapping[str, Any], raw: Any, known: Names) -> bool:
        kind, extend = kind_of(task), extension["extend"]
        if extend not in ("all", kind) and not (extend == "composite" and kind in COMPOSITE):
            return False
        return "when" not in extension or holds(extension["when"], raw, {"context": known["context"]})

    def input(self, task: Mapping[str, Any], raw: Any, around: Names) -> Any:
        if "input" not in task:
            return raw
        return evaluate(task["input"]["from"], raw, {**around, "context": self.context})

    def output(self, task: Mapping[str, Any], out: Any, value: Any, around: Names) -> Any:
        known = {**around, "context": self.context, "input": value}
        if "output" in task:
            out = evaluate(task["output"]["as"], out, known)
        if "export" in task:
            self.context = evaluate(task["export"]["as"], out, {**known, "output": out})
        return out

    def body(self, task: Mapping[str, Any], value: Any, around: Names, *, plain: bool) -> tuple[Any, str]:
        then = task.get("then", "continue")
        known = {**around, "context": self.context, "input": value}
        match kind_of(task):
            case "set":
                return evaluate(task["set"], value, known), then
            case "raise":
                raise Raised(task["raise"]["error"]["status"])
            case "switch":
                return value, self.switch(task["switch"], value, known, then)
            case "for":
                return self.loop(task, value, around, plain=plain), then
            case "try":
                return self.attempt(task, value, around, then, plain=plain)
            case "fork":
                return self.fork(task["fork"], value, around, plain=plain), then
            case "do":
                return self.tasks(task["do"], value, around, plain=plain)[0], then
            case _:  # wait
                return value, then

    def switch(self, cases: Any, value: Any, known: Names, then: str) -> str:
        named = [case for entry in cases for case in entry.values()]
        for case in named:
            if "when" in case and holds(case["when"], value, known):
                return str(case["then"])
        return next((str(case["then"]) for case in named if "when" not in case), then)

    def loop(self, task: Mapping[str, Any], value: Any, around: Names, *, plain: bool) -> Any:
        out = value
        items = evaluate(task["for"]["in"], value, {**around, "context": self.context, "input": value})
        each, index = task["for"].get("each", "item"), task["for"].get("at", "index")
        for at, item in enumerate(items):
            inside = {**around, each: item, index: at}
            seen = {**inside, "context": self.context, "input": value}
            if "while" in task and not holds(task["while"], out, seen):
                break
            out, _ = self.tasks(task["do"], out, inside, plain=plain)
        return out

    def attempt(
        self, task: Mapping[str, Any], value: Any, around: Names, then: str, *, plain: bool
    ) -> tuple[Any, str]:
        catch = task["catch"]
        retry = catch.get("retry")
        retries = retry["limit"]["attempt"]["count"] if retry else 0
        while True:
            try:
                return self.tasks(task["try"], value, around, plain=plain)[0], then
            except Raised as raised:
                status = raised.args[0]
                if catch.get("errors", {"with": {"status": status}})["with"]["status"] != status:
                    raise
                if "when" in catch and not holds(catch["when"], {"status": status}, {}):
                    raise
                if retries > 0:
                    retries -= 1
                    continue
                if retry and "do" not in catch and "then" not in catch:
                    raise
                inside = {**around, catch.get("as", "error"): {"status": status}}
                handled = self.tasks(catch["do"], value, inside, plain=plain)[0] if "do" in catch else value
                return handled, catch.get("then", then)

    def fork(self, fork: Mapping[str, Any], value: Any, around: Names, *, plain: bool) -> Any:
        """Give all branches the same input and their own `$context`; competing ones may fail."""
        before = merged = self.context
        outputs, lost = [], []
        for branch in fork["branches"]:
            self.context = before
            (only,) = branch.values()
            try:
                outputs.append(self.task(only, value, around, plain=plain)[0])
            except Raised as raised:
                self.context = before
                if not fork.get("compete"):
                    raise
                lost.append(raised)
                continue
            if self.context != before:
                merged = {**merged, **self.context}
            if fork.get("compete"):
                break
        if fork.get("compete") and not outputs:
            raise lost[-1]
        self.context = merged
        return outputs[0] if fork.get("compete") else outputs
