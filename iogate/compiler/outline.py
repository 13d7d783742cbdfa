"""The tasks of a workflow, each with where it stands in its file and how the engine refers to it.

Called by the checks. Works on the plain data of a definition whose shape has been validated.

Two addresses differ: `pointer` leads to the task in the file, `reference` is the engine's (the tasks
of a loop stand in the file under `do`, and run under `for/do`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Pointer = tuple[str | int, ...]

KINDS = ("for", "try", "call", "do", "emit", "fork", "listen", "raise", "run", "set", "switch", "wait")
"""Keywords that make a task; `for` and `try` come first, since theirs have a `do` or `catch` beside them."""

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskList:
    """List of tasks, such as a `do`: the scope of names and of `then`."""

    pointer: Pointer
    reference: Pointer
    tasks: tuple[Task, ...]
    sequential: bool = True
    """False of the branches of a fork: none follows another."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(task.name for task in self.tasks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    name: str
    """Empty for a function of `use.functions`."""
    pointer: Pointer
    reference: Pointer
    data: Mapping[str, Any]
    variables: frozenset[str]
    """Names that the loops and handlers around it give; those of the standard come on top, by stage."""
    lists: tuple[TaskList, ...]
    """The lists inside it."""

    @property
    def kind(self) -> str:
        return kind_of(self.data)

    def reference_text(self) -> str:
        """The reference as a JSON Pointer: `/do/2/charge`."""
        return "".join(f"/{escape(str(step))}" for step in self.reference)


def kind_of(task: Mapping[str, Any]) -> str:
    """The keyword that makes the task; empty where there is none."""
    return next((kind for kind in KINDS if kind in task), "")


def escape(name: str) -> str:
    """A name as a reference token of a JSON Pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def at(definition: Mapping[str, Any], pointer: Pointer) -> Any:
    """Return the value at a pointer that is known to exist."""
    value: Any = definition
    for step in pointer:
        value = value[step]
    return value


def lists(definition: Mapping[str, Any]) -> Iterator[TaskList]:
    """Every task list of the definition, outer ones first; reusable functions as lists of one.

    All checks ask for those of one definition, one after the other: the last outline is kept. Nothing
    changes a definition in place.
    """
    if _last and _last[0][0] is definition:
        yield from _last[0][1]
        return
    found = tuple(each for root in _roots(definition) for each in _below(root))
    _last[:] = [(definition, found)]
    yield from found


_last: list[tuple[Mapping[str, Any], tuple[TaskList, ...]]] = []


def tasks(definition: Mapping[str, Any]) -> Iterator[Task]:
    """Every task of the definition, in the order of the file."""
    for found in lists(definition):
        yield from found.tasks


def _below(found: TaskList) -> Iterator[TaskList]:
    yield found
    for task in found.tasks:
        for inner in task.lists:
            yield from _below(inner)


def _roots(definition: Mapping[str, Any]) -> Iterator[TaskList]:
    yield _list(definition.get("do") or [], ("do",), ("do",), _NONE)
    use = definition.get("use") or {}
    for name, data in (use.get("functions") or {}).items():
        pointer: Pointer = ("use", "functions", name)
        yield TaskList(
            pointer=pointer[:2],
            reference=pointer[:2],
            tasks=(_task("", data, pointer, pointer, _NONE),),
            sequential=False,
        )
    for index, item in enumerate(use.get("extensions") or []):
        for name, extension in item.items():
            for moment in ("before", "after"):
                pointer = ("use", "extensions", index, name, moment)
                if moment in extension:
                    yield _list(extension[moment] or [], pointer, pointer, _NONE)


def _list(
    items: list[Mapping[str, Any]],
    pointer: Pointer,
    reference: Pointer,
    variables: frozenset[str],
    *,
    sequential: bool = True,
) -> TaskList:
    return TaskList(
        pointer=pointer,
        reference=reference,
        tasks=tuple(
            _task(name, data, (*pointer, index, name), (*reference, index, name), variables)
            for index, item in enumerate(items)
            for name, data in item.items()
        ),
        sequential=sequential,
    )


def _task(
    name: str, data: Mapping[str, Any], pointer: Pointer, reference: Pointer, variables: frozenset[str]
) -> Task:
    return Task(
        name=name,
        pointer=pointer,
        reference=reference,
        data=data,
        variables=variables,
        lists=tuple(_lists_of(data, pointer, reference, variables)),
    )


def _lists_of(
    data: Mapping[str, Any], pointer: Pointer, reference: Pointer, variables: frozenset[str]
) -> Iterator[TaskList]:
    if "for" in data:
        yield _list(
            data.get("do") or [],
            (*pointer, "do"),
            (*reference, "for", "do"),
            variables | loop_variables(data),
        )
    elif "do" in data:
        yield _list(data["do"] or [], (*pointer, "do"), (*reference, "do"), variables)
    elif "fork" in data:
        yield _list(
            data["fork"].get("branches") or [],
            (*pointer, "fork", "branches"),
            (*reference, "fork", "branches"),
            variables,
            sequential=False,
        )
    elif "try" in data:
        yield _list(data["try"] or [], (*pointer, "try"), (*reference, "try"), variables)
        catch = data.get("catch") or {}
        if "do" in catch:
            inner = (*pointer, "catch", "do")
            yield _list(catch["do"] or [], inner, (*reference, "catch", "do"), variables | {caught(data)})
    elif "foreach" in data or (data.get("call") == "asyncapi" and _subscription(data).get("foreach")):
        where: Pointer = ("foreach",) if "foreach" in data else ("with", "subscription", "foreach")
        each = data["foreach"] if "foreach" in data else _subscription(data)["foreach"]
        if each and each.get("do"):
            yield _list(
                each["do"],
                (*pointer, *where, "do"),
                (*reference, "foreach", "do"),
                variables | item_variables(each),
            )


def loop_variables(data: Mapping[str, Any]) -> frozenset[str]:
    """Names that a `for` task gives to its item and index."""
    loop = data["for"]
    return frozenset({loop.get("each") or "item", loop.get("at") or "index"})


def child_of(task: Task) -> str | None:
    """The workflow that the task runs, `namespace/name[:version]`; None where it runs none."""
    if task.kind != "run" or "workflow" not in task.data["run"]:
        return None
    child = task.data["run"]["workflow"]
    name, version = f"{child['namespace']}/{child['name']}", child["version"]
    return name if version == "latest" else f"{name}:{version}"


def item_variables(each: Mapping[str, Any]) -> frozenset[str]:
    """Names that a `foreach` gives to its item and index."""
    return frozenset({each.get("item") or "item", each.get("at") or "index"})


def caught(data: Mapping[str, Any]) -> str:
    """Name that a `try` task gives to the error."""
    return (data.get("catch") or {}).get("as") or "error"


def _subscription(data: Mapping[str, Any]) -> Mapping[str, Any]:
    subscription = (data.get("with") or {}).get("subscription")
    return subscription if isinstance(subscription, Mapping) else {}
