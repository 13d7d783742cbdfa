"""Fetches documents that workflows name by URL, with authentication, for the compiler.

Created by the command line and the test harness, passed to `compile_documents`. A document is fetched like
by a workflow with one HTTP call, so that policies, secrets, `endpoints`, `allow_hosts` and errors are the
same as in a run.
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

from iogate.compiler import program, variables
from iogate.compiler.checks import origins
from iogate.compiler.resources.document_sources import MAX_BYTES, Fetch, FetchFailed
from iogate.effects.http.failures import CallFailed
from iogate.effects.http_calls import HttpCalls
from iogate.engine.advance import Environment, RunFacts, advance
from iogate.engine.commands import CallHttp
from iogate.engine.state.run_state import State
from iogate.errors import for_operators
from iogate.security import secrets
from iogate.settings import Settings

TIMEOUT_S: Final = 30.0

_HEAD: Final = {"dsl": "1.0.3", "namespace": "iogate", "name": "fetch", "version": "1.0.0"}


def make_fetcher(settings: Settings, root: Path, *, values: Mapping[str, Any] | None = None) -> Fetch:
    """Return a function that fetches a document; it blocks a running event loop.

    `values` are the secrets, if they do not come from the settings. The function raises FetchFailed.
    """

    def fetch(uri: str, policy: Mapping[str, Any] | None, *, foreign: bool) -> bytes:
        known = _resolve_secrets(settings, root) if values is None else values
        call = replace(_build_call(uri, policy, known, settings.vars), foreign=foreign)
        may_follow = partial(origins.is_named, origins=settings.function_origins)
        # A redirect of a trusted server to another one does not transfer the trust.
        trusted = may_follow if may_follow(uri) else None
        return _run_in_thread(lambda: asyncio.run(_fetch(call, settings, trusted)))

    return fetch


def _build_call(
    uri: str, policy: Mapping[str, Any] | None, known: Mapping[str, Any], declared: Mapping[str, Any]
) -> CallHttp:
    endpoint = {"uri": uri, **({"authentication": policy} if policy else {})}
    task = {"fetch": {"call": "http", "with": {"method": "get", "endpoint": endpoint, "redirect": True}}}
    definition = {"document": _HEAD, "use": {"secrets": list(known)}, "do": [task]}
    definition = variables.embed(definition, declared)
    facts = RunFacts(uid="fetch", started_at_ms=0, input={})
    now_ms = int(time.time() * 1000)  # a client assertion carries it
    step = advance(program.load(definition), State(), (), now_ms, facts, Environment(secrets=known))
    for perform in step.performs:
        if isinstance(perform.effect, CallHttp):
            return replace(perform.effect, headers={"Accept": "*/*"})
    detail = str((step.state.error or {}).get("detail") or "its address is not valid")
    raise FetchFailed(detail.removeprefix('task "fetch": '))


async def _fetch(call: CallHttp, settings: Settings, may_follow: Callable[[str], bool] | None) -> bytes:
    http = HttpCalls(
        allow_hosts=settings.allow_hosts,
        endpoints=settings.endpoints,
        redis_url=settings.redis_url,
        max_response=MAX_BYTES,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await http.fetch(call, may_follow)
    except CallFailed as failed:
        error = failed.error
        raise FetchFailed(for_operators(error.detail or "the call failed", error.to_json())) from None
    except TimeoutError:
        raise FetchFailed(f"no complete response within {TIMEOUT_S:g} s") from None
    finally:
        await http.close()


def _run_in_thread(work: Callable[[], bytes]) -> bytes:
    """Fetch in a thread without an event loop."""
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


def _resolve_secrets(settings: Settings, root: Path) -> dict[str, Any]:
    """Return the secrets for fetching documents that this machine can resolve."""
    known: dict[str, Any] = {}
    for name, source in settings.secrets.items():
        ((kind, value),) = source.items()
        with suppress(secrets.Unset):
            known[name] = _parse_secret(secrets.resolve(kind, value, root=root))
    return known


def _parse_secret(text: str) -> Any:
    """Parse a secret for fetching documents, which may be a JSON object; other text stays text."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
