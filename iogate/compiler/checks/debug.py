"""Checks that debug cases can be replayed: their request or tick, their files, the tasks of their mocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from iogate.compiler import outline, schedules
from iogate.compiler.faults import Placed, did_you_mean, fault
from iogate.compiler.outline import Pointer
from iogate.crontab import InvalidCron, UnknownZone, cron
from iogate.documents import WorkflowDocument
from iogate.documents.api import DebugCase, Method
from iogate.documents.dsl.metadata import ScheduleCase
from iogate.documents.problems import Problem, listed, nearest, quoted

MOST_NAMED = 8
REACHING_OUT = frozenset({"call", "run"})
"""Kinds of tasks that call, run or start something."""
CASES: Pointer = ("document", "metadata", "iogate", "debug")
"""Place of the cases of a schedule in a workflow."""

Definitions = Callable[[str], Mapping[str, Any] | None]
"""Gives the definition of a workflow by its name; None if it is not known."""


@dataclass(kw_only=True)
class _References:
    """The tasks that mocks may stand in for."""

    kinds: dict[str, str] = field(default_factory=dict)
    """Kind of each task, by its reference."""
    unknown: list[str] = field(default_factory=list)
    """References of tasks that run a workflow whose own tasks are not known."""

    def has(self, reference: str) -> bool:
        return reference in self.kinds or any(reference.startswith(f"{each}/") for each in self.unknown)


def check(
    document: Placed,
    pointer: Pointer,
    method: Method,
    definition: Mapping[str, Any] | None,
    exists: Callable[[str], bool],
    child: Definitions,
) -> Iterator[Problem]:
    """Check the cases of the method at `pointer`; without a definition, mocks are not checked.

    `child` gives the definition of a workflow that another one runs.
    """
    known = _references(definition, child) if definition is not None and method.debug else None
    for index, case in enumerate(method.debug or ()):
        at = (*pointer, "debug", index)
        yield from _request(document, at, case, method)
        for keys, path in case.files:
            if not exists(path):
                yield fault(
                    document,
                    (*at, *keys),
                    "IOG306",
                    f"{path} does not exist",
                    hint=f"{keys[-1]} is relative to the project",
                )
        if known is not None:
            yield from _mocks(document, at, case.mocks or (), known, "this API's workflow")


def check_schedule(
    document: WorkflowDocument, definition: Mapping[str, Any], child: Definitions
) -> Iterator[Problem]:
    """Check the cases of a workflow's schedule, as `check` does those of a method."""
    cases = document.model.cases
    if not cases:
        return
    schedule = document.data.get("schedule") or {}
    if not schedule:
        yield fault(
            document,
            CASES,
            "IOG317",
            "these debug cases are for a schedule, and the workflow has none",
            key=True,
            hint='cases of an API stand under "debug" of its method',
        )
        return
    known = _references(definition, child)
    for index, case in enumerate(cases):
        at = (*CASES, index)
        if "on" in schedule and not case.events:
            message = "the schedule waits for events, and the case has none"
            yield fault(document, at, "IOG317", message, hint='write "events"')
        if "cron" in schedule:
            yield from _tick(document, at, case)
        yield from _mocks(document, at, case.mocks or (), known, "this workflow")


def _tick(document: Placed, at: Pointer, case: ScheduleCase) -> Iterator[Problem]:
    """Check that the schedule has a tick at the moment of the case."""
    _, zone = schedules.zone_of(document.data)
    if case.at is None:
        return
    try:
        following_ms = cron(" ".join(document.data["schedule"]["cron"].split()), str(zone)).after_ms(
            case.at - 1
        )
    except (InvalidCron, UnknownZone):
        return  # another check reports it
    if following_ms != case.at:
        message = "the schedule has no tick at this moment"
        hint = f"the next one is {schedules.moment_text(following_ms, str(zone))}"
        yield fault(document, (*at, "at"), "IOG317", message, hint=hint)


def _request(document: Placed, at: Pointer, case: DebugCase, method: Method) -> Iterator[Problem]:
    verbs = method.verbs or ["POST"]
    if case.verb is not None and case.verb not in verbs:
        yield fault(
            document,
            (*at, "verb"),
            "IOG317",
            f"this API does not take {case.verb}: its verbs are {listed(verbs)}",
            hint=did_you_mean(verbs[0]),
        )
    elif case.sends_body and (case.verb == "GET" or verbs == ["GET"]):
        yield fault(
            document,
            (*at, next(key for key in ("body", "body_file", "multipart") if key in case.model_fields_set)),
            "IOG317",
            "a GET has no body: its input is its query",
            key=True,
            hint='write "query"' + (', or "verb: POST"' if "POST" in verbs else ""),
        )


def _mocks(
    document: Placed, at: Pointer, mocks: Iterable[str], known: _References, where: str
) -> Iterator[Problem]:
    for reference in mocks:
        if not known.has(reference):
            yield fault(
                document,
                (*at, "mocks", reference),
                "IOG318",
                f"no task at {quoted(reference)} in {where}; it has {_some(known.kinds)}",
                key=True,
                hint=did_you_mean(nearest(reference, known.kinds)),
            )


def _some(kinds: Mapping[str, str]) -> str:
    """References that may have been meant: tasks that reach out first, since these are what one mocks."""
    ordered = sorted(kinds, key=lambda reference: kinds[reference] not in REACHING_OUT)
    more = len(ordered) - MOST_NAMED
    return f"{', '.join(ordered[:MOST_NAMED])} and {more} more" if more > 0 else listed(ordered)


def _references(definition: Mapping[str, Any], child: Definitions) -> _References:
    found = _References()
    _collect(found, "", definition, child, frozenset())
    return found


def _collect(
    found: _References, prefix: str, definition: Mapping[str, Any], child: Definitions, around: frozenset[str]
) -> None:
    """Collect the tasks of a workflow and, below a task that runs another workflow, those of that one.

    Of workflows that run themselves, directly or not, the first round counts.
    """
    for task in outline.tasks(definition):
        reference = prefix + task.reference_text()
        found.kinds[reference] = task.kind
        named = outline.child_of(task)
        if named is None or named in around:
            continue
        inner = child(named)
        if inner is None:
            found.unknown.append(reference)
        else:
            _collect(found, reference, inner, child, around | {named})
