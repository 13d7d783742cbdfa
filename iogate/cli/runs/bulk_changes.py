"""Changes of several runs, by id or by filter, for `runs cancel`, `retry`, `prune` and others.

Invariant: a run that cannot be changed does not prevent changes of others, and the changed runs are printed
before the error. Without `--yes`, the runs that match a filter are only listed.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iogate.cli.render import plain_table, write_stderr
from iogate.cli.runs.run_display import run_table
from iogate.cli.runs.run_filters import Filters
from iogate.cli.session import Session, author
from iogate.errors import Misused, NotFound, Refused, Unreachable
from iogate.messages import counted

if TYPE_CHECKING:
    from iogate.operators.access import Actor
    from iogate.store.runs.operations import Summary
    from iogate.store.store import Store

MAX_BULK = 100_000
"""Most runs that one command changes by filters."""
SHOWN = 10
"""Most runs that are listed before a confirmation."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Runs that a command changes: named by their ids, or by filters.

    Raises:
        Misused: there are both ids and filters, or neither.
    """

    uids: Sequence[str] | None
    filters: Filters

    def __post_init__(self) -> None:
        if bool(self.uids) == self.by_filter:
            raise Misused(
                "give either the ids of runs, or a filter such as --api, --workflow, --status or --since"
            )

    @property
    def by_filter(self) -> bool:
        """Whether filters choose the runs of a bulk change."""
        return self.filters.are_given

    async def resolve(
        self, session: Session, store: Store, verb: str, statuses: Collection[str], *, yes: bool
    ) -> list[str]:
        """Return the uids of the runs to change; of those that match filters, those with one of `statuses`.

        Raises:
            Misused: a filter is invalid, or `yes` is false and runs match.
            NotFound: there is no such API.
        """
        from msgspec.structs import replace

        if not self.by_filter:
            return list(self.uids or ())
        wanted = self.filters.parse()
        matching = [each for each in wanted.statuses or statuses if each in statuses]
        runs: list[Summary] = []
        if matching:
            page = await store.runs.page(
                replace(wanted, statuses=matching), limit=MAX_BULK, most=None, most_s=math.inf
            )
            runs = page.runs
        if not runs:
            from iogate.operators.runs.run_actions import require_known_api

            await require_known_api(store, self.filters.api)
            session.screen.note("no run matches the filters")
        require_confirmation(verb, runs, yes=yes)
        return [each.uid for each in runs]


def require_confirmation(verb: str, runs: Sequence[Summary], *, yes: bool, count: int | None = None) -> None:
    """List the first runs of a bulk change on stderr and raise, unless `yes` is true.

    `count` is the number of all runs if `runs` is only a part of them.

    Raises:
        Misused: `yes` is false and there are runs.
    """
    count = len(runs) if count is None else count
    from iogate.store.runs.presentation import list_item

    if yes or not runs:
        return
    write_stderr(plain_table(run_table([list_item(each) for each in runs[:SHOWN]])))
    if count > SHOWN:
        write_stderr(f"… and {count - SHOWN} more")
    raise Misused(f"this {verb} {counted(count, 'run')}", hint="add --yes to confirm")


@asynccontextmanager
async def operation_id(by_id: str | None) -> AsyncIterator[str]:
    """Yield the id that makes a bulk change idempotent: the given one, else a random one.

    Raises:
        Unreachable: the store did not respond, so that some runs may have changed; the hint has the id.
    """
    from iogate.store.connection.failures import StoreUnavailable

    operation = by_id or secrets.token_hex(6)
    try:
        yield operation
    except StoreUnavailable as error:
        raise Unreachable(
            f"{error.message}: some runs may have been changed",
            code="IOG655",
            hint=f"repeat the command with --id {operation}, which changes no run twice",
        ) from None


@dataclass(kw_only=True)
class Changes:
    """Changes of runs by one command: a run that cannot be changed does not prevent those of others."""

    store: Store
    actor: Actor
    command: str
    """Name of the command below `runs`."""
    verb: str
    """Past tense of the command."""
    operation: str
    """Id of the command; repeated with the same id, it changes no run twice."""
    reason: str = ""
    changed: list[str] = field(default_factory=list)
    """Uids of the changed runs."""
    left: list[Refused | NotFound] = field(default_factory=list)
    """Errors of the runs that cannot be changed."""

    async def apply(self, uids: Sequence[str], change: Callable[[str], Awaitable[bool]]) -> None:
        """Change runs one by one; `change` returns whether it did, or raises Refused or NotFound."""
        from iogate.operators.activity import Record, recorded, target
        from iogate.operators.runs.run_details import is_uid, run_not_found

        if not uids:
            return
        record = Record()
        async with recorded(
            self.store,
            self.actor,
            f"runs.{self.command}",
            target("run", uids),
            self.reason,
            record=record,
        ):
            for uid in uids:
                try:
                    if not is_uid(uid):
                        raise run_not_found(uid)
                    if await change(uid):
                        self.changed.append(uid)
                except (Refused, NotFound) as error:
                    self.left.append(error)
            record.count = len(self.changed)
            record.note = f"{self.verb} {len(self.changed)}"
            if self.left:
                record.note += f", left {len(self.left)}: {self.left[0].message}"
                record.outcome = "done" if self.changed else "refused"


@asynccontextmanager
async def change_runs(
    session: Session, command: str, verb: str, by_id: str | None, reason: str = ""
) -> AsyncIterator[Changes]:
    """Yield the changes of a command, and print the changed runs afterwards, with the verb in the past tense.

    Raises:
        NotFound, Refused: some runs cannot be changed: the most severe of the errors.
        Unreachable: as `operation_id` does.
    """
    async with session.store(session.settings(), changes=True) as store, operation_id(by_id) as operation:
        from iogate.operators.access import command_actor

        actor = command_actor(author())
        changes = Changes(
            store=store, actor=actor, command=command, verb=verb, operation=operation, reason=reason
        )
        yield changes
    _report(session, f"runs.{command}", verb, changes.changed, changes.left)


def _report(
    session: Session, schema: str, verb: str, changed: list[str], left: list[Refused | NotFound]
) -> None:
    """Print the runs that a bulk change has changed.

    Raises the most severe of the errors in `left`, with the number of the others.
    """
    session.screen.data(schema, {verb: changed}, [f"{verb} {uid}" for uid in changed])
    if left:
        worst = max(left, key=lambda error: error.exit_code)
        more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
        raise type(worst)(f"{worst.message}{more}", code=worst.code, hint=worst.hint)
