"""Meanings of the changes of one workflow, task by task, and of its schedule.

Called by plan. Pure. Invariants: a change has a meaning with the JSON Pointer of its place in the new
document; parts that no run sees, and spellings that compile to the same program, are no change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any, Final

from iogate import json_values
from iogate.compiler import program
from iogate.compiler.schedules import Schedule, moment_text
from iogate.compiler.variables import KEY as RESOLVED
from iogate.compiler.variables import MEMBER, embedded
from iogate.expressions.language import Expression
from iogate.json_pointer import Pointer, join
from iogate.json_values import JsonObject
from iogate.messages import conjoined, quoted
from iogate.reconcile.json_diff import ABSENT, JsonChange, changes, is_same
from iogate.reconcile.meanings import links, literal_durations
from iogate.reconcile.meanings.apis import input_meaning
from iogate.reconcile.meanings.change_kinds import Meaning
from iogate.reconcile.meanings.loops import loop_meanings
from iogate.reconcile.meanings.schemas import comparison
from iogate.reconcile.plan_facts import Facts
from iogate.reconcile.shown_values import as_text, as_texts, shown
from iogate.store.revisions.due_schedules import Upcoming
from iogate.store.revisions.schedule_states import Pause
from iogate.timing.durations import format_seconds

_EXECUTED: Final = frozenset({"do", "timeout", "input", "output", "evaluate", "use"})
"""Parts of a definition whose meaning the compiled program holds."""
_READS_DEFINITION: Final = re.compile(
    r"\$(?:workflow|task)(?!\.(?:id|input|output|startedAt|name|reference)\b)"
)
"""Part of an expression that may read the definition, alone or with all data of the run."""
_ENDPOINTS: Final = frozenset({"endpoint", "uri", "document"})


def differences(before: JsonObject, after: JsonObject) -> list[JsonChange]:
    """Return the changed places of a workflow's definition, without those that have no effect."""
    found = _changes(before, after)
    if literal_durations.may_concern(found) and not _reads_definition(before, after):
        before, after = map(literal_durations.in_one_form, (before, after))
        found = _changes(before, after)
    executed = [change for change in found if change.path[0] in _EXECUTED]
    if executed and all(map(_may_be_spelling, executed)) and _behave_equally(before, after):
        found = [change for change in found if change.path[0] not in _EXECUTED]
    if not found and _differ(_resolved(before), _resolved(after)):
        found = [JsonChange(path=("do",), before=before.get("do"), after=after.get("do"))]
    return [*found, *changes(embedded(before), embedded(after), ("vars",))]


def _changes(before: JsonObject, after: JsonObject) -> list[JsonChange]:
    """Return all changed places of a workflow, without those that plan compares elsewhere."""
    old, new = map(links.without_links, (before, after))
    return [
        *(
            change
            for change in changes(_with_use(old, new), _with_use(new, old))
            if change.path and change.path[0] not in (RESOLVED, "schedule")
        ),
        *links.changed_places(before, after),
    ]


def _with_use(definition: JsonObject, other: JsonObject) -> JsonObject:
    """Return a workflow's definition with each part of `use` that another has, to compare the parts."""
    missing = {name: type(part)() for name, part in (other.get("use") or {}).items() if part}
    use = {**missing, **(definition.get("use") or {})}
    return {**definition, "use": use} if use else definition


