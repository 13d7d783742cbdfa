"""Recorded input and output of the tasks of a run, from its journal.

Used by `runs show`, its route and its page. Pure. Invariant: the journal has redacted data only, of at most
2 KiB a side, so everything here may be shown to every operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from iogate.errors import NotFound
from iogate.messages import did_you_mean

SIDES: Final = ("input", "output", "error")


def is_recorded(entry: Mapping[str, Any]) -> bool:
    """Tell whether a journal entry of a run shows recorded input and output of a task."""
    return bool(entry["kind"] == "task.recorded")


def records(journal: Iterable[Mapping[str, Any]], reference: str | None = None) -> list[dict[str, Any]]:
    """Return the recorded executions of the tasks of a run, or of one task, in their order.

    `reference` is that of a task, or of one of its iterations. A side that was cut is text, the beginning of
    its JSON, and `truncated` has its size in bytes.
    """
    return [
        {**entry.get("detail", {}), **{name: value for name, value in entry.items() if name != "detail"}}
        for entry in journal
        if is_recorded(entry)
        and reference in (None, entry["reference"], entry.get("detail", {}).get("iteration"))
    ]


def add_records(tasks: Sequence[dict[str, Any]], journal: Sequence[Mapping[str, Any]]) -> None:
    """Add to each displayed task what was recorded of its last execution, or of the last that failed.

    The members are null if nothing was recorded. `recorded` is the number of recorded executions.
    """
    by_task: dict[str, list[dict[str, Any]]] = {}
    for record in records(journal):
        by_task.setdefault(record["reference"], []).append(record)
    for task in tasks:
        found = by_task.get(task["reference"], [])
        failed = [each for each in found if "error" in each] if task["status"] == "faulted" else []
        last = (failed or found or [{}])[-1]
        task |= {name: last.get(name) for name in (*SIDES, "truncated", "iteration")}
        task |= {"recorded": len(found), "recordedAt": last.get("at")}


def records_of_task(
    tasks: Sequence[Mapping[str, Any]], journal: Sequence[Mapping[str, Any]], name: str
) -> list[dict[str, Any]]:
    """Return the recorded executions of a task, by its reference, that of an iteration, or its name.

    Raises NotFound if the run has no such task, or several of this name.
    """
    references = [str(task["reference"]) for task in tasks]
    named = [str(task["reference"]) for task in tasks if task["name"] == name]
    if name not in references and len(named) > 1:
        raise NotFound(
            f'several tasks are named "{name}": {", ".join(named)}', hint="give the reference of one"
        )
    found = records(journal, name if name in references or not named else named[0])
    if not found and not named and name not in references:
        raise NotFound(f'the run has no task "{name}"{did_you_mean(name, [*references, *_names(tasks)])}')
    return found


def _names(tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(task["name"]) for task in tasks]
