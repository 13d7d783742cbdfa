"""The live revision and its APIs, for operations that need them.

Used by the other modules of this package, and by commands.
"""

from __future__ import annotations

from typing import Final

from iogate.compiler.revision import Api, Revision
from iogate.errors import NotFound
from iogate.messages import did_you_mean, quoted
from iogate.store.store import Store

NO_PROJECT: Final = "IOG802"


async def of_project(store: Store, name: str | None, default: str) -> Store:
    """Return the store for one project: the one with this name, or the default one.

    Raises NotFound if no live revision is of the named project.
    """
    if name is None:
        return store.of_project(default)
    found = await store.revisions.live_of_all()
    known = {*found.live, *found.invalid}
    if name not in known:
        raise NotFound(
            f"no project {quoted(name)} has a live revision{did_you_mean(name, known)}",
            code=NO_PROJECT,
            hint='"iogate status" lists the projects',
        )
    return store.of_project(name)


async def live_number(store: Store) -> int:
    """Return the number of the live revision.

    Raises NotFound if nothing was applied yet.
    """
    live = await store.revisions.live()
    if live is None:
        raise NotFound("no revision was applied yet", hint='publish one with "iogate apply"')
    return live[0]


async def live_revision(store: Store) -> tuple[int, Revision]:
    """Return the number and the content of the live revision.

    Raises NotFound if nothing was applied yet, NotAuthentic if the revision is forged.
    """
    number = await live_number(store)
    return number, await store.revisions.load(number, project=store.revisions.project)


def find_api(revision: Revision, api: str) -> Api:
    """Return an API of the live revision by its id.

    Raises NotFound if the revision has no such API.
    """
    known = revision.apis.get(api)
    if known is None:
        raise NotFound(
            f"no live API {api}{did_you_mean(api, revision.apis)}",
            hint='list them with "iogate api list", publish new ones with "iogate apply"',
        )
    return known
