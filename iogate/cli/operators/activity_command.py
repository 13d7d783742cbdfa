"""`iogate activity`: changes by operators and commands, with their authors, reasons and outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from iogate.cli import panels
from iogate.cli.options import parse_moment_ms
from iogate.cli.render import Table
from iogate.cli.session import Session, command


def register(app: typer.Typer) -> None:
    command(app, "activity", over_http=True, fields_of="activity", rich_help_panel=panels.LIVE)(activity)


async def activity(
    session: Session,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="WHEN", help="Only changes after this time: 1h (ago), 2d, or a date and time."
        ),
    ] = None,
    operator: Annotated[
        str | None, typer.Option("--operator", metavar="NAME", help="Only changes by this operator.")
    ] = None,
    action: Annotated[
        str | None,
        typer.Option(
            "--action", metavar="ACTION", help="Only this action, or all of a kind: runs.retry, runs."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", metavar="ID", help="Only changes of the run, API or other object with this id."
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(help="Maximum number of changes, newest first.", min=1, max=10_000)
    ] = 50,
) -> None:
    """List changes by operators and commands, with author, action, reason and outcome.

    Raises Misused for an invalid option.
    """
    since_ms = parse_moment_ms(since, "--since")
    async with session.system() as system:
        found = await system.activity(
            since_ms=since_ms, operator=operator, action=action, target=target, limit=limit
        )
    entries = found["activity"]
    if not entries:
        session.screen.note("no change is recorded that the options select")
    session.screen.data("activity", found, [activity_table(entries)])


def activity_table(entries: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table with a row per change; the message of a change follows its outcome."""
    return Table(
        columns=("at", "operator", "via", "action", "target", "outcome", "reason"),
        rows=[
            (
                each["at"],
                each["operator"],
                each["via"],
                each["action"],
                _target(each["target"]),
                each["outcome"] + (f": {each['message']}" if each["message"] else ""),
                each["reason"],
            )
            for each in entries
        ],
    )


def _target(about: Mapping[str, Any]) -> str:
    """Return the objects of a change in `iogate activity`: type, first one, and number of the others."""
    ids = about["ids"]
    if not ids:
        return str(about["type"])
    more = max(about["count"], len(ids)) - 1
    return f"{about['type']} {ids[0]}" + (f" and {more} more" if more else "")
