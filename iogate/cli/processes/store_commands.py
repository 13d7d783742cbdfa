"""`iogate store`: drain it for a planned failover, resume it, adopt data of an earlier release."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from iogate.cli import panels
from iogate.cli.options import parse_seconds
from iogate.cli.session import Session, author, command, recorded_change
from iogate.errors import Misused, Refused

if TYPE_CHECKING:
    from iogate.settings import Settings
    from iogate.store.store import Store

group = typer.Typer(
    help="Drain and resume the store for a failover, adopt data of an earlier release.", no_args_is_help=True
)

NOT_ADOPTED = "IOG674"
LEAST_S, MOST_S = 1.0, 3600.0

ForOption = Annotated[
    str, typer.Option("--for", metavar="TIME", help="Time after which the store resumes by itself, 1s to 1h.")
]
ReasonOption = Annotated[str, typer.Option(help="Reason, recorded in the activity.")]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="store", rich_help_panel=panels.PROCESSES)


@command(group, "drain")
async def drain(session: Session, for_: ForOption = "60s", reason: ReasonOption = "") -> None:
    """Stop all writes and wait until every replica has all data, to prepare a failover.

    Gateways respond 503 with Retry-After and workers keep their runs until `iogate store resume`.

    Raises:
        Misused: `--for` is not from 1s to 1h.
    """
    from iogate.store.runs.presentation import rfc3339

    for_s = parse_seconds(for_, "--for") or 0.0
    if not LEAST_S <= for_s <= MOST_S:
        raise Misused(f"--for {for_}: expected a duration from 1s to 1h")
    async with session.store(session.settings(), changes=True) as store:
        async with recorded_change(store, "store.drain", "store", (), reason):
            drained, replication = await store.drains.drain(author(), for_s)
        address = store.address
    until = rfc3339(drained.until_ms)
    session.screen.data(
        "store.drain",
        {"store": address, "until": until, "offset": replication.offset, "replicas": replication.replicas},
        [
            f"drained until {until}: {', '.join(replication.replicas)}"
            f" {'has' if len(replication.replicas) == 1 else 'have'} all data, offset {replication.offset}"
        ],
    )
    session.screen.note("\nfail over now, then:  iogate store resume")


@command(group, "resume")
async def resume(session: Session, reason: ReasonOption = "") -> None:
    """Resume after a failover: gateways accept calls again, workers continue."""
    async with session.store(session.settings(), changes=True) as store:
        async with recorded_change(store, "store.resume", "store", (), reason):
            known = await store.drains.resume()
        address = store.address
    session.screen.data(
        "store.resume",
        {"store": address, "drained": known is not None, "by": known.by if known is not None else None},
        ["resumed" if known is not None else "the store was not drained"],
    )


@command(group, "adopt")
async def adopt(
    session: Session,
    trust_all: Annotated[
        bool,
        typer.Option(
            "--trust-all",
            help="Sign all data, whatever its signature: only if no one else could write to the store.",
        ),
    ] = False,
) -> None:
    """Sign data of an earlier release with the link_key of this machine.

    Raises:
        Refused: processes use the store, or unsigned data is not from an earlier release.
        WrongStore: the form of the store was set back.
    """
    import msgspec

    from iogate.cli.processes import store_opening
    from iogate.cli.render import write_stderr
    from iogate.security.redaction_patterns import redact_url

    settings = session.settings()
    async with _store_url(session, settings) as url:
        write_stderr(f"store: {redact_url(url)}", style="bright_black")
        embedded = settings.redis_url is None
        store = await store_opening.open_to_adopt(settings, url)
        try:
            await _check_unused(store)
            if not trust_all:
                if not await store.is_older():
                    raise Refused(
                        "the store was written by this release: unsigned data in it comes from a program "
                        "without the key",
                        code=NOT_ADOPTED,
                        hint="if the key was lost and no one else can write to the store, sign all data "
                        "with `iogate store adopt --trust-all`",
                    )
                await store_opening.check_older(settings, store, url, embedded=embedded)
            found = await store_opening.sign_all(
                settings, store, url, embedded=embedded, say=session.screen.note
            )
        finally:
            await store.close()
    session.screen.data("store.adopt", msgspec.to_builtins(found), [store_opening.summarize_adoption(found)])


@asynccontextmanager
async def _store_url(session: Session, settings: Settings) -> AsyncIterator[str]:
    """Yield the store's URL for `iogate store adopt`; start an embedded store that has data but does not run.

    `up` stops a store that it refuses, so it may not be running. Raises Unreachable without a store.
    """
    from iogate.cli.processes.embedded_store import supervised_store
    from iogate.store.embedded.data_folder import has_store

    if settings.redis_url is None and has_store(settings.data_dir):
        async with supervised_store(settings) as url:
            yield url
    else:
        yield session.store_url(settings)


async def _check_unused(store: Store) -> None:
    """Raise Refused if gateways or workers use the store, before `iogate store adopt`."""
    there = [*await store.presence.list("gateway"), *await store.presence.list("worker")]
    if there:
        raise Refused(
            f"{len(there)} gateways and workers use the store: {there[0].id} and others"
            if len(there) > 1
            else f"{there[0].kind} {there[0].id} uses the store",
            code=NOT_ADOPTED,
            hint="stop them on every machine, wait 15 s, and try again: data that they write meanwhile "
            "would not be signed",
        )