def meanings(before: JsonObject, after: JsonObject, found: list[JsonChange]) -> Iterator[Meaning]:
    """Yield the meanings of changed places of a workflow's definition."""
    schema_done = False
    yield from links.link_meanings(before, after)
    for change in found:
        match change.path:
            case ("vars", *_):
                yield _place_meaning("variable.changed", change)
            case ("do",):
                text = "a document that the workflow refers to changed"
                yield Meaning(kind="task.changed", text=text, pointer="/do")
            case ("do" | "use", *_) if _is_task(change.path):
                yield _task_meaning(change)
            case ("do" | "use", *_) if of_loop := list(loop_meanings(change)):
                yield from of_loop
            case ("input",):
                found_parts = list(_input_meanings(before, after))
                yield from found_parts or [_place_meaning("input.changed", change)]
            case ("input", "schema", *_):
                if not schema_done:
                    yield _schema_meaning(before, after)
                schema_done = True
            case ("input", *_):
                yield _place_meaning("input.changed", change)
            case ("output", *_):
                yield _place_meaning("output.changed", change)
            case ("use", "secrets", *_):
                yield from _secrets(before, after)
            case path if links.is_in_links(path):
                pass  # compared above, each link as a whole
            case ("do" | "use" | "evaluate" | "timeout", *_):
                yield _place_meaning(_kind_of_place(change.path), change)
            case _:
                yield _place_meaning("workflow.changed", change)


def _input_meanings(before: JsonObject, after: JsonObject) -> Iterator[Meaning]:
    """Yield the meanings of a whole `input` of a workflow that is added or removed."""
    if not is_same(_schema(before, "input"), _schema(after, "input")):
        yield _schema_meaning(before, after)
    old, new = ({**(definition.get("input") or {}), "schema": None} for definition in (before, after))
    for change in changes(old, new, ("input",)):
        yield _place_meaning("input.changed", change)


def _schema_meaning(before: JsonObject, after: JsonObject) -> Meaning:
    found = comparison.compare(_schema(before, "input"), _schema(after, "input"))
    return input_meaning(found, None, "/input/schema")


def pinned(name: str, facts: Facts) -> Iterator[Meaning]:
    """Yield the meaning of a change for runs in flight of a workflow or API: they keep their definition."""
    counts = {number: count for number, count in facts.in_flight.get(name, {}).items() if number > 0}
    if not counts:
        return
    total = sum(count.number for count in counts.values())
    prefix = "at least " if any(count.at_least for count in counts.values()) else ""
    numbers = [str(number) for number in sorted(counts)]
    noun = "revision" if len(numbers) == 1 else "revisions"
    runs = "run in flight stays" if total == 1 else "runs in flight stay"
    shown_numbers = " and ".join(numbers) if len(numbers) < 4 else f"{numbers[0]} to {numbers[-1]}"
    text = f"{prefix}{total:,} {runs} pinned to {noun} {shown_numbers}"
    yield Meaning(kind="runs.pinned", text=text)


def added(replaced: str | None) -> Meaning:
    """Return the meaning of a new workflow, or of a new version that replaces one that is gone."""
    text = "workflow added" if replaced is None else f"workflow added in place of {replaced}"
    return Meaning(kind="workflow.added", text=text)


def with_version_of(before: JsonObject, after: JsonObject) -> JsonObject:
    """Return the definition of a replaced version of a workflow with the version of the one in its place."""
    version = {key: value for key, value in after["document"].items() if key == "version"}
    return {**before, "document": {**before["document"], **version}}


def latest_replaced(before: str, callers: Sequence[str]) -> Meaning:
    """Return the meaning of a new version of a workflow for those that run `version: latest` of it."""
    verb = "runs" if len(callers) == 1 else "run"
    text = f"{conjoined(callers)} {verb} it in place of {before} (version: latest)"
    return Meaning(kind="task.changed", text=text)


def schedule_added(name: str, schedule: Schedule, facts: Facts) -> Meaning:
    """Return the meaning of a new schedule of a workflow, which is named without version."""
    text = f"schedule added ({schedule})"
    if name in facts.pauses:
        text += f": {_stays_disabled(facts.pauses[name], schedule)}"
    elif facts.now_ms is not None and not schedule.chained:
        text += f": first tick at {moment_text(schedule.first_ms(facts.now_ms), schedule.zone)}"
    return Meaning(kind="schedule.added", text=text, pointer="/schedule")


def schedule_removed(name: str, before: Schedule, facts: Facts) -> Meaning:
    """Return the meaning of a schedule that ends, of a workflow which is named without version."""
    text = f"schedule removed ({before})" + _cancelled(name, before, facts)
    return Meaning(kind="schedule.removed", text=text, pointer="/schedule")


