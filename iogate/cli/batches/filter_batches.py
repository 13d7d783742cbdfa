"""Changes of all runs that match a filter: preview, confirmation, batch, progress.

Used by `runs retry` and `runs cancel`. Invariant: without a confirmation, nothing is changed; not more runs
are changed than the confirmation has named.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import typer

from iogate.cli.batches.batch_progress import begin, follow, report
from iogate.cli.render import plain_table, write_stderr
from iogate.cli.runs.run_display import run_table
from iogate.errors import Misused, Refused
from iogate.messages import counted

if TYPE_CHECKING:
    from iogate.cli.session import Session
    from iogate.cli.system.system import Json, RunChange
    from iogate.store.runs.run_index import RunFilter

SHOWN: Final = 10
"""Most runs that are listed before a confirmation."""
UNCONFIRMED: Final = "IOG785"
VERBS: Final = {"retry": "retries", "cancel": "cancels"}
EFFECTS: Final = {
    "retry": "each continues from the task that faulted; completed tasks are not repeated",
    "cancel": "each ends as cancelled, and its task in progress is broken off",
}
"""Effects on each run, for the confirmation."""


async def change_matching(
    session: Session, change: RunChange, wanted: RunFilter, *, yes: bool, repeats: bool = False
) -> None:
    """Change all runs that match a filter by a batch, and show its progress.

    `repeats`: the change has the id of an earlier command, whose batch may exist.

    Raises:
        Misused: the filter is invalid, or there is no terminal to confirm and `yes` is false.
        NotFound: there is no such API.
        Refused: not confirmed; more runs match than the confirmation has named; or runs were refused.
    """
    from iogate.operators.batches.batch_selection import BatchRequest

    request = BatchRequest(
        action="retry" if change.action == "retry" else "cancel",
        filter=wanted,
        pointer=change.pointer,
        current=change.current,
    )
    async with session.system(changes=True) as system:
        at_most = None
        if not (yes and repeats):
            seen = await system.batches.preview(request, change.reason)
            if not seen["count"] and not repeats:
                session.screen.note("no run matches the filters")
                session.screen.data(f"runs.{change.action}", {"batch": None}, [])
                return
            if seen["count"] and not yes:
                _confirm(change, seen["sample"], seen["count"])
                at_most = seen["count"]
        creation = system.batches.create(
            request, reason=change.reason, operation=change.operation, at_most=at_most
        )
        batch = await begin(session, system.batches, creation)
        batch = await follow(session, system.batches, batch)
    report(session, f"runs.{change.action}", batch)


def _confirm(change: RunChange, sample: Sequence[Json], count: int) -> None:
    """Show the first runs that match a filter and the effect on them, and ask for confirmation.

    Raises Misused without a terminal, and Refused if the answer is no.
    """
    write_stderr(plain_table(run_table(sample[:SHOWN])))
    if count > SHOWN:
        write_stderr(f"… and {count - SHOWN} more")
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Misused(
            f"this {VERBS[change.action]} {counted(count, 'run')}",
            code=UNCONFIRMED,
            hint="add --yes to confirm",
        )
    effect = EFFECTS[change.action]
    if change.pointer is not None:
        effect = f"each continues from {change.pointer}"
    write_stderr(f"this {VERBS[change.action]} {counted(count, 'run')}: {effect}")
    if not typer.confirm(f"{change.action.capitalize()} {counted(count, 'run')}?", default=False, err=True):
        raise Refused("not confirmed: nothing was changed", code=UNCONFIRMED)
