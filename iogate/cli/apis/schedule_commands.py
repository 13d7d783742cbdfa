"""`iogate schedule`: list the live schedules, disable and enable them, and start a run now."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from iogate.cli import completion, last_run, panels
from iogate.cli.options import parse_seconds
from iogate.cli.render import Table
from iogate.cli.session import Session, command

group = typer.Typer(help="List, enable, disable and run the live schedules.", no_args_is_help=True)

ReasonOption = Annotated[str, typer.Option(help="Reason, recorded in the activity.")]
NamesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="NAMESPACE/NAME", help="Workflows with a schedule.", autocompletion=completion.workflows
    ),
]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="schedule", rich_help_panel=panels.LIVE)


@command(group, "list", over_http=True, fields_of="schedule.list")
async def list_(session: Session) -> None:
    """List the live schedules with next ticks, last run, skipped ticks and overrides."""
    async with session.system() as system:
        value = await system.schedules.list()
    rows = value["schedules"]
    table = Table(
        columns=("schedule", "when", "overlap", "state", "next", "last run", "status", "skipped"),
        rows=[
            (
                each["schedule"],
                each["when"],
                each["overlap"],
                _state_text(each),
                each["nextTicks"][0] if each["nextTicks"] else None,
                each["lastRun"],
                each["lastStatus"],
                each["skipped"],
            )
            for each in rows
        ],
        numbers=frozenset({"skipped"}),
    )
    session.screen.data("schedule.list", value, [table if rows else "no live schedules"])


def _state_text(row: dict[str, Any]) -> str:
    pause = row["disabled"]
    if pause is None:
        return "one tick waits" if row["waiting"] else "enabled"
    until = f" until {pause['until']}" if pause["until"] else ""
    reason = f": {pause['reason']}" if pause["reason"] else ""
    return f"disabled by {pause['author']}{until}{reason}"


@command(group, "disable", over_http=True)
async def disable(
    session: Session,
    names: NamesArgument,
    reason: Annotated[str, typer.Option(help="Reason, shown to other users.")] = "",
    ttl: Annotated[
        str | None, typer.Option(metavar="TIME", help="Enable the schedules again after this time: 30m, 2h.")
    ] = None,
) -> None:
    """Disable schedules: their ticks start no runs, also after an apply, until `enable`; runs continue.

    Raises NotFound for an unknown schedule, and Foreign if another project owns one.
    """
    ttl_s = parse_seconds(ttl, "--ttl")
    async with session.system(changes=True) as system:
        value = await system.schedules.disable(names, reason=reason, ttl_s=ttl_s)
    ends = f" for {ttl}" if ttl else ""
    session.screen.data("schedule.disable", value, [f"disabled {name}{ends}" for name in names])
    if not reason:
        session.screen.note("no reason given: --reason TEXT tells others why")


@command(group, "enable", over_http=True)
async def enable(session: Session, names: NamesArgument, reason: ReasonOption = "") -> None:
    """Enable schedules from their next tick on; ticks that were skipped meanwhile are not made up for.

    Raises NotFound for an unknown schedule, and Foreign if another project owns one.
    """
    async with session.system(changes=True) as system:
        value = await system.schedules.enable(names, reason=reason)
    session.screen.data("schedule.enable", value, [f"enabled {name}" for name in names])


@command(group, "run", over_http=True)
async def run(session: Session, names: NamesArgument, reason: ReasonOption = "") -> None:
    """Start a run of each schedule now, also of a disabled one; its ticks stay as they are.

    Raises NotFound for an unknown schedule, and Refused for one on events or if the store starts no runs.
    """
    async with session.system(changes=True) as system:
        value = await system.schedules.run(names, reason=reason)
    for uid in value["runs"].values():
        last_run.remember(uid)
    started = [f"{uid}  {name}" for name, uid in value["runs"].items()]
    session.screen.data("schedule.run", value, started)
