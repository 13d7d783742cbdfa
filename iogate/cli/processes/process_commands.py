"""`iogate up`, `serve`, `worker`: their options, and the parts that each of them runs.

`parent_process` runs the parts.
"""

from __future__ import annotations

from typing import Annotated

import typer

from iogate.cli import panels
from iogate.cli.processes.parent_process import Parts, run
from iogate.cli.session import Session, command

HostOption = Annotated[str | None, typer.Option(metavar="HOST", help="Address to listen on.")]
PortOption = Annotated[int | None, typer.Option(metavar="PORT", help="Port to listen on.")]
GatewaysOption = Annotated[int | None, typer.Option(metavar="N", help="Number of gateway processes.")]
WorkersOption = Annotated[int | None, typer.Option(metavar="N", help="Number of worker processes.")]
ConcurrencyOption = Annotated[int | None, typer.Option(metavar="N", help="Concurrent runs per worker.")]
RedisOption = Annotated[str | None, typer.Option(metavar="URL", help="URL of the store.")]
LogsOption = Annotated[str | None, typer.Option(metavar="text|json", help="Format of the log on stderr.")]


def register(app: typer.Typer) -> None:
    command(app, "up", rich_help_panel=panels.PROCESSES)(up)
    command(app, "serve", rich_help_panel=panels.PROCESSES)(serve)
    command(app, "worker", rich_help_panel=panels.PROCESSES)(worker)


async def up(
    session: Session,
    host: HostOption = None,
    port: PortOption = None,
    gateways: GatewaysOption = None,
    workers: WorkersOption = None,
    concurrency: ConcurrencyOption = None,
    redis_url: RedisOption = None,
    log_format: LogsOption = None,
    no_apply: Annotated[
        bool, typer.Option("--no-apply", help="Serve the live revision without an apply.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Apply again after each change of a file.")] = False,
) -> None:
    """Start store, gateways and workers on this machine, and apply apis.d and workflows.d."""
    flags = {
        "host": host,
        "port": port,
        "gateways": gateways,
        "workers": workers,
        "concurrency": concurrency,
        "redis_url": redis_url,
        "log_format": log_format,
    }
    await run(session, flags, Parts(gateways=True, workers=True, apply=not no_apply, watch=watch))


async def serve(
    session: Session,
    host: HostOption = None,
    port: PortOption = None,
    gateways: GatewaysOption = None,
    redis_url: RedisOption = None,
    log_format: LogsOption = None,
) -> None:
    """Start gateways, which accept calls of the live APIs."""
    flags = {
        "host": host,
        "port": port,
        "gateways": gateways,
        "redis_url": redis_url,
        "log_format": log_format,
    }
    await run(session, flags, Parts(gateways=True))


async def worker(
    session: Session,
    workers: WorkersOption = None,
    concurrency: ConcurrencyOption = None,
    redis_url: RedisOption = None,
    log_format: LogsOption = None,
) -> None:
    """Start workers, which execute the runs in the store."""
    flags = {
        "workers": workers,
        "concurrency": concurrency,
        "redis_url": redis_url,
        "log_format": log_format,
    }
    await run(session, flags, Parts(workers=True))
