"""The compiler's way to the network: documents that workflows name by URL, with what they present there.

Made by the command line and the test harness, handed to `compile_documents`. A document is fetched as a
workflow's one call of HTTP would fetch it, so that policies, secrets, `endpoints`, `allow_hosts` and
errors are what they are in a run.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from iogate.compiler import program
from iogate.compiler.checks import origins
from iogate.compiler.sources import MAX_BYTES, Fetch, FetchFailed
from iogate.effects.calls import HttpCalls
from iogate.effects.http.failures import CallFailed
from iogate.engine.advance import Environment, RunFacts, advance
from iogate.engine.commands import CallHttp
from iogate.engine.state.run_state import State
from iogate.errors import for_operators
from iogate.security import secrets
from iogate.settings import Settings

TIMEOUT_S: Final = 30.0

_HEAD: Final = {"dsl": "1.0.3", "namespace": "iogate", "name": "fetch", "version": "1.0.0"}


def fetcher(settings: Settings, root: Path, *, values: Mapping[str, Any] | None = None) -> Fetch:
    """A function that fetches; it may be called where an event loop runs, and holds it up.

    `values` are the secrets, where they do not come from the settings.
    """

    def fetch(uri: str, policy: Mapping[str, Any] | None, *, foreign: bool) -> bytes:
        known = _secrets(settings, root) if values is None else values
        call = replace(_call(uri, policy, known), foreign=foreign)
        follows = partial(origins.is_named, origins=settings.function_origins)
        # A trusted server that redirects elsewhere, by mistake or by design, lends its trust to nobody.
        trusted = follows if follows(uri) else None
        return _in_thread(lambda: asyncio.run(_fetched(call, settings, trusted)))

    return fetch


def _call(uri: str, policy: Mapping[str, Any] | None, known: Mapping[str, Any]) -> CallHttp:
    endpoint = {"uri": uri, **({"authentication": policy} if policy else {})}
    task = {"fetch": {"call": "http", "with": {"method": "get", "endpoint": endpoint, "redirect": True}}}
    definition = {"document": _HEAD, "use": {"secrets": list(known)}, "do": [task]}
    facts = RunFacts(uid="fetch", started_at_ms=0, input={})
    now_ms = int(time.time() * 1000)  # a client assertion carries it
    step = advance(program.load(definition), State(), (), now_ms, facts, Environment(secrets=known))
    for perform in step.performs:
        if isinstance(perform.effect, CallHttp):
            return replace(perform.effect, headers={"Accept": "*/*"})
    detail = str((step.state.error or {}).get("detail") or "its address is none")
    raise FetchFailed(detail.removeprefix('task "fetch": '))


async def _fetched(call: CallHttp, settings: Settings, follows: Callable[[str], bool] | None) -> bytes:
    http = HttpCalls(
        allow_hosts=settings.allow_hosts,
        endpoints=settings.endpoints,
        redis_url=settings.redis_url,
        max_response=MAX_BYTES,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await http.fetch(call, follows)
    except CallFailed as failed:
        error = failed.error
        raise FetchFailed(for_operators(error.detail or "the call failed", error.to_json())) from None
    except TimeoutError:
        raise FetchFailed(f"no whole answer within {TIMEOUT_S:g} s") from None
    finally:
        await http.close()


def _in_thread(work: Callable[[], bytes]) -> bytes:
    """Do the work where no event loop runs."""
    outcome: list[bytes | BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as fault:  # noqa: BLE001 - it is raised where it is waited for
            outcome.append(fault)

    thread = threading.Thread(target=run, name="iogate-fetch", daemon=True)
    thread.start()
    thread.join()
    (result,) = outcome
    if isinstance(result, BaseException):
        raise result
    return result


def _secrets(settings: Settings, root: Path) -> dict[str, Any]:
    """What the settings name and this machine has."""
    known: dict[str, Any] = {}
    for name, source in settings.secrets.items():
        ((kind, value),) = source.items()
        with suppress(secrets.Unset):
            known[name] = _parsed(secrets.resolve(kind, value, root=root))
    return known


def _parsed(text: str) -> Any:
    """A secret whose text is a JSON object is that object."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
