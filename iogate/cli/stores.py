"""`iogate store`: close the store before a planned failover, and open it again."""

from __future__ import annotations

from typing import Annotated

import typer

from iogate.cli.options import seconds
from iogate.cli.session import Session, author, command
from iogate.errors import Misused

group = typer.Typer(help="Prepare the store for a planned failover.", no_args_is_help=True)

LEAST_S, MOST_S = 1.0, 3600.0

ForOption = Annotated[
    str, typer.Option("--for", metavar="TIME", help="When the store opens by itself, 1s to 1h.")
]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="store", rich_help_panel="Processes")


@command(group, "drain")
async def drain(session: Session, for_: ForOption = "60s") -> None:
    """Stop all acceptance and all commits until every replica has everything; then fail over.

    Gateways answer 503 with Retry-After, workers keep their runs. `iogate store resume` opens the store.
    """
    from iogate.store.reading import moment

    for_s = seconds(for_, "--for") or 0.0
    if not LEAST_S <= for_s <= MOST_S:
        raise Misused(f"--for {for_}: expected a length from 1s to 1h")
    async with session.store(session.settings(), changes=True) as store:
        drained, replication = await store.drains.drain(author(), for_s)
        address = store.address
    until = moment(drained.until_ms)
    session.screen.data(
        "store.drain",
        {"store": address, "until": until, "offset": replication.offset, "replicas": replication.replicas},
        [
            f"drained until {until}: {', '.join(replication.replicas)}"
            f" {'has' if len(replication.replicas) == 1 else 'have'} everything, offset {replication.offset}"
        ],
    )
    session.screen.note("\nfail over now, then:  iogate store resume")


@command(group, "resume")
async def resume(session: Session) -> None:
    """Open the store after a failover: gateways accept again, workers go on."""
    async with session.store(session.settings(), changes=True) as store:
        known = await store.drains.resume()
        address = store.address
    session.screen.data(
        "store.resume",
        {"store": address, "drained": known is not None, "by": known.by if known is not None else None},
        ["open again" if known is not None else "it was not drained"],
    )
