"""Changes of named runs, for `runs cancel`, `retry` and others.

Invariant: a run that cannot be changed does not prevent changes of others, and the changed runs are printed
before the error. `batches` changes the runs that match a filter.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iogate.cli.runs.run_filters import Filters
from iogate.cli.session import Session
from iogate.errors import Misused, NotFound, Refused

if TYPE_CHECKING:
    from iogate.cli.system.system import RunChange, RunChanges


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Runs that a command changes: named by their ids, or by filters.

    Raises:
        Misused: there are both ids and filters, or neither.
    """

    uids: Sequence[str] | None
    filters: Filters = field(default_factory=Filters)

    def __post_init__(self) -> None:
        if bool(self.uids) == self.by_filter:
            raise Misused(
                "give either the ids of runs, or a filter such as --api, --workflow, --status or --since"
            )

    @property
    def by_filter(self) -> bool:
        """Whether filters choose the runs of a bulk change."""
        return self.filters.are_given


def operation_id(by_id: str | None) -> str:
    """Return the id that makes a bulk change idempotent: the given one, else a random one."""
    return by_id or secrets.token_hex(6)


async def change_runs(session: Session, change: RunChange, selection: Selection) -> None:
    """Change the named runs, and print the changed ones.

    Raises:
        NotFound, Refused: some runs cannot be changed: the most severe of the errors.
        Unreachable: the response was lost, so that some runs may have changed; the hint has the id.
    """
    async with session.system(changes=True) as system:
        changed = await system.runs.change(change, selection.uids or ())
    _report(session, change, changed)


NOTES = {
    ("cancel", "unchanged"): "{} has ended already",
    ("suspend", "requested"): "{} is running: it stops at its next task",
    ("resume", "unchanged"): "{} is not suspended",
}
"""Notes about outcomes of an action on one run."""


def _report(session: Session, change: RunChange, changed: RunChanges) -> None:
    """Print the runs that a bulk change has changed.

    Raises the most severe of the errors, with the number of the others.
    """
    for each in changed.done:
        if note := NOTES.get((change.action, each["outcome"])):
            session.screen.note(note.format(each["uid"]))
        for remark in each.get("remarks", ()):
            session.screen.note(remark)
    uids = [each["uid"] for each in changed.done if each["outcome"] != "unchanged"]
    session.screen.data(
        f"runs.{change.action}", {change.verb: uids}, [f"{change.verb} {uid}" for uid in uids]
    )
    left: list[Refused | NotFound] = changed.left
    if left:
        worst = max(left, key=lambda error: error.exit_code)
        more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
        raise type(worst)(f"{worst.message}{more}", code=worst.code, hint=worst.hint)
