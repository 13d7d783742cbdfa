"""Property of lists: pages neither lose nor repeat a run while runs are added and change their status."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import dataclass, field

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from iogate.store import keys
from iogate.store.embedded.server import EmbeddedServer
from iogate.store.runs.intake import Accepted, Intake
from iogate.store.runs.leases import Claim
from iogate.store.runs.run_index import RunFilter
from iogate.store.runs.uids import EPOCH_MS
from iogate.store.store import Store, open_store
from iogate.timing.clock import epoch_ms
from tests.examples import examples
from tests.keys import RING
from tests.store.builders import api, commit, publish, request, scripted
from tests.store.test_children import child

APIS = (api("one/runs"), api("two/runs"))
ACTIONS = (
    "accept", "accept", "accept", "take", "take", "end", "fault", "park", "child", "cancel", "suspend",
    "resume", "retry", "audit",
)  # fmt: skip
STATUSES = [(), (), ("completed", "faulted", "cancelled"), ("running", "waiting"), ("pending",)]
steps = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 9)), max_size=6)
filters = st.builds(
    RunFilter,
    api=st.sampled_from([None, None, APIS[0].id]),
    statuses=st.sampled_from(STATUSES),
)


@dataclass
class World:
    """Runs that change while somebody pages through them."""

    store: Store
    intake: Intake
    claims: list[Claim] = field(default_factory=list)
    uids: list[str] = field(default_factory=list)
    parked: list[str] = field(default_factory=list)

    async def step(self, action: str, n: int) -> None:
        leases, runs = self.store.leases, self.store.runs
        claim = self.claims[n % len(self.claims)] if self.claims else None
        match action:
            case "accept":
                # The clocks of gateways differ by up to 10 s.
                drawn = epoch_ms() - EPOCH_MS + (n - 5) * 1_000 << 22 | secrets.randbits(22)
                done = await self.intake.accept(request(self.intake, APIS[n % 2], uid=str(drawn)))
                self.uids += [done.uid] if isinstance(done, Accepted) else []
            case "take":
                self.claims += (await leases.take("w", 1 + n % 3)).claims
            case "end" | "fault" | "park" if claim is not None:
                self.claims.remove(claim)
                status = "faulted" if action == "fault" else None
                move = "park" if action == "park" else "end"
                await leases.commit([commit(claim, move, status, head=b"h")])
            case "child" if claim is not None:
                self.claims.remove(claim)
                started = child(n, awaits=False, api=claim.api)
                await leases.commit([commit(claim, "queue", head=b"h", children=[started])])
                self.uids.append(started.uid)
            case "cancel" | "suspend" | "resume" | "retry" if self.uids:
                await getattr(runs, action)(self.uids[n % len(self.uids)])
            case "audit":
                await leases.audit()
            case _:
                pass

    async def matching(self, wanted: RunFilter) -> set[str]:
        """Return the runs that match now, one by one."""
        found = set()
        for uid in self.uids:
            view = await self.store.runs.show(uid)
            assert view is not None
            if wanted.api in (None, view.api) and view.status in (wanted.statuses or keys.STATUSES):
                found.add(uid)
        return found


async def page_through(
    url: str,
    before: list[tuple[str, int]],
    between: list[list[tuple[str, int]]],
    wanted: RunFilter,
    limit: int,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        store = await open_store(url, keyring=RING)
        stack.push_async_callback(store.close)
        await store.call("FLUSHALL")
        await publish(store, *APIS)
        world = World(store, store.intake())
        for action, n in before:
            await world.step(action, n)
        throughout = await world.matching(wanted)
        listed: list[str] = []
        cursor: str | None = None
        for changes in [*between, *[[]] * 1_000]:
            page = await store.runs.page(wanted, limit=limit, cursor=cursor)
            listed += [run.uid for run in page.runs]
            if (cursor := page.next_cursor) is None:
                break
            for action, n in changes:
                await world.step(action, n)
                throughout &= await world.matching(wanted)
        assert len(set(listed)) == len(listed), "a run is in two pages"
        assert throughout <= set(listed), "a run is missing"
        positions = [await store.call("ZSCORE", keys.INDEX + api.id, uid) for uid in listed for api in APIS]
        created = [int(float(each)) for each in positions if each is not None]
        assert created == sorted(created, reverse=True)


RETRIED_CHILD = [
    *(("accept", 0), ("take", 0), ("child", 0), ("take", 1)),
    *(("fault", 0), ("fault", 0), ("retry", 1)),
]


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 9)), min_size=8, max_size=30),
    between=st.lists(steps, max_size=5),
    wanted=filters,
    limit=st.integers(1, 4),
)
@example(before=RETRIED_CHILD, between=[], wanted=RunFilter(), limit=1)
def test_pages_neither_lose_nor_repeat_runs_while_runs_change(
    redis_server: EmbeddedServer,
    before: list[tuple[str, int]],
    between: list[list[tuple[str, int]]],
    wanted: RunFilter,
    limit: int,
) -> None:
    with scripted(page_budget=12):
        asyncio.run(page_through(redis_server.url, before, between, wanted, limit))