def schedule_changed(name: str, before: Schedule, after: Schedule, facts: Facts) -> Iterator[Meaning]:
    """Yield the meanings of another schedule of the same workflow, which is named without version."""
    if before.phase != after.phase:
        shown_change = f"({before} → {after})" if str(before) != str(after) else "(other events)"
        text = f"schedule changed {shown_change}"
        if name in facts.pauses:
            text += f": {_stays_disabled(facts.pauses[name], after)}"
        elif facts.now_ms is not None and not after.chained:
            text += f": {_next_tick(after, facts.upcoming.get(name), facts.now_ms)}"
        text += _cancelled(name, before, facts)
        yield Meaning(kind="schedule.changed", text=text, pointer="/schedule")
    if before.missed != after.missed:
        text = f"missed ticks: {before.missed} → {after.missed}"
        yield Meaning(kind="schedule.changed", text=text, pointer="/document/metadata/iogate/missed")

    if before.overlap != after.overlap:
        text = f"overlapping runs: {before.overlap} → {after.overlap}"
        yield Meaning(
            kind="schedule.changed", text=text, pointer="/document/metadata/iogate/schedule/overlap"
        )
    if before.jitter_ms != after.jitter_ms:
        old, new = (format_seconds(each.jitter_ms / 1000) for each in (before, after))
        text = f"runs start up to {new} after their tick, was {old}"
        yield Meaning(kind="schedule.changed", text=text, pointer="/document/metadata/iogate/schedule/jitter")


def schedule_starts(before: str, after: str) -> Meaning:
    """Return the meaning of a schedule that another version of its workflow has; both are full names."""
    text = f"starts runs of {after}, was {before}"
    return Meaning(kind="schedule.changed", text=text, pointer="/schedule")


def _next_tick(after: Schedule, current: Upcoming | None, now_ms: int) -> str:
    """Return whether the next tick of a workflow's changed schedule moves, and to when."""
    new_ms, old_ms = after.first_ms(now_ms), current.next_ms if current is not None else None
    moment = moment_text(new_ms, after.zone)
    if old_ms is None:
        return f"next tick at {moment}"
    old = moment_text(old_ms, after.zone)
    return f"next tick stays at {moment}" if old == moment else f"next tick moves to {moment} from {old}"


def _stays_disabled(pause: Pause, schedule: Schedule) -> str:
    """Return that a workflow's schedule starts no runs after the change, and until when."""
    until = "" if pause.until_ms is None else f" until {moment_text(pause.until_ms, schedule.zone)}"
    return f"it stays disabled{until}"


def _cancelled(name: str, before: Schedule, facts: Facts) -> str:
    """Return that the standing run of a schedule on events is cancelled; empty if it has none."""
    if before.kind != "on":
        return ""
    if facts.now_ms is None:
        return "; its standing run is cancelled"
    current = facts.upcoming.get(name)
    return f"; its standing run {current.run} is cancelled" if current is not None and current.run else ""


def _task_meaning(change: JsonChange) -> Meaning:
    name = quoted(str(change.path[-1]))
    if change.was is not None:
        if change.was[-1] != change.path[-1]:
            text = f"task {name} renamed, was {quoted(str(change.was[-1]))}"
            return Meaning(kind="task.renamed", text=text, pointer=change.pointer)
        text = f"task {name} moved, was at {join(change.was)}"
        return Meaning(kind="task.moved", text=text, pointer=change.pointer)
    word = "added" if change.before is ABSENT else "removed"
    return Meaning(
        kind=f"task.{word}", text=f"task {name} {word} at {change.pointer}", pointer=change.pointer
    )


def _is_task(path: Pointer) -> bool:
    """Tell whether a changed path of a workflow ends with a list position and a name, as a task's does.

    Data may look so, too.
    """
    if len(path) < 3 or not isinstance(path[-2], int) or not isinstance(path[-1], str):
        return False
    is_data = any(key in _DATA and not _is_name(before) for before, key in pairwise(path[:-3]))
    return path[-3] in _LISTS and not is_data


