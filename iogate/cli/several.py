"""Changing several runs by their ids, for `runs cancel`, `retry`, `suspend` and `resume`.

Invariant: a run that cannot be changed keeps no other one back, and what was done is said before the failure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from iogate.cli.session import Session
from iogate.errors import NotFound, Refused


async def one_by_one(
    uids: Sequence[str], change: Callable[[str], Awaitable[bool]]
) -> tuple[list[str], list[Refused | NotFound]]:
    """Change the runs: those that were changed, and why others could not be.

    `change` tells whether it changed the run; where it must not, it raises.
    """
    changed: list[str] = []
    left: list[Refused | NotFound] = []
    for uid in uids:
        try:
            if not is_uid(uid):
                raise no_run(uid)
            if await change(uid):
                changed.append(uid)
        except (Refused, NotFound) as error:
            left.append(error)
    return changed, left


def say_done(
    session: Session, schema: str, verb: str, changed: list[str], left: list[Refused | NotFound]
) -> None:
    """Say which runs were changed; then fail with the worst of why others were not."""
    session.screen.data(schema, {verb: changed}, [f"{verb} {uid}" for uid in changed])
    if left:
        worst = max(left, key=lambda error: error.exit_code)
        more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
        raise type(worst)(f"{worst.message}{more}", code=worst.code, hint=worst.hint)


def is_uid(text: str) -> bool:
    return text.isascii() and text.isdigit()


def no_run(uid: str) -> NotFound:
    return NotFound(f"no run {uid}", hint="finished runs are kept for the retention of their API")
