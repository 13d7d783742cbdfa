"""Tasks of a workflow as a tree of steps and branches, from its definition.

Used by the page of a workflow. Pure. Invariants: each step has the reference that journals use for it; the
number of steps is bounded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from iogate.documents.task_kinds import kind_of

if TYPE_CHECKING:
    from iogate.operators.runs.task_statistics import TaskStatistics

Json = Mapping[str, Any]

MOST: Final = 500
_TEXT: Final = 160


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Tasks in a task, one after the other."""

    label: str
    tasks: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A task."""

    name: str
    kind: str
    reference: str
    text: str
    branches: tuple[Branch, ...] = ()
    faults: int = 0
    """Number of faults at it; a retried run can have several."""
    statistics: TaskStatistics | None = None
    """Counts and times in the last runs; None if none of them executed it."""


def build(
    definition: Json, faults: Mapping[str, int], statistics: Mapping[str, TaskStatistics] | None = None
) -> tuple[tuple[Step, ...], bool]:
    """Return the tasks of a definition as a tree of steps, and whether some were left out.

    `faults` are counts by reference, `statistics` those of the last runs.
    """
    builder = _Builder(faults, statistics or {})
    steps = builder.steps(definition.get("do"), "/do")
    return steps, builder.left <= 0


class _Builder:
    def __init__(self, faults: Mapping[str, int], statistics: Mapping[str, TaskStatistics]) -> None:
        self._faults, self._statistics = faults, statistics
        self.left = MOST

    def steps(self, tasks: Any, pointer: str) -> tuple[Step, ...]:
        return tuple(self._steps(tasks, pointer))

    def _steps(self, tasks: Any, pointer: str) -> Iterator[Step]:
        for number, item in enumerate(tasks if isinstance(tasks, list) else ()):
            if not isinstance(item, dict) or self.left <= 0:
                return
            for name, task in item.items():
                self.left -= 1
                yield self._step(
                    str(name), task if isinstance(task, dict) else {}, f"{pointer}/{number}/{name}"
                )

    def _step(self, name: str, task: Json, reference: str) -> Step:
        kind = kind_of(task) or "task"
        return Step(
            name=name,
            kind=kind,
            reference=reference,
            text=_text(kind, task),
            branches=tuple(self._branches(kind, task, reference)),
            faults=self._faults.get(reference, 0),
            statistics=self._statistics.get(reference),
        )

    def _branches(self, kind: str, task: Json, reference: str) -> Iterator[Branch]:
        match kind:
            case "do":
                yield Branch(label="", tasks=self.steps(task["do"], f"{reference}/do"))
            case "for":
                yield Branch(label="for each", tasks=self.steps(task.get("do"), f"{reference}/for/do"))
            case "try":
                yield Branch(label="try", tasks=self.steps(task["try"], f"{reference}/try"))
                caught = task.get("catch")
                if isinstance(caught, dict) and caught.get("do"):
                    yield Branch(label="catch", tasks=self.steps(caught["do"], f"{reference}/catch/do"))
            case "fork":
                branches = task["fork"].get("branches") if isinstance(task["fork"], dict) else None
                for number, each in enumerate(branches if isinstance(branches, list) else ()):
                    found = tuple(self._steps_at(each, f"{reference}/fork/branches/{number}"))
                    yield Branch(label=f"branch {number + 1}", tasks=found)
            case "listen":
                repeated = task.get("foreach")
                if isinstance(repeated, dict) and repeated.get("do"):
                    yield Branch(
                        label="for each event", tasks=self.steps(repeated["do"], f"{reference}/foreach/do")
                    )

    def _steps_at(self, item: Any, pointer: str) -> Iterator[Step]:
        if isinstance(item, dict) and self.left > 0:
            for name, task in item.items():
                self.left -= 1
                yield self._step(str(name), task if isinstance(task, dict) else {}, f"{pointer}/{name}")


def _text(kind: str, task: Json) -> str:
    """Return the description of a task of the flow on one line."""
    value = task.get(kind)
    match kind, value:
        case "call", str():
            given = task.get("with")
            given = given if isinstance(given, dict) else {}
            endpoint = given.get("endpoint")
            address = endpoint.get("uri") if isinstance(endpoint, dict) else endpoint
            parts = [value, str(given.get("method", "")).upper(), address]
            found = " ".join(str(each) for each in parts if each)
        case "run", dict():
            found = _run_text(value)
        case "set", dict():
            found = ", ".join(map(str, value))
        case "for", dict():
            found = f"{value.get('each', 'item')} in {value.get('in', '')}"
        case "switch", list():
            found = "; ".join(_cases(value))
        case "wait", dict():
            found = " ".join(f"{number} {unit}" for unit, number in value.items())
        case "emit" | "listen" | "raise" | "wait", _:
            found = _brief(value)
        case _:
            found = ""
    if task.get("if"):
        found = f"if {task['if']}  {found}"
    return found if len(found) <= _TEXT else f"{found[:_TEXT]}…"


def _run_text(value: Json) -> str:
    for kind in ("workflow", "shell", "script", "container"):
        given = value.get(kind)
        if isinstance(given, dict):
            if kind == "workflow":
                return f"workflow {given.get('namespace')}/{given.get('name')}:{given.get('version')}"
            return f"{kind} {given.get('command') or given.get('image') or given.get('language') or ''}"
    return ""


def _cases(cases: Sequence[Any]) -> Iterator[str]:
    for each in cases:
        if isinstance(each, dict):
            for name, case in each.items():
                then = case.get("then", "continue") if isinstance(case, dict) else "continue"
                yield f"{name} → {then}"


def _brief(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