def _is_name(before: str | int) -> bool:
    """Tell by the key before it in the path whether a key is the name of a task or function."""
    return isinstance(before, int) or before == "functions"


_LISTS: Final = frozenset({"do", "try", "before", "after", "branches", "foreach", "extensions", "functions"})
"""Keys whose value is a list of tasks."""
_DATA: Final = frozenset(
    {"with", "set", "emit", "raise", "run", "input", "output", "export", "metadata", "evaluate"}
)
"""Keys of a task whose value is data of the author."""


def _kind_of_place(path: Pointer) -> str:
    return "endpoint.changed" if _ENDPOINTS & set(path[-2:]) else "task.changed"


def _place_meaning(kind: str, change: JsonChange) -> Meaning:
    place, mark = change.pointer, change.mark
    if change.was is not None:
        text = f"{place} moved from {join(change.was)}"
    elif mark == "+":
        text = f"{place} added ({as_text(shown(change.path, change.after))})"
    elif mark == "-":
        text = f"{place} removed (was {as_text(shown(change.path, change.before))})"
    else:
        old, new = shown(change.path, change.before), shown(change.path, change.after)
        first, second = as_texts(old, new)
        text = f"{place} changed ({first} → {second})"
    return Meaning(kind=kind, text=text, pointer=place)


def _secrets(before: JsonObject, after: JsonObject) -> Iterator[Meaning]:
    old, new = (list((each.get("use") or {}).get("secrets") or ()) for each in (before, after))
    for name in new:
        if name not in old:
            text = f"secret {quoted(name)} is needed: set it for the workers"
            yield Meaning(kind="secret.added", text=text, pointer="/use/secrets")
    for name in old:
        if name not in new:
            text = f"secret {quoted(name)} is not used any more"
            yield Meaning(kind="secret.removed", text=text, pointer="/use/secrets")


def _schema(definition: JsonObject, part: str) -> Any:
    return ((definition.get(part) or {}).get("schema") or {}).get("document")


def _resolved(definition: JsonObject) -> dict[str, Any]:
    """Return the resolved references of a workflow's program, without variables."""
    return {name: value for name, value in definition.get(RESOLVED, {}).items() if name != MEMBER}


def _differ(before: Any, after: Any) -> bool:
    return not is_same(before, after)


def _may_be_spelling(change: JsonChange) -> bool:
    """Tell whether a change of a workflow may compile to the same: not of plain texts, numbers or flags."""
    match change.before, change.after:
        case str() as old, str() as new:
            return "${" in old or "${" in new or old.casefold() == new.casefold()
        case (bool() | int() | float()) as old, (bool() | int() | float()) as new:
            return bool(old == new)
        case _:
            return change.was is None


def _behave_equally(before: JsonObject, after: JsonObject) -> bool:
    """Tell whether two definitions of a workflow compile to the same program.

    One of them may write out defaults of the other.

    An expression may read the definition itself; then every difference counts.
    """
    return not _reads_definition(before, after) and _same(program.load(before), program.load(after))


def _reads_definition(before: JsonObject, after: JsonObject) -> bool:
    return any(_READS_DEFINITION.search(json_values.to_json(each)) for each in (before, after))


def _same(first: Any, second: Any) -> bool:
    if type(first) is not type(second):
        return False
    if is_dataclass(first):
        return all(
            _same(getattr(first, field.name), getattr(second, field.name))
            for field in fields(first)
            if field.name not in _WRITTEN
        )
    if isinstance(first, Expression):
        return bool(first.text == second.text)
    if isinstance(first, Mapping):
        return first.keys() == second.keys() and all(_same(first[name], second[name]) for name in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(_same, first, second))
    return bool(first == second)


_WRITTEN: Final = frozenset({"definition", "location", "variables"})
"""Fields of a program that hold the text of the author, or are compared separately."""
