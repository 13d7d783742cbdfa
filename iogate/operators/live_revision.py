"""The live revision and its APIs, for operations that need them.

Used by the other modules of this package, and by commands.
"""

from __future__ import annotations

from iogate.compiler.revision import Api, Revision
from iogate.errors import NotFound
from iogate.messages import did_you_mean
from iogate.store.store import Store


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
