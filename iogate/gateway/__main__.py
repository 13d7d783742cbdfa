"""`python -m iogate.gateway`: one gateway process, as a supervising parent starts it.

The settings come through the handover of the parent; the current folder is the project's.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from iogate import logs, settings
from iogate.errors import IogateError
from iogate.gateway import app, http_server, sockets
from iogate.gateway.audience import Audience
from iogate.gateway.authentication.key_fetcher import KeyFetcher
from iogate.gateway.authentication.key_sets import KeySets
from iogate.gateway.authentication.run_links import Links
from iogate.gateway.calls.call_handler import CallHandler
from iogate.gateway.certificates import Certificates
from iogate.gateway.client_connections import ConnectionCloser
from iogate.gateway.http.access_log import AccessLog
from iogate.gateway.http.body import Bodies
from iogate.gateway.http.client_address import TrustedProxies
from iogate.gateway.http.hosts import Hosts
from iogate.gateway.http.large_responses import LargeResponses
from iogate.gateway.http.origins import Origins
from iogate.gateway.idle_connections import IdleConnections
from iogate.gateway.observability.shared_metrics import SharedMetrics
from iogate.gateway.revision_refresher import Refresher
from iogate.gateway.runs.run_stream import Streams
from iogate.gateway.state import GatewayState
from iogate.security.keyring import missing
from iogate.settings.events import senders
from iogate.settings.urls import is_loopback
from iogate.store.integrity import trust
from iogate.store.runs.uids import UidSource
from iogate.supervision import handover
from iogate.telemetry import startup as telemetry

if TYPE_CHECKING:
    import socket

    from iogate.settings import Settings
    from iogate.telemetry.tracing import Tracing

log = logging.getLogger("iogate.gateway")

FIRST_S = 3.0


def find_store(chosen: Settings) -> str:
    """Return the URL of the gateway's store; the embedded one may start later than its gateway.

    Raises NoStore if `redis_url` is not set and no embedded store runs, Unreachable if it does not answer.
    """
    from iogate.store.embedded.server import embedded_url  # noqa: PLC0415 - not needed beside a redis_url

    return chosen.redis_url or embedded_url(chosen.data_dir)


def _start_tracing() -> Tracing | None:
    """Create the tracer of this gateway; None unless OpenTelemetry's variables name a collector."""
    return telemetry.start({**os.environ, **handover.variables()})


def _open_operators(state: GatewayState, chosen: Settings, key: str) -> None:
    """Open the HTTP API of operators; a gateway without operators does not load its modules."""
    from iogate.gateway.console.session import Sessions  # noqa: PLC0415 - see above
    from iogate.gateway.operators.operator_api import OperatorApi  # noqa: PLC0415 - see above
    from iogate.operators.operator_tokens import OperatorTokens  # noqa: PLC0415 - see above
    from iogate.settings.operators import declared  # noqa: PLC0415 - see above

    access = OperatorTokens(declared(chosen.operators), root=state.root, fingerprint=state.fingerprint)
    state.operators = OperatorApi(state, access)
    state.sessions = Sessions(key, chosen.previous_link_keys)


def _audiences(chosen: Settings) -> tuple[Audience, ...]:
    """Return the audiences of the gateway's ports; the first one is that of the setting `port`."""
    if chosen.console_port is None or not chosen.operators:
        return (Audience.ALL,)
    return (Audience.CALLERS, Audience.OPERATORS)


def _listen(chosen: Settings, audience: Audience) -> socket.socket:
    """Return the listening socket of a port. Raises as `sockets.listen` does."""
    if audience is Audience.OPERATORS and chosen.console_port is not None:
        found = sockets.inherited_or_own(
            chosen.host, chosen.console_port, variable=sockets.CONSOLE_FD, hint=sockets.CONSOLE_HINT
        )
    else:
        found = sockets.inherited_or_own(chosen.host, chosen.port)
    sockets.limit_writes(found, chosen.write_timeout)
    return found


