"""`iogate store`: drain it before a planned failover, open it again, adopt what an earlier release wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from iogate.cli.options import parse_seconds
from iogate.cli.session import Session, author, command
from iogate.errors import Misused, Refused

if TYPE_CHECKING:
    from iogate.settings import Settings
    from iogate.store.store import Store

group = typer.Typer(help="Drain the store for a failover, adopt an older one.", no_args_is_help=True)

NOT_ADOPTED = "IOG674"
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
    from iogate.store.runs.presentation import rfc3339

    for_s = parse_seconds(for_, "--for") or 0.0
    if not LEAST_S <= for_s <= MOST_S:
        raise Misused(f"--for {for_}: expected a length from 1s to 1h")
    async with session.store(session.settings(), changes=True) as store:
        drained, replication = await store.drains.drain(author(), for_s)
        address = store.address
    until = rfc3339(drained.until_ms)
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


@command(group, "adopt")
async def adopt(
    session: Session,
    trust_all: Annotated[
        bool,
        typer.Option(
            "--trust-all", help="Sign what another key signed, or nobody: only if nobody else could write."
        ),
    ] = False,
) -> None:
    """Sign what an earlier release stored, with the link_key of this machine."""
    import msgspec

    from iogate.cli.processes import keys
    from iogate.cli.render import write_stderr
    from iogate.settings.redis_url import mask

    settings = session.settings()
    async with _store_url(session, settings) as url:
        write_stderr(f"store: {mask(url)}", style="bright_black")
        embedded = settings.redis_url is None
        store = await keys.open_to_adopt(settings, url)
        try:
            await _check_unused(store)
            if not trust_all:
                if not await store.is_older():
                    raise Refused(
                        "the store is of this release: what is not signed in it was written by something "
                        "without the key",
                        code=NOT_ADOPTED,
                        hint="if the key was lost and nobody else can write to the store, sign everything "
                        "with `iogate store adopt --trust-all`",
                    )
                await keys.check_older(settings, store, url, embedded=embedded)
            found = await keys.sign_all(settings, store, url, embedded=embedded, say=session.screen.note)
        finally:
            await store.close()
    session.screen.data("store.adopt", msgspec.to_builtins(found), [keys.summarize_adoption(found)])


@asynccontextmanager
async def _store_url(session: Session, settings: Settings) -> AsyncIterator[str]:
    """Yield the URL of the store; an embedded one that has files and does not run is started meanwhile.

    `up` does not keep a store running that it refuses. Raises Unreachable where there is no store.
    """
    from iogate.cli.processes.embedded_store import supervised_store

    if settings.redis_url is None and (settings.data_dir / "redis").is_dir():
        async with supervised_store(settings) as url:
            yield url
    else:
        yield session.store_url(settings)


async def _check_unused(store: Store) -> None:
    """Raise Refused if gateways or workers use the store."""
    there = [*await store.presence.list("gateway"), *await store.presence.list("worker")]
    if there:
        raise Refused(
            f"{len(there)} gateways and workers use the store: {there[0].id} and others"
            if len(there) > 1
            else f"{there[0].kind} {there[0].id} uses the store",
            code=NOT_ADOPTED,
            hint="stop them on every machine, wait 15 s, and try again: what they write meanwhile would "
            "not be signed",
        )
