"""Errors of publishing and loading revisions, each a refusal that changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from iogate.compiler.schedules import PREFIX
from iogate.errors import Refused, Stale

NAMED = 8
"""Number of APIs that a message lists."""


class Conflict(Stale):
    """Error of a publish after another revision went live in between."""

    def __init__(self, live: int, expected: int) -> None:
        super().__init__(
            f"the live revision is {live}, not {expected}: someone else applied in between",
            code="IOG613",
            hint="fetch what they committed, then apply again",
        )
        self.live = live


class Owned(Refused):
    """Error of a publish that would take APIs or schedules from other projects."""

    def __init__(self, project: str, owned: Sequence[tuple[str, str]]) -> None:
        names = ", ".join(f"{_named(api)} (of project {owner})" for api, owner in owned[:NAMED])
        more = f" and {len(owned) - NAMED} more" if len(owned) > NAMED else ""
        verb = "belongs" if len(owned) == 1 else "belong"
        super().__init__(
            f"project {project} cannot publish what {verb} to another project: {names}{more}",
            code="IOG635",
            hint="give it another name, or delete it in the other project first",
        )
        self.owned = tuple(owned)


class Foreign(Refused):
    """Error of a command on APIs that other projects own."""

    def __init__(self, project: str, owned: Sequence[tuple[str, str]]) -> None:
        names = ", ".join(f"{api} belongs to project {owner}" for api, owner in owned)
        super().__init__(
            f"{names}: nothing was changed by project {project}",
            code="IOG636",
            hint="run the command in the folder of that project",
        )


class NotAuthentic(Refused):
    """Error of an object in the store whose signature or digest is not valid."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(
            f"{what} in the store is refused: {why}",
            code="IOG673",
            hint="find out what else writes to the store (`iogate explain IOG673`), then replace what is "
            "refused with `iogate apply --repair`",
        )


def _named(api: str) -> str:
    """Return the name of an API for the error of a refused publish; a schedule is named by its workflow."""
    return f"the schedule of {api.removeprefix(PREFIX)}" if api.startswith(PREFIX) else api
