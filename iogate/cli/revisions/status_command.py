"""`iogate status`: overview of the live revision, runs, APIs and processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from iogate.cli import live_view, panels
from iogate.cli.apis import workflow_commands
from iogate.cli.apis.gate_display import state_text, with_overrides
from iogate.cli.options import WatchOption
from iogate.cli.render import Table
from iogate.cli.revisions import secret_display
from iogate.cli.runs.statistics_display import format_time
from iogate.cli.session import Session, command
from iogate.messages import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

RECENT = ("24h completed", "24h faults", "24h p95")
"""Columns about the runs of the last day."""
PLURALS = {"queue entry": "queue entries", "batch": "batches"}


def register(app: typer.Typer) -> None:
    command(app, "status", over_http=True, fields_of="status", rich_help_panel=panels.PROCESSES)(status)


async def status(
    session: Session,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Show keyed fingerprints of all secrets, per process.")
    ] = False,
    watch: WatchOption = False,
) -> None:
    """Show the live revision, runs and queue, APIs, gateways and workers.

    Raises Misused for `--watch` with another format than text.
    """
    if watch:
        live_view.check(session.screen)
    async with session.system() as system:
        if watch:

            async def read() -> list[Table | str]:
                return _parts(await system.status(), secrets=secrets)

            await live_view.watch(session.screen, read)
        value = await system.status()
    session.screen.data("status", value, _parts(value, secrets=secrets))


def _parts(value: dict[str, Any], *, secrets: bool) -> list[Table | str]:
    shown = secret_display.tables(value["secrets"], every=secrets)
    return [*_text(value), *(part for table in shown for part in ("", table))]


def describe_refusals(refused: Mapping[str, int]) -> str:
    """Format for `iogate status` how many objects of each kind failed verification."""
    return ", ".join(
        f"{number} {kind if number == 1 else PLURALS.get(kind, kind + 's')}"
        for kind, number in sorted(refused.items())
    )


def _text(value: dict[str, Any]) -> list[Table | str]:
    from iogate.store.revisions.origin import DEFAULT_PROJECT

    runs = ", ".join(f"{number} {name}" for name, number in value["runs"].items() if number)
    queue = value["queue"]
    loaded = value["processes"]
    head = [
        f"store     {value['store']}",
        f"revision  {_revision(value)}",
        *(
            [f"processes {loaded['loaded']}/{loaded['total']} on revision {value['revision']}"]
            if loaded is not None and loaded["total"]
            else []
        ),
        f"runs      {runs or 'none'}",
        f"queue     {queue['depth']}"
        + (f", the oldest for {queue['oldestS']:.1f}s" if queue["depth"] else ""),
    ]
    if (drained_s := value["drainedS"]) is not None:
        head.insert(1, f"drained   for another {drained_s:.0f}s: iogate store resume opens it")
    if value["refused"]:
        head.append(f"refused   {describe_refusals(value['refused'])}: not signed with the key, see the logs")
    head += [
        f"on hold   {counted(each['held'], 'run')} of the deleted {each['api']}: iogate enable releases them"
        for each in value["heldOfDeleted"]
    ]
    parts: list[Table | str] = ["\n".join(head)]
    several = any(each["project"] != DEFAULT_PROJECT for each in (value, *value["projects"]))
    if several:
        rows_ = [
            (
                each["project"],
                each["revision"],
                each["apis"],
                f"{each['processes']['loaded']}/{each['processes']['total']}",
            )
            for each in value["projects"]
        ]
        parts += ["", Table(columns=("project", "revision", "apis", "loaded by"), rows=rows_)]
    if value["apis"]:
        ran = any(api["lastDay"]["accepted"] for api in value["apis"])
        columns, rows = with_overrides(
            (
                *(("project",) if several else ()),
                *("api", "state", "queued", "running"),
                *(RECENT if ran else ()),
            ),
            [
                (
                    *((api["project"],) if several else ()),
                    api["api"],
                    state_text(api),
                    api["queued"],
                    api["running"],
                    *(_recent(api["lastDay"]) if ran else ()),
                )
                for api in value["apis"]
            ],
            [api["override"] for api in value["apis"]],
        )
        table = Table(columns=columns, rows=rows, numbers=frozenset({"queued", "running", *RECENT}))
        parts += ["", table]
    missing = [(api["api"], each) for api in value["apis"] for each in api["missing"]]
    missing += [
        (each["workflow"], text)
        for each in value["workflows"]
        if not each["apis"]
        for text in each["missing"]
    ]
    if missing:
        parts += ["", Table(columns=("needed by", "missing"), rows=missing)]
    if value["schedules"]:
        parts += ["", workflow_commands.schedule_table(value["schedules"])]
    rows = [
        (
            kind,
            each["id"],
            each["host"],
            each["pid"],
            each["startedAt"],
            each["revision"] or None,
            _reason(each) or None,
        )
        for kind in ("gateway", "worker")
        for each in value[f"{kind}s"]
    ]
    if rows:
        columns = ("process", "id", "host", "pid", "started", "revision", "reason")
        shown = len(columns) if any(row[-1] for row in rows) else -1
        parts += ["", Table(columns=columns[:shown], rows=[row[:shown] for row in rows])]
    else:
        parts += ["", 'no gateways or workers are running: start them with "iogate up"']
    return parts


def _recent(counts: Mapping[str, Any]) -> tuple[object, ...]:
    """Return the cells of the columns RECENT in `iogate status`."""
    duration = counts["durationS"]
    return counts["completed"], counts["faulted"], format_time(duration and duration["p95"])


def _revision(value: dict[str, Any]) -> str:
    """Return the live revision for `iogate status` as text, or why its record is refused."""
    if value["refusedRecord"] is not None:
        return f"refused: {value['refusedRecord']}: see iogate explain IOG673"
    return "none yet" if value["revision"] is None else str(value["revision"])


def _reason(process: dict[str, Any]) -> str:
    """Return why a process in `iogate status` does not use the newest revision."""
    if not process["connected"]:
        return "it has no connection to the store"
    return "; ".join(f"revision {each['revision']}: {each['reason']}" for each in process["failed"])
