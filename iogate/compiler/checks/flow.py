"""Where tasks lead: each `then` on, out, to the end or to a task of the same list; one default a switch."""

from __future__ import annotations

from collections.abc import Iterator

from iogate.compiler import outline
from iogate.compiler.faults import Placed, Surroundings, did_you_mean, fault
from iogate.compiler.outline import Pointer
from iogate.documents.problems import Problem, listed, nearest, quoted

DIRECTIVES = ("continue", "exit", "end")


def check(document: Placed, surroundings: Surroundings) -> Iterator[Problem]:
    del surroundings
    for found in outline.lists(document.data):
        reachable = found.names if found.sequential else ()
        known = {*DIRECTIVES, *reachable}
        for task in found.tasks:
            for pointer, target in _targets(task):
                if target not in known:
                    yield _lost(document, pointer, target, reachable)
            yield from _defaults(document, task)


def _targets(task: outline.Task) -> Iterator[tuple[Pointer, str]]:
    if "then" in task.data:
        yield (*task.pointer, "then"), task.data["then"]
    if "switch" in task.data:
        for index, item in enumerate(task.data["switch"]):
            for name, case in item.items():
                if "then" in case:
                    yield (*task.pointer, "switch", index, name, "then"), case["then"]
    if "try" in task.data and "then" in (task.data.get("catch") or {}):
        yield (*task.pointer, "catch", "then"), task.data["catch"]["then"]


def _defaults(document: Placed, task: outline.Task) -> Iterator[Problem]:
    cases = [
        (index, name, case)
        for index, item in enumerate(task.data.get("switch") or ())
        for name, case in item.items()
    ]
    defaults = [(index, name) for index, name, case in cases if "when" not in case]
    for index, name in defaults[1:]:
        yield fault(
            document,
            (*task.pointer, "switch", index, name),
            "IOG323",
            f"a switch has one default, and {quoted(defaults[0][1])} is that already",
            hint='give this case a "when"',
        )


def _lost(document: Placed, pointer: Pointer, target: str, reachable: tuple[str, ...]) -> Problem:
    if reachable:
        where = f"no task of this list; its tasks are {listed(dict.fromkeys(reachable))}"
    else:
        where = "not possible here, where no list goes on"
    return fault(
        document,
        pointer,
        "IOG311",
        f'"then: {target}" is {where}; else write continue, exit or end'
        if target.isprintable()
        else f'"then" names {quoted(target)}, which is {where}',
        hint=did_you_mean(nearest(target, (*reachable, *DIRECTIVES))),
    )
