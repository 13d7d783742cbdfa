"""Checks that debug cases can be replayed: their request or tick, their files and their mocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from iogate.compiler import schedules
from iogate.compiler.checked_definition import Definition
from iogate.compiler.checks import mocks
from iogate.compiler.diagnostics import Document, did_you_mean, problem_at
from iogate.documents import WorkflowDocument
from iogate.documents.api import DebugCase, Method
from iogate.documents.dsl.metadata import ScheduleCase
from iogate.documents.problems import Problem
from iogate.json_pointer import Pointer
from iogate.messages import listed
from iogate.timing.crontab import InvalidCron, UnknownZone, cron

CASES: Pointer = ("document", "metadata", "iogate", "debug")
"""Place of the cases of a schedule in a workflow."""


def check(
    document: Document,
    pointer: Pointer,
    method: Method,
    definition: Definition | None,
    exists: Callable[[str], bool],
    child: mocks.Definitions,
) -> Iterator[Problem]:
    """Check the debug cases of the method at `pointer`; without a definition, mocks are not checked.

    `child` gives the definition of a workflow that another one runs.
    """
    known = mocks.references(definition, child) if definition is not None and method.debug else None
    for index, case in enumerate(method.debug or ()):
        at = (*pointer, "debug", index)
        yield from _request(document, at, case, method)
        for keys, path in case.files:
            if not exists(path):
                yield problem_at(
                    document,
                    (*at, *keys),
                    "IOG306",
                    f"{path} does not exist",
                    hint=f"{keys[-1]} is relative to the project",
                )
        if known is not None:
            yield from mocks.check(document, at, case.mocks or {}, known, "this API's workflow")


def check_schedule(
    document: WorkflowDocument, definition: Definition, child: mocks.Definitions
) -> Iterator[Problem]:
    """Check the debug cases of a workflow's schedule, as `check` does those of a method."""
    cases = document.model.cases
    if not cases:
        return
    schedule = document.data.get("schedule") or {}
    if not schedule:
        yield problem_at(
            document,
            CASES,
            "IOG317",
            "these debug cases are for a schedule, and the workflow has none",
            key=True,
            hint='cases of an API stand under "debug" of its method',
        )
        return
    known = mocks.references(definition, child)
    for index, case in enumerate(cases):
        at = (*CASES, index)
        if "on" in schedule and not case.events:
            message = "the schedule waits for events, and the case has none"
            yield problem_at(document, at, "IOG317", message, hint='write "events"')
        if "cron" in schedule:
            yield from _tick(document, at, case)
        yield from mocks.check(document, at, case.mocks or {}, known, "this workflow")


def _tick(document: Document, at: Pointer, case: ScheduleCase) -> Iterator[Problem]:
    """Check that the schedule has a tick at the moment of the debug case."""
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
        yield problem_at(document, (*at, "at"), "IOG317", message, hint=hint)


def _request(document: Document, at: Pointer, case: DebugCase, method: Method) -> Iterator[Problem]:
    verbs = method.verbs or ["POST"]
    if case.verb is not None and case.verb not in verbs:
        yield problem_at(
            document,
            (*at, "verb"),
            "IOG317",
            f"this API does not take {case.verb}: its verbs are {listed(verbs)}",
            hint=did_you_mean(verbs[0]),
        )
    elif case.sends_body and (case.verb == "GET" or verbs == ["GET"]):
        yield problem_at(
            document,
            (*at, next(key for key in ("body", "body_file", "multipart") if key in case.model_fields_set)),
            "IOG317",
            "a GET has no body: its input is its query",
            key=True,
            hint='write "query"' + (', or "verb: POST"' if "POST" in verbs else ""),
        )
