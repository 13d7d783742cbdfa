"""Changes of several runs, by id or by filter, for `runs cancel`, `retry`, `prune` and others.

Invariant: a run that cannot be changed does not prevent changes of others, and the changed runs are printed
before the error. Without `--yes`, the runs that match a filter are only listed.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from iogate.cli.messages import counted, did_you_mean
from iogate.cli.render import plain_table, write_stderr
from iogate.cli.runs.run_display import run_table
from iogate.cli.runs.run_outcome import is_uid, run_not_found
from iogate.cli.session import Session
from iogate.errors import Misused, NotFound, Refused, Unreachable

if TYPE_CHECKING:
    from iogate.store.runs.operations import Summary
    from iogate.store.store import Store

SHOWN = 10
"""Most runs that are listed before a confirmation."""


def require_confirmation(verb: str, runs: Sequence[Summary], *, yes: bool, count: int | None = None) -> None:
    """List the first of the runs on stderr and raise, unless `yes` is true.

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


async def require_known_api(store: Store, api: str | None) -> None:
    """Check that an API exists, so that a mistyped name does not look like an API without runs.

    Raises:
        NotFound: neither a live API nor a schedule has this name.
    """
    from iogate.compiler.schedules import PREFIX

    if api is None:
        return
    live = await store.revisions.live()
    apis = (await store.revisions.load(live[0])).apis if live is not None else {}
    known = [*apis, *(PREFIX + name for name in await store.schedules.upcoming())]
    if api not in known:
        raise NotFound(f"no API {api}{did_you_mean(api, known)}", hint='list them with "iogate api list"')


@asynccontextmanager
async def operation_id(by_id: str | None) -> AsyncIterator[str]:
    """Yield the id that makes a command idempotent: the given one, else a random one.

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


async def change_each(
    uids: Sequence[str], change: Callable[[str], Awaitable[bool]]
) -> tuple[list[str], list[Refused | NotFound]]:
    """Change runs one by one; return the uids of the changed ones and the errors of others.

    `change` returns whether it changed the run, or raises Refused or NotFound.
    """
    changed: list[str] = []
    left: list[Refused | NotFound] = []
    for uid in uids:
        try:
            if not is_uid(uid):
                raise run_not_found(uid)
            if await change(uid):
                changed.append(uid)
        except (Refused, NotFound) as error:
            left.append(error)
    return changed, left


def report_changes(
    session: Session, schema: str, verb: str, changed: list[str], left: list[Refused | NotFound]
) -> None:
    """Print the changed runs.

    Raises the most severe of the errors in `left`, with the number of the others.
    """
    session.screen.data(schema, {verb: changed}, [f"{verb} {uid}" for uid in changed])
    if left:
        worst = max(left, key=lambda error: error.exit_code)
        more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
        raise type(worst)(f"{worst.message}{more}", code=worst.code, hint=worst.hint)
