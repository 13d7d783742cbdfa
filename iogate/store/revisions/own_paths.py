"""Own paths of APIs in a store that several projects share: no two APIs have the same one.

Used by `Revisions` before it publishes, and by plans. Invariant: the live revisions that were compared are
those that the publish expects, so that no other project can take a path in between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from iogate.compiler.revision import Revision
from iogate.errors import NotFound, Refused, WrongStore
from iogate.store.revisions.projects import LiveRevisions


class Taken(NamedTuple):
    """A path that an API wants, and the API of another project that has it."""

    api: str
    path: str
    holder: str
    project: str

    def __str__(self) -> str:
        return f"path {self.path} of {self.api} is that of {self.holder} (of project {self.project})"


class PathTaken(Refused):
    """Error of a publish that would take paths from APIs of other projects."""

    def __init__(self, project: str, taken: list[Taken]) -> None:
        more = f" and {len(taken) - 8} more" if len(taken) > 8 else ""
        super().__init__(
            f"project {project} cannot publish paths of another project: "
            f"{', '.join(map(str, taken[:8]))}{more}",
            code="IOG635",
            hint="give it another path, or remove it in the other project first",
        )
        self.taken = tuple(taken)


async def find_taken(
    revision: Revision,
    project: str,
    found: LiveRevisions,
    load: Callable[[int, str], Awaitable[Revision]],
) -> list[Taken]:
    """Return the own paths of a revision that live revisions of other projects have.

    `load` returns the revision with a number and a project. One that it refuses, or that another release
    wrote, has no paths here: gateways do not serve it either.
    """
    wanted = {own[0].lower(): api for api in revision.apis.values() if (own := api.own_path) is not None}
    taken: list[Taken] = []
    if not wanted:
        return taken
    for other, (number, _) in sorted(found.live.items()):
        if other == project:
            continue
        try:
            live = await load(number, other)
        except (Refused, NotFound, WrongStore):
            continue
        for holder in live.apis.values():
            own = holder.own_path
            if own is not None and (api := wanted.get(own[0].lower())) is not None:
                taken.append(Taken(api.id, own[0], holder.id, other))
    return taken