async def run(chosen: Settings) -> None:
    """Run the gateway process: build it, and serve until a signal ends it.

    Raises Misused if `link_key` is missing.
    """
    bracketed = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
    scheme = "https" if chosen.tls else "http"
    key = trust.link_key(chosen)
    if key is None:
        raise missing("a gateway signs the runs that it accepts")
    fetcher = KeyFetcher(chosen)
    state = GatewayState(
        settings=chosen,
        links=Links(key, chosen.previous_link_keys),
        loopback=is_loopback(chosen.host),
        public_url=chosen.public_url or f"{scheme}://{bracketed}:{chosen.port}",
        access_log=AccessLog(chosen.access_log),
        hosts=Hosts(
            chosen.hosts,
            listens_on=chosen.host,
            public_url=chosen.public_url,
            loopback=is_loopback(chosen.host),
        ),
        origins=Origins(chosen.cors, public_url=chosen.public_url),
        trusted_proxies=TrustedProxies(chosen.trusted_proxies) if chosen.trusted_proxies else None,
        bodies=Bodies(chosen.body_budget),
        root=Path.cwd(),
        key_sets=KeySets(fetcher.fetch),
        streams=Streams(chosen.streams),
        senders=senders(chosen.events),
        certificates=Certificates(chosen.tls) if chosen.tls else None,
    )
    ring = trust.gateway_keyring(chosen, Path.cwd())
    refresher = Refresher(
        state, lambda: find_store(chosen), ring, replicas=chosen.confirming, data_dir=chosen.data_dir
    )
    if chosen.operators:
        _open_operators(state, chosen, key)
    listening = {audience: _listen(chosen, audience) for audience in _audiences(chosen)}
    ports = [each.getsockname()[1] for each in listening.values()]
    state.large_responses = LargeResponses(
        chosen.response_budget, chosen.write_timeout, ConnectionCloser(*ports).close
    )
    tracing = _start_tracing()
    calls = CallHandler(state, refresher, UidSource())
    if tracing is not None:
        # The choice is made here, so that calls without spans cost nothing.
        from iogate.gateway.calls.traced_calls import TracedCallHandler  # noqa: PLC0415 - see above

        calls = TracedCallHandler(state, refresher, UidSource(), tracing, scheme=scheme)
    applications: dict[Audience, Any] = {each: app.build(state, calls, each) for each in listening}
    background = [
        asyncio.create_task(refresher.run(), name="refresh"),
        asyncio.create_task(state.key_sets.run(), name="keys"),
    ]
    if chosen.http2:
        idle = IdleConnections(*ports)
        applications = {each: idle.counting(application) for each, application in applications.items()}
        background.append(asyncio.create_task(idle.run(), name="idle connections"))
    if chosen.gateways > 1:
        folder = chosen.data_dir / "metrics" / str(ports[0])
        state.shared = SharedMetrics(folder, state.snapshot)
        background.append(asyncio.create_task(state.shared.run(), name="metrics"))
    # Other gateways share the port: one that accepts calls before it has the revision would refuse them.
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(refresher.tried.wait(), FIRST_S)
    for audience, port in zip(listening, ports, strict=True):
        log.info(
            "listening on %s:%d%s",
            chosen.host,
            port,
            " for operators" if audience is Audience.OPERATORS else "",
            extra={"action": "gateway.listening", "port": port},
        )
    try:
        await http_server.serve(
            [(applications[each], bound) for each, bound in listening.items()],
            state.drain,
            grace_s=chosen.drain_timeout,
            background=background,
            http2=chosen.http2,
            certificates=state.certificates,
        )
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await refresher.close()
        await fetcher.close()
        await state.validation.close()
        if tracing is not None:
            await tracing.close()


def main() -> int:
    handover.receive()
    chosen = settings.from_environment()
    logs.set_up(chosen.log_format)
    # Objects loaded so far live as long as the process, and calls create no cycles: a collector that runs
    # less often, on fewer objects, raises throughput by 7 %.
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
    try:
        # The server's threads wake the loop twice per call: a loop in C saves a quarter of the time of a
        # call.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(chosen))
    except IogateError as error:
        hint = f" ({error.hint})" if error.hint else ""
        extra = {"action": "gateway.failed", "code": error.code}
        log.error("%s%s", error.message, hint, extra=extra)  # noqa: TRY400 - for people
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
