"""`iogate runs stats` and `iogate runs errors`: counts, durations and errors of the last days."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from iogate import messages
from iogate.cli.options import ApiFilter, parse_moment_ms
from iogate.cli.render import Table
from iogate.cli.runs.run_filters import WorkflowFilter
from iogate.cli.runs.statistics_display import format_time
from iogate.cli.session import Session, command
from iogate.messages import counted

MAX_MESSAGE_LENGTH = 80
"""Most characters of a message in a table; JSON has all of it."""
COUNTS = ("accepted", "completed", "faulted", "cancelled")
NUMBERS = ("accepted", "completed", "faults", "cancelled", "p50", "p95", "queue p95")

SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="WHEN", help="From this time on: 1h (ago), 2d, or a date and time."),
]


class Rows(StrEnum):
    """Rows of the table of `runs stats`."""

    API = "api"
    WORKFLOW = "workflow"
    HOUR = "hour"


def register(group: typer.Typer) -> None:
    """Add the commands `stats` and `errors` to `iogate runs`."""
    command(group, "stats", over_http=True, fields_of="runs.stats")(stats)
    command(group, "errors", over_http=True, fields_of="runs.errors")(errors)


async def stats(
    session: Session,
    api: ApiFilter = None,
    workflow: WorkflowFilter = None,
    since: SinceOption = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="WHEN", help="Until this time, in the same forms; default: now."),
    ] = None,
    by: Annotated[Rows, typer.Option("--by", help="What the rows of the table are.")] = Rows.API,
) -> None:
    """Show how many runs were accepted, how their attempts ended, and how long these took.

    Raises:
        Misused: a time is invalid.
        NotFound: there is no such API.
    """
    since_ms, until_ms = parse_moment_ms(since, "--since"), parse_moment_ms(until, "--until")
    async with session.system() as system:
        found = await system.runs.statistics(api=api, workflow=workflow, since_ms=since_ms, until_ms=until_ms)
    if not found["apis"] and not found["workflows"]:
        session.screen.note(f"no runs since {found['since']}")
    session.screen.data("runs.stats", found, [statistics_table(found, by), *retry_lines(found[f"{by}s"])])


def statistics_table(found: Mapping[str, Any], by: Rows = Rows.API) -> Table:
    """Return the table of `runs stats`, with counts and times; hours without runs are left out."""
    rows = [(each[by], each) for each in found[f"{by}s"]]
    if by is Rows.HOUR:
        rows = [(name, each) for name, each in rows if any(map(each.get, COUNTS))]
    return Table(
        columns=(by.value, *NUMBERS),
        rows=[(name, *_cells(each)) for name, each in rows],
        numbers=frozenset(NUMBERS),
    )


def retry_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the lines of `runs stats` that say why more attempts ended than runs were accepted."""
    retried = sum(each["retried"] for each in rows)
    if not retried:
        return []
    return [
        "",
        f"{counted(retried, 'retry', 'retries')}: the end of each attempt counts, not only that of the run",
    ]


def _cells(counts: Mapping[str, Any]) -> Iterable[object]:
    yield from (counts[name] for name in COUNTS)
    duration, wait = counts["durationS"], counts["queueWaitS"]
    yield from (
        format_time(times and times[share])
        for times, share in ((duration, "p50"), (duration, "p95"), (wait, "p95"))
    )


async def errors(session: Session, api: ApiFilter = None, since: SinceOption = None) -> None:
    """Show the distinct errors of runs: how often, since when, and an example.

    Raises:
        Misused: the time is invalid.
        NotFound: there is no such API.
    """
    since_ms = parse_moment_ms(since, "--since")
    async with session.system() as system:
        found = await system.runs.errors(api=api, since_ms=since_ms)
    if not found["errors"]:
        session.screen.note(f"no run has faulted since {found['since']}")
    session.screen.data("runs.errors", found, _error_lines(found["errors"]))


def _error_lines(errors: Iterable[Mapping[str, Any]]) -> list[Table | str]:
    rows = [
        (
            each["count"],
            each["lastAt"],
            each["api"],
            each["task"],
            f"{each['status']} {each['code']}",
            messages.shorten(each["message"], MAX_MESSAGE_LENGTH),
            each["lastRun"],
        )
        for each in errors
    ]
    columns = ("times", "last", "api", "task", "error", "message", "last run")
    shown: list[Table | str] = [Table(columns=columns, rows=rows, numbers=frozenset({"times"}))]
    if rows:
        shown += ["", f"{counted(len(rows), 'error')}; iogate runs show UID explains the last run of each"]
    return shown
