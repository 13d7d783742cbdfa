"""`iogate batches`: list, show, stop and continue bulk actions on runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from iogate.cli import panels
from iogate.cli.batches.batch_progress import begin, follow, progress, report
from iogate.cli.render import Table
from iogate.cli.session import Session, command

if TYPE_CHECKING:
    from iogate.cli.system.system import Json

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the batch.")]
ReasonOption = Annotated[str, typer.Option(help="Reason, recorded in the activity.")]

group = typer.Typer(
    help="List, show, stop and continue batches: changes of many runs by `runs retry` and `runs cancel`.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="batches", rich_help_panel=panels.RUNS)


@command(group, "list", over_http=True, fields_of="batches.list")
async def list_batches(
    session: Session,
    limit: Annotated[int, typer.Option(help="Maximum number of batches, newest first.", min=1, max=100)] = 50,
) -> None:
    """List batches of the last seven days, newest first."""
    async with session.system() as system:
        found = await system.batches.list(limit)
    if not found["batches"]:
        session.screen.note("no batches")
    session.screen.data("batches.list", {"batches": found["batches"]}, [_table(found["batches"])])


@command(group, "show", over_http=True, fields_of="batches.show")
async def show(session: Session, id_: IdArgument) -> None:
    """Show a batch with its progress, and the first runs that were refused.

    Raises NotFound if there is no such batch.
    """
    async with session.system() as system:
        batch = await system.batches.show(id_)
    session.screen.data("batches.show", batch, _details(batch))


@command(group, "stop", over_http=True)
async def stop(session: Session, id_: IdArgument, reason: ReasonOption = "") -> None:
    """Stop a batch before its next run; the runs that are left stay as they are.

    Raises NotFound if there is no such batch.
    """
    async with session.system(changes=True) as system:
        batch = await system.batches.stop(id_, reason)
    if batch["state"] == "stopping":
        session.screen.note("a worker is still at a run of the batch; none follows")
    if batch["left"]:
        session.screen.note(f"continue with: iogate batches continue {id_}")
    session.screen.data("batches.stop", batch, [f"{batch['state']}: {progress(batch)}"])


@command(group, "continue", over_http=True)
async def proceed(session: Session, id_: IdArgument, reason: ReasonOption = "") -> None:
    """Continue a stopped batch with the runs that are left, and show its progress; Ctrl-C stops it again.

    Raises NotFound if there is no such batch, Refused if it has ended or runs are refused.
    """
    async with session.system(changes=True) as system:
        batch = await begin(session, system.batches, system.batches.proceed(id_, reason))
        batch = await follow(session, system.batches, batch)
    report(session, "batches.continue", batch)


def _table(batches: Sequence[Json]) -> Table:
    return Table(
        columns=("id", "action", "state", "changed", "refused", "left", "created", "operator", "reason"),
        rows=[
            (
                each["id"],
                each["action"],
                each["state"],
                each["changed"],
                each["refused"],
                each["left"],
                each["createdAt"],
                each["operator"],
                each["reason"],
            )
            for each in batches
        ],
        numbers=frozenset({"changed", "refused", "left"}),
    )


def _details(batch: Json) -> list[str]:
    """Return the lines of `batches show`: the members of a batch that have a value, and its refusals."""
    names = (
        *("id", "action", "state", "count", "changed", "unchanged", "refused", "left", "waiting", "failure"),
        *("operator", "via", "reason", "from", "on", "createdAt", "endedAt"),
    )
    lines = [f"{name + ':':<11} {batch[name]}" for name in names if batch[name] is not None]
    if batch["filter"]:
        shown = (
            f"{name}={','.join(value) if isinstance(value, list) else value}"
            for name, value in batch["filter"].items()
        )
        lines.append(f"{'filter:':<11} {' '.join(shown)}")
    lines += [f"{'refused:':<11} {each['uid']}: {each['message']}" for each in batch["refusals"]]
    return lines + [f"{'remark:':<11} {each}" for each in batch["remarks"]]
