"""Models of `metadata`, of a document and of a task: free, except for the fixed keys of `iogate`.

The DSL gives metadata no meaning, so a workflow with these keys runs unchanged on another runtime.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from iogate.documents.base_model import FORMAT, Maybe, field_error, type_error
from iogate.documents.debug_cases import Events, Mocks, RunExpectation
from iogate.documents.dsl.base_model import DslModel, OpenDslModel
from iogate.documents.dsl.field_types import Duration
from iogate.documents.dsl.links import Links
from iogate.documents.field_types import Flag, IsList, Text, Whole

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9900, 1, 1, tzinfo=UTC)
"""Upper limit of a tick, so that the following moments are valid dates, too."""
_MOMENT = "a moment with its offset from UTC, such as 2026-03-02T06:00:00Z"
_NO_REQUEST = "a schedule sends no request"
_NO_INPUT = 'a schedule starts its workflow with {} or, with "on", with the events: write "events"'


def _moment_ms(value: Any) -> int:
    if not isinstance(value, str):
        raise type_error(_MOMENT, value)
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None or not _EPOCH <= at < _LATEST:
        raise field_error(FORMAT, expected=_MOMENT, got=value)
    return (at - _EPOCH) // timedelta(milliseconds=1)


_Moment = Annotated[
    int,
    BeforeValidator(_moment_ms),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-03-02T06:00:00Z"]}),
]


class ScheduleExpectation(RunExpectation):
    elsewhere: ClassVar = {"http": _NO_REQUEST}


class ScheduleCase(DslModel):
    """A debug case of a schedule: a tick, or events, and the end of the run that they start."""

    near: ClassVar = {"mock": "mocks", "expected": "expect", "time": "at", "tick": "at", "schedule": "at"}
    elsewhere: ClassVar = {
        **dict.fromkeys(("verb", "query", "headers", "body_file", "multipart"), _NO_REQUEST),
        **dict.fromkeys(("input", "body"), _NO_INPUT),
    }

    name: Annotated[Text, Field(min_length=1)]
    at: Maybe[_Moment] = None
    """Moment of the tick, in milliseconds since 1970 here."""
    events: Maybe[Events] = None
    """CloudEvents: with `on` first those that start the run, then those that it waits for."""
    mocks: Maybe[Mocks] = None
    """By task reference."""
    expect: Maybe[ScheduleExpectation] = None


class ScheduleSettings(DslModel):
    """How the ticks of a schedule start runs."""

    near: ClassVar = {"concurrency": "overlap", "policy": "overlap", "spread": "jitter", "delay": "jitter"}
    elsewhere: ClassVar = dict.fromkeys(
        ("every", "cron", "after", "on"), "it belongs under schedule, at the root of the workflow"
    )

    overlap: Maybe[Literal["allow", "skip", "queue", "replace"]] = None
    """What a tick does while the run of an earlier one is not over."""
    jitter: Maybe[Duration] = None
    """Longest delay after a tick; it differs between workflows and ticks, and is reproducible."""


class Iogate(DslModel):
    """Keys of iogate in the metadata of a workflow."""

    near: ClassVar = {
        "zone": "timezone",
        "tz": "timezone",
        "cases": "debug",
        "tests": "debug",
        "link": "links",
    }
    elsewhere: ClassVar = dict.fromkeys(
        ("atMostOnce", "parallel", "on_error"), "it belongs in the metadata of a task"
    )

    timezone: Any = None
    """IANA name of the time zone of `schedule.cron`."""
    missed: Any = None
    """Policy for missed ticks: once, skip or all."""
    schedule: Maybe[ScheduleSettings] = None
    """Overlap and jitter of the runs of `schedule`."""
    debug: Maybe[Annotated[list[ScheduleCase], IsList]] = None
    """Debug cases of the schedule, for `iogate test`."""
    links: Maybe[Links] = None
    """URLs with which people continue a run, by name."""


class Metadata(OpenDslModel):
    iogate: Maybe[Iogate] = None


MOST_PARALLEL: Final = 1_000
"""Iterations of one loop at once: each may hold a connection or a process."""


def _at_once(value: int) -> int:
    if not 1 <= value <= MOST_PARALLEL:
        raise field_error(FORMAT, expected=f"a whole number from 1 to {MOST_PARALLEL}", got=str(value))
    return value


class TaskIogate(DslModel):
    """Keys of iogate in the metadata of a task."""

    near: ClassVar = {
        "concurrency": "parallel",
        "limit": "parallel",
        "onError": "on_error",
        "errors": "on_error",
    }
    elsewhere: ClassVar = dict.fromkeys(
        ("timezone", "missed", "schedule", "debug", "links"), "it belongs in the metadata of the document"
    )

    at_most_once: Maybe[Flag] = None
    """Never perform the effect of the task again if its result is unknown."""
    parallel: Maybe[
        Annotated[
            Whole,
            AfterValidator(_at_once),
            WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MOST_PARALLEL}),
        ]
    ] = None
    """Of a task with `for`: iterations at once. The output is then the list of their outputs."""
    on_error: Annotated[Maybe[Literal["fail", "continue"]], Field(alias="on_error")] = None
    """With `parallel`: what the error of an iteration does. `fail`, the default, cancels the others and fails
    the task; `continue` puts `{error: …}` in the place of its output."""


class TaskMetadata(OpenDslModel):
    iogate: Maybe[TaskIogate] = None
