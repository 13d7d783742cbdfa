"""Model test: each run is in exactly one state, and its related keys live as long as it does.

Random operations of gateways, workers, callers, operators and outsiders; after each, the whole store is
read and held against what must always be so.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iogate.compiler.revision import Concurrency, Limits
from iogate.store import keys
from iogate.store.embedded.server import EmbeddedServer
from iogate.store.runs.intake import Accepted, Intake
from iogate.store.runs.leases import Claim
from iogate.store.runs.traffic import Traffic
from iogate.store.statistics.hourly_counts import HOUR_MS, total
from iogate.store.store import Store, open_store
from tests.keys import RING
from tests.store.builders import api, commit, publish, request
from tests.store.events.test_bus import event, matched, wanting
from tests.store.test_children import child

APIS = (
    api("free/one", limits=Limits(concurrency=Concurrency(key="/k"))),
    api("tight/one", limits=Limits(running=2, queued=6, on_full="replace", priority=7)),
)
WIDER = (
    api("free/one", limits=Limits(concurrency=Concurrency(key="/k", limit=2))),
    api("tight/one", limits=Limits(running=4, queued=6, on_full="replace")),
)
ACTIONS = (
    "accept", "accept", "accept", "keyed", "keyed", "keyed", "merge", "merge", "due",
    "take", "take", "alone", "end", "end", "fault", "park", "keep", "queue",
    "expire", "recover", "release", "cancel", "empty", "audit", "limits", "repeat",
    "listen", "event", "event", "child", "child", "disown", "suspend", "resume", "retry",
    "hold", "hold", "disable", "enable", "rate", "clear",
)  # fmt: skip

operations = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 7)), min_size=20, max_size=70)


@dataclass
class World:
    store: Store
    intake: Intake
    held: list[tuple[str, Claim]] = field(default_factory=list)
    seqs: Counter[tuple[str, int]] = field(default_factory=Counter)
    uids: list[str] = field(default_factory=list)
    emptied: bool = False
    events: int = 0

    async def step(self, action: str, n: int) -> None:
        leases = self.store.leases
        worker = f"w{n % 3}"
        match action:
            case "accept":
                outcome = await self.intake.accept(
                    request(self.intake, APIS[n % 2], digest=await self.digest(n))
                )
                uid = getattr(outcome, "uid", None)
                self.uids += [uid] if uid else []
            case "keyed" | "merge":
                await self.call(action, n)
            case "due":
                for uid in await self.store.call("ZRANGE", keys.TIMERS, 0, n):
                    if await self.store.call("HGET", keys.RUN + uid.decode(), "pl") == b"window":
                        await self.store.call("ZADD", keys.TIMERS, 1, uid)
                await leases.take(worker, 0)
            case "take" | "alone":
                closed = await self.on_hold()
                taken = await leases.take(worker, n, solitary=action == "alone")
                self.held += [(worker, claim) for claim in taken.claims]
                for claim in taken.claims:
                    assert claim.api not in closed or claim.token > 1 or claim.depth, (
                        "a new run of an API on hold"
                    )
            case "end" | "fault" | "park" | "keep" | "queue" | "repeat" | "listen" | "child" | "disown" if (
                self.held
            ):
                await self.commit(action, n)
            case "expire":
                for uid in await self.store.call("ZRANGE", keys.LEASES, 0, n):
                    await self.store.call("ZADD", keys.LEASES, 1, uid)
                await leases.take(worker, 0)
            case "recover":
                await leases.recover(worker)
            case "release":
                own = {c.uid: c.token for w, c in self.held if w == worker}
                await leases.release(worker, own)
            case "cancel" if self.uids:
                await self.store.runs.cancel(self.uids[n % len(self.uids)], "model")
            case "suspend" | "resume" | "retry" if self.uids:
                await getattr(self.store.runs, action)(self.uids[n % len(self.uids)])
            case "event":
                await self.event(worker, n)
            case "empty":
                await self.store.call("DEL", keys.RQ_QUEUE)
                self.emptied = True
            case "audit":
                await self.repair()
            case "limits":
                await publish(self.store, *(APIS if n % 2 else WIDER))
            case "hold" | "disable" | "enable" | "rate":
                await self.store.gates.set_enabled(
                    [APIS[n % 2].id],
                    action in ("enable", "rate"),
                    author="model",
                    hold=action == "hold",
                    by_override=n % 3 == 0,
                    rate=50.0 if action == "rate" else None,
                    ttl_s=0.01 if n > 5 else None,
                )
            case "clear":
                await self.store.gates.clear_overrides([APIS[n % 2].id])
            case _:
                pass

    async def call(self, action: str, n: int) -> None:
        """Call with a concurrency key, or one that coalesces."""
        rules = Traffic(
            key=f"k{n // 4}" if n % 2 == 0 and action == "keyed" else "",
            replace=n % 2 == 1,
            merge=f"m{n // 4}" if action == "merge" else "",
            window=3_600_000,
            most=3_600_000,
        )
        outcome = await self.intake.accept(
            request(self.intake, APIS[n % 2], digest=await self.digest(n), traffic=rules)
        )
        if isinstance(outcome, Accepted) and not outcome.coalesced:
            self.uids.append(outcome.uid)

    async def on_hold(self) -> set[str]:
        """APIs without a limit in time whose new runs must not start."""
        gates = (await self.store.gates.states()).values()
        return {gate.api for gate in gates if gate.override and gate.held and not gate.override.expires_at_ms}

    async def digest(self, n: int) -> str:
        digest: bytes = await self.store.call("HGET", keys.GATE + APIS[n % 2].id, "digest")
        return digest.decode()

    async def commit(self, action: str, n: int) -> None:
        _, claim = self.held[n % len(self.held)]
        lease = (claim.uid, claim.token)
        seq = claim.seq + self.seqs[lease] + (0 if action == "repeat" else 1)
        move = {"fault": "end", "listen": "park", "park": "park", "end": "end", "queue": "queue"}.get(
            action, "keep"
        )
        status = "faulted" if action == "fault" else None
        due = claim.created_at_ms + (3_600_000 if n % 2 else 0)
        started = child(n % 2, awaits=n < 6)
        made = commit(
            claim, move, status, seq=seq, due_ms=due if action == "park" else None, head=b"h",
            wants={n % 2: wanting()} if action == "listen" else {},
            inbox_done=n,
            children=[started] if action == "child" else [],
            children_gone=[n % 2] if action == "disown" else [],
            emits=[event(self.events, "never")],
        )  # fmt: skip
        (verdict,) = await self.store.leases.commit([made])
        if verdict.applied and action != "repeat":
            self.seqs[lease] += 1
            self.uids += [started.uid] if action == "child" else []

    async def event(self, matcher: str, n: int) -> None:
        """Publish an event and match it."""
        self.events += 1
        await self.store.events.publish([event(self.events)])
        if n % 3:
            await self.store.call("HSET", keys.MATCHER, "until", 1)
        await matched(self.store, matcher)

    async def repair(self) -> None:
        await self.store.leases.audit()
        self.emptied = False

    async def check(self) -> None:
        call = self.store.call
        places: dict[str, list[str]] = {}

        async def add(place: str, members: list[bytes]) -> None:
            for member in members:
                places.setdefault(member.decode(), []).append(place)

        await add("queue", await call("LRANGE", keys.RQ_QUEUE, 0, -1))
        await add("lease", await call("ZRANGE", keys.LEASES, 0, -1))
        await add("timer", await call("ZRANGE", keys.TIMERS, 0, -1))
        await add("suspect", await call("LRANGE", keys.SUSPECTS, 0, -1))
        for each in APIS:
            await add("backlog", await call("LRANGE", keys.BACKLOG + each.id, 0, -1))
            await add("woken", await call("LRANGE", keys.WOKEN + each.id, 0, -1))
            for key in await call("KEYS", f"{keys.LANE}{each.id}:*"):
                await add("lane", await call("LRANGE", key.decode(), 0, -1))

        loads: Counter[tuple[str, str]] = Counter()
        statuses: Counter[str] = Counter()
        apis: dict[str, str] = {}
        for uid in self.uids:
            view = await self.store.runs.show(uid)
            assert view is not None, uid
            apis[uid] = view.api
            statuses[view.status] += 1
            found = places.pop(uid, [])
            if view.state == "window":  # its end is a timer
                found = ["window" if place == "timer" else place for place in found]
            nowhere = view.ended or view.state == "suspended" or (view.state == "timer" and not found)
            if not (self.emptied and view.state == "queue" and not found):
                assert found == ([] if nowhere else [view.state]), (uid, view.state)
            if view.state == "timer":
                assert await call("EXISTS", keys.INBOX + uid) == 0, "it should have been woken"
            assert view.ended == (view.state == "end")
            loads[view.api, view.state] += 1
        assert places == {}, "a run that nobody accepted"
        await self.check_links()
        await self.check_reports()
        await self.check_holds()
        await self.check_places()
        await self.check_statistics()
        assert {k: v for k, v in (await self.store.runs.counts()).items() if v} == dict(statuses)
        for each in APIS:
            indexed = {uid.decode() for uid in await call("ZRANGE", keys.INDEX + each.id, 0, -1)}
            assert indexed == {uid for uid, of in apis.items() if of == each.id}
            gate = dict(zip(*[iter(await call("HGETALL", keys.GATE + each.id))] * 2, strict=True))
            assert int(gate.get(b"inq", 0)) == loads[each.id, "queue"]
            assert int(gate.get(b"run", 0)) == loads[each.id, "lease"]
            assert int(gate.get(b"bl", 0)) == loads[each.id, "backlog"] + loads[each.id, "woken"]
            assert int(gate.get(b"dl", 0)) == loads[each.id, "lane"] + loads[each.id, "window"]
            limit = int(gate.get(b"rl", 10_000))
            assert loads[each.id, "lease"] <= max(limit, 4), "running"

    async def check_holds(self) -> None:
        """Check that no new run on hold is in the queue, and that every release will be continued."""
        call = self.store.call
        closed = await self.on_hold()
        for uid in await call("LRANGE", keys.RQ_QUEUE, 0, -1):
            api_id, token, depth = await call("HMGET", keys.RUN + uid.decode(), "api", "tok", "dep")
            assert token or depth or api_id.decode() not in closed
        for each in APIS:
            hold = await call("HGET", keys.GATE + each.id, "hold")
            due = await call("ZSCORE", keys.RELEASES, each.id)
            assert (due is not None) == (hold is not None and float(hold.split()[0]) < keys.HELD_MS)

    async def check_places(self) -> None:
        """Check that each run with a key waits for a place or has one, and that nobody else has one."""
        call = self.store.call
        keyed = {key.decode() for key in await call("KEYS", f"{keys.HOLDERS}*")}
        assert keyed <= {keys.HOLDERS + APIS[0].id}
        limit = int(await call("HGET", keys.GATE + APIS[0].id, "kl"))
        flat = [part.decode() for part in await call("HGETALL", keys.HOLDERS + APIS[0].id)]
        places = {key: held.split() for key, held in zip(*[iter(flat)] * 2, strict=True)}
        for key, held in places.items():
            assert len(set(held)) == len(held)
            waiting = await call("LLEN", f"{keys.LANE}{APIS[0].id}:{key}")
            # A lowered limit takes no place away.
            assert len(held) <= 2
            assert not waiting or len(held) >= limit
        holding = {uid for held in places.values() for uid in held}
        for uid in self.uids:
            view = await self.store.runs.show(uid)
            assert view is not None
            if view.ended or view.state == "lane":
                assert uid not in holding, (uid, view.state)
        for key in await call("KEYS", f"{keys.LANE}*"):
            assert key.decode().rpartition(":")[2] in places, "a lane that nobody empties"

    async def check_statistics(self) -> None:
        """Check that each run counts once as accepted, and each of its attempts once as ended."""
        now_ms = await self.store.now_ms()
        hours = self.store.statistics.hours(now_ms - HOUR_MS, now_ms)
        counts = total([each.counts async for each in hours])
        views = [await self.store.runs.show(uid) for uid in self.uids]
        known = [view for view in views if view is not None and (view.ended or view.started_at_ms)]
        assert counts.accepted == len(known)
        assert counts.retried == sum(view.attempt - 1 for view in known)
        ended = counts.completed + counts.faulted + counts.cancelled
        assert counts.accepted + counts.retried - ended == sum(not view.ended for view in known)

    async def check_links(self) -> None:
        """Check that the keys of a run live as long as the run."""
        call = self.store.call
        over = {uid for uid in self.uids if (view := await self.store.runs.show(uid)) and view.ended}
        for prefix in (keys.INBOX, keys.WANTED, keys.CHILDREN, keys.RUN, keys.PARKED, keys.JOURNAL):
            assert {key.decode().removeprefix(prefix) for key in await call("KEYS", f"{prefix}*")} <= (
                set(self.uids) - over
            ), prefix
        subscribed = {member.decode() for member in await call("HKEYS", f"{keys.WANTS}order.paid")}
        wanted = set()
        for uid in self.uids:
            wanted |= {f"{uid}:{frame.decode()}" for frame in await call("HKEYS", keys.WANTED + uid)}
            for one in await call("HVALS", keys.CHILDREN + uid):
                assert one.decode() not in over, "its parent should have been told"
        assert subscribed == wanted

    async def check_reports(self) -> None:
        """Check that changes by the store itself, and only those, were reported in order."""
        reported: dict[str, list[str]] = {uid: [] for uid in self.uids}
        numbers: set[tuple[str, int]] = set()
        for data in await self.store.call("LRANGE", f"{keys.OUTBOX}audit", 0, -1):
            entry = json.loads(data)
            reported[entry["uid"]].append(entry["line"]["kind"])
            numbers.add((entry["uid"], entry["number"]))
        assert len(numbers) == sum(map(len, reported.values()))
        for uid, kinds in reported.items():
            view = await self.store.runs.show(uid)
            assert view is not None
            last = kinds[-1] if kinds else ""
            if view.state == "suspended":
                assert last == "workflow.suspended"
            elif last == "workflow.suspended":
                assert view.cancel_reason or view.attempt > 1, uid
            assert kinds.count("workflow.cancelled") <= (view.status == "cancelled")
            if view.status == "cancelled" and view.started_at_ms is None:
                assert last == "workflow.cancelled"


async def live(url: str, steps: list[tuple[str, int]]) -> None:
    store = await open_store(url, keyring=RING)
    try:
        await store.call("FLUSHALL")
        await publish(store, *APIS)
        await store.outbox.register({"audit": True})
        world = World(store, store.intake())
        for action, n in steps:
            await world.step(action, n)
            await world.check()
        await finish(world)
    finally:
        await store.close()


async def finish(world: World) -> None:
    """Let workers bring every run to its end: first those on hold are released, and start."""
    await world.repair()
    await world.store.gates.set_enabled([each.id for each in APIS], True, author="model")
    for each in APIS:
        assert await world.store.call("HGET", keys.GATE + each.id, "hold") is None
    await world.check()
    for uid in world.uids:
        await world.store.runs.cancel(uid, "over")
    for name in ("w0", "w1", "w2"):
        await world.store.leases.recover(name)
    for _ in range(200):
        claims = (await world.store.leases.take("last", 50)).claims
        claims += (await world.store.leases.take("last", 1, solitary=True)).claims
        await world.store.leases.commit([commit(claim, status="cancelled") for claim in claims])
        if not claims:
            break
    await world.check()
    assert all(status in keys.ENDED for status, n in (await world.store.runs.counts()).items() if n)


@pytest.mark.timeout(180)
@settings(
    max_examples=20,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=operations)
def test_every_run_is_in_exactly_one_state_and_the_counts_are_correct(
    each_redis: EmbeddedServer, steps: list[tuple[str, int]]
) -> None:
    asyncio.run(live(each_redis.url, steps))
