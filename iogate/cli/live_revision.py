"""The live revision, for commands that need one, and options that name a revision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from iogate.cli import completion
from iogate.errors import NotFound

if TYPE_CHECKING:
    from iogate.compiler.revision import Revision
    from iogate.store.store import Store

RevisionArgument = Annotated[
    int | None,
    typer.Argument(
        metavar="N",
        min=1,
        help="Number of the revision; default: the live one.",
        autocompletion=completion.revisions,
        show_default=False,
    ),
]


async def live_number(store: Store) -> int:
    """Return the number of the live revision.

    Raises:
        NotFound: nothing was applied yet.
    """
    live = await store.revisions.live()
    if live is None:
        raise NotFound("no revision was applied yet", hint='publish one with "iogate apply"')
    return live[0]


async def live_revision(store: Store) -> tuple[int, Revision]:
    """Return the number and the content of the live revision.

    Raises:
        NotFound: nothing was applied yet.
        NotAuthentic: the revision is forged.
    """
    number = await live_number(store)
    return number, await store.revisions.load(number, project=store.revisions.project)
