"""Small revisions, requests and commits for the store's tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from iogate.auth.model import NoAuth
from iogate.compiler.revision import Api, Bundle, Limits, Revision, digest_of
from iogate.store import keys
from iogate.store.connection import scripts
from iogate.store.runs.intake import Accepted, AcceptRequest, Intake
from iogate.store.runs.leases import Claim, Commit
from iogate.store.store import Store
from iogate.testing.memory_store import MemoryIntake, MemoryStore

RunStore = Store | MemoryStore
"""A store of runs, on a server or in memory."""
PROGRAM = digest_of({})
ORDERS = Api(id="orders/submit", workflow="shop/orders:1", program=PROGRAM, auth=NoAuth(), enabled=True)


def api(
    name: str = "orders/submit",
    *,
    limits: Limits | None = None,
    enabled: bool | None = True,
    path: str | msgspec.UnsetType = msgspec.UNSET,
    **more: Any,
) -> Api:
    return Api(
        id=name,
        workflow="shop/orders:1",
        program=PROGRAM,
        auth=NoAuth(),
        enabled=enabled,
        path=path,
        limits=limits or Limits(),
        **more,
    )


def bundle(*apis: Api) -> Bundle:
    return Bundle(revision=Revision(apis={a.id: a for a in apis}, workflows={}), programs={PROGRAM: b"{}"})


async def publish(store: RunStore, *apis: Api) -> int:
    return await store.revisions.publish(bundle(*(apis or (ORDERS,))))


def request(intake: Intake | MemoryIntake, of: Api = ORDERS, **changes: Any) -> AcceptRequest:
    given: dict[str, Any] = {
        "uid": intake.uid(),
        "api": of.id,
        "digest": of.digest,
        "revision": 1,
        "workflow": of.workflow,
        "program": of.program,
        "input": b'{"sku":"A-1"}',
        "retention_s": of.retention_s,
    }
    return AcceptRequest(**(given | changes))


async def accepted(intake: Intake | MemoryIntake, of: Api = ORDERS, **changes: Any) -> str:
    outcome = await intake.accept(request(intake, of, **changes))
    assert isinstance(outcome, Accepted), outcome
    return outcome.uid


def commit(claim: Claim, move: str = "end", status: str | None = None, **changes: Any) -> Commit:
    ends = {"end": "completed", "park": "waiting", "keep": "running", "queue": "running"}
    given: dict[str, Any] = {
        "uid": claim.uid,
        "token": claim.token,
        "seq": claim.seq + 1,
        "move": move,
        "status": status or ends[move],
        "parent": claim.parent,
    }
    return Commit(**(given | changes))


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 20.0) -> None:
    """Poll a condition; fails when the deadline passes."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.005)


async def keys_like(store: RunStore, pattern: str) -> list[str]:
    """Return the keys of the server that match a pattern; a store in memory has none."""
    if isinstance(store, MemoryStore):
        return []
    return [key.decode() for key in await store.call("KEYS", pattern)]


async def state_of(store: RunStore, uid: str) -> str:
    view = await store.runs.show(uid)
    assert view is not None
    return view.state


async def recovered_twice(store: Store, worker: str) -> int:
    """Recover the runs of a worker twice, with a take in between, so that its runs are suspects."""
    await store.leases.recover(worker)
    await store.leases.take(worker, 50)
    return await store.leases.recover(worker)


@contextmanager
def scripted(**constants: int) -> Iterator[None]:
    """Load the scripts with other constants of `keys.LUA` meanwhile."""
    before = {name: keys.LUA[name] for name in constants}
    keys.LUA.update(constants)
    scripts.script.cache_clear()
    try:
        yield
    finally:
        keys.LUA.update(before)
        scripts.script.cache_clear()
