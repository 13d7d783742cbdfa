"""Whoever writes to Redis without the key has nothing executed and nothing changed unseen.

The forger reads everything in the store, knows the code, copies seals, and puts programs, runs, states,
messages, events, schedules and queue entries where genuine ones belong. He has no key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from iogate.compiler.revision import canonical, digest_of
from iogate.errors import Refused
from iogate.security.keyring import Keyring
from iogate.store import keys
from iogate.store.connection.connection import pairs
from iogate.store.connection.packing import bytes_of, encode, flat
from iogate.store.integrity import seals
from iogate.store.integrity.seals import Facts
from tests.worker.site import NOOP, until, workflow

if TYPE_CHECKING:
    from iogate.store.store import Store
    from tests.worker.site import Site

SECRET = "s3cret-of-the-workflows"
THIEF = Keyring(("t" * 40,))
"""He has a key, too: another one."""
WAITS = workflow("waits", {"pause": {"wait": {"seconds": 1}}}, {"done": {"set": {"ok": True}}})
LISTENS = workflow(
    "listens",
    {"wait": {"listen": {"to": {"one": {"with": {"type": "paid"}}}}}},
    {"done": {"set": {"amount": "${ .[0].amount }"}}},
)
PARENT = workflow(
    "parent",
    {"child": {"run": {"workflow": {"namespace": "test", "name": "listens", "version": "1.0.0"}}}},
    {"done": {"set": {"from": "${ .amount }"}}},
)


class Forger:
    """What he wants executed, and what he writes for that."""

    def __init__(self, site: Site, canary: Path) -> None:
        self.site = site
        self.store: Store = site.store
        self.canary = canary
        command = f"touch {canary}; echo ${{ $secrets.k }} >> {canary}"
        self.evil = workflow(
            "evil",
            {"steal": {"run": {"shell": {"command": command}}}},
            use={"secrets": ["k"]},
        )
        self.program = digest_of(self.evil)
        self.number = 0

    async def publish_program(self) -> None:
        await self.store.call("SET", keys.PROGRAM + self.program, canonical(self.evil))

    def uid(self) -> str:
        self.number += 1
        return str(700_000_000_000_000_000 + self.number)

    def facts(self, **changes: Any) -> bytes:
        made = Facts(1, "test/evil:1.0.0", self.program, "", None, "", **changes)
        return msgspec.json.encode(made)

    async def run(self, facts: bytes, uid: str | None = None, **changes: Any) -> str:
        """A run of his in the queue."""
        uid = uid or self.uid()
        fields = {"api": "test/noop", "f": facts, "in": b"{}", "crt": "1", "ret": "60000", "st": "pending"}
        fields |= {"pl": "queue", **changes}
        await self.store.call("HSET", keys.RUN + uid, *(part for pair in fields.items() for part in pair))
        await self.store.call("ZADD", f"{keys.INDEX}pending", 1, uid)
        if fields["pl"] == "queue":
            await self.store.call("RPUSH", keys.RQ_QUEUE, uid)
        return uid

    async def genuine(self, name: str = "noop") -> str:
        """A run that a caller started and no worker has taken."""
        return await self.site.call(name)

    async def field(self, uid: str, name: str) -> bytes:
        found: bytes = await self.store.call("HGET", keys.RUN + uid, name)
        return found

    async def alter(self, name: str, change: Callable[[bytes], bytes | str]) -> str:
        """A genuine run with one field changed."""
        uid = await self.genuine()
        await self.store.call("HSET", keys.RUN + uid, name, change(await self.field(uid, name)))
        return uid


async def _copied_seal(forger: Forger) -> str:
    other = await forger.field(await forger.genuine(), "f")
    return await forger.run(forger.facts()[:-2] + other[-24:])


async def _own_seal(forger: Forger) -> str:
    uid = forger.uid()
    facts = Facts(1, "test/evil:1.0.0", forger.program, "", None, "")
    return await forger.run(seals.seal_facts(THIEF, uid, "test/noop", facts, b"{}"), uid)


async def _copied_run(forger: Forger) -> str:
    other = await forger.genuine()
    uid = await forger.run(await forger.field(other, "f"))
    await forger.store.call("HSET", keys.RUN + uid, "in", await forger.field(other, "in"))
    return uid


def _other_program(forger: Forger) -> Callable[[bytes], bytes]:
    return lambda facts: re.sub(rb"[0-9a-f]{64}", forger.program.encode(), facts)


async def _suspect(forger: Forger) -> str:
    uid = await forger.run(forger.facts(), pl="suspect")
    await forger.store.call("RPUSH", keys.SUSPECTS, uid)
    return uid


async def _backlog(forger: Forger) -> str:
    uid = await forger.run(forger.facts(), pl="backlog")
    await forger.store.call("RPUSH", keys.BACKLOG + "test/noop", uid)
    await forger.store.call("HINCRBY", keys.GATE + "test/noop", "bl", 1)
    await forger.genuine()  # with it, the backlog moves
    return uid


async def _timer(forger: Forger) -> str:
    uid = await forger.run(forger.facts(), pl="timer", seq="1", st="waiting")
    await forger.store.call("HSET", keys.FRAMES + uid, "head", b'{"status":"running"}')
    await forger.store.call("ZADD", keys.TIMERS, 1, uid)
    return uid


async def _folded(forger: Forger) -> str:
    uid = forger.uid()
    run = {"api": b"test/noop", "f": forger.facts(), "in": b"{}", "crt": b"1", "ret": b"60000"}
    run |= {"st": b"waiting", "pl": b"timer", "seq": b"1", "tok": b"1"}
    frames = flat({"head": b'{"status":"running"}'})
    await forger.store.call("SET", keys.PARKED + uid, encode((flat(run), [], [], frames)))
    await forger.store.call("ZADD", f"{keys.INDEX}waiting", 1, uid)
    await forger.store.call("ZADD", keys.TIMERS, 1, uid)
    return uid


async def _lease(forger: Forger) -> str:
    uid = await forger.run(forger.facts(), pl="lease", tok="3", wkr="gone", st="running")
    await forger.store.call("ZADD", keys.LEASES, 1, uid)
    return uid


async def _child(forger: Forger) -> str:
    parent = await forger.genuine()
    return await forger.run(forger.facts(parent=f"{parent}/1"), par=parent, pfr="1")


RUNS: dict[str, Callable[[Forger], Awaitable[str]]] = {
    "a run without a seal": lambda forger: forger.run(forger.facts()),
    "facts of an earlier release": lambda forger: forger.run(
        msgspec.json.encode([1, "test/evil:1.0.0", forger.program, "", None, ""])
    ),
    "a seal of zeros": lambda forger: forger.run(forger.facts(seal="A" * 22)),
    "a seal that is too short": lambda forger: forger.run(forger.facts(seal="AAAA")),
    "a seal that is no text": lambda forger: forger.run(forger.facts(seal="é" * 11)),
    "the seal of another run": _copied_seal,
    "a seal with another key": _own_seal,
    "the facts of another run": _copied_run,
    "another input": lambda forger: forger.alter("in", lambda _: b'{"evil":true}'),
    "another API": lambda forger: forger.alter("api", lambda _: b"test/waits"),
    "another program": lambda forger: forger.alter("f", _other_program(forger)),
    "another caller": lambda forger: forger.alter("f", lambda facts: facts.replace(b'""', b'"root"', 1)),
    "another revision": lambda forger: forger.alter("f", lambda facts: facts.replace(b"[1,", b"[9,", 1)),
    "a suspect": _suspect,
    "a run in a backlog": _backlog,
    "a run whose timer is due": _timer,
    "a folded run whose timer is due": _folded,
    "a run whose lease is over": _lease,
    "a child of a genuine run": _child,
}


async def _program_replaced(forger: Forger) -> str:
    """The program of a genuine run is another one now."""
    uid = await forger.genuine("waits")
    program: str = json.loads(await forger.field(uid, "f"))[2]
    await forger.store.call("SET", keys.PROGRAM + program, canonical(forger.evil))
    return program


@pytest.fixture
async def forger(site: Site, tmp_path: Path) -> Forger:
    (site.folder / "secret").write_text(SECRET)
    site.settings = replace(site.settings, secrets={"k": {"file": str(site.folder / "secret")}})
    await site.publish(NOOP, WAITS, LISTENS, PARENT)
    return Forger(site, tmp_path / "executed")


def whole_lines(log: str) -> list[str]:
    """Return the lines of a log without the last one if its process is still writing it."""
    return log[: log.rfind("\n") + 1].splitlines()


def refused(log: str) -> set[tuple[str, str]]:
    """Kind and name of what a worker said that it refuses."""
    lines = [json.loads(line) for line in whole_lines(log) if '"store.refused"' in line]
    return {(line["kind"], line["object"]) for line in lines}


async def test_no_forged_run_is_executed_each_is_logged_and_honest_ones_beside_them_end(
    forger: Forger, site: Site
) -> None:
    await forger.publish_program()
    before = [await forger.genuine() for _ in range(5)]
    forged = {name: await forge(forger) for name, forge in RUNS.items()}
    replaced = await _program_replaced(forger)
    strangers = [b"../../etc/passwd", b"700000000000009999", b'["os.system", null, ["id"], {}]']
    await site.store.call("RPUSH", keys.RQ_QUEUE, *strangers)
    after = [await forger.genuine() for _ in range(5)]
    worker = await site.worker()
    # The suspects and the ended lease are for a worker alone.
    alone = await site.worker("--solitary", ready=False)
    for name, uid in forged.items():
        run = await site.ended(uid)
        assert run.status == "faulted", name
        error = json.loads(run.error or b"")
        assert (error["title"], error["status"]) == ("Run is not authentic", 401), name
        assert await site.store.call("EXISTS", keys.RUN + uid) == 0
    for run in await site.all_ended([*before, *after]):
        assert run.status == "completed"
    assert not forger.canary.exists()
    expected = {("run", uid) for uid in forged.values()} | {("program", replaced)}
    expected |= {("queue entry", entry.decode()) for entry in strangers}

    def logged() -> bool:
        return expected <= refused(worker.log_text()) | refused(alone.log_text())

    await until(logged, name="a line for each of them")
    assert SECRET not in worker.log_text() + alone.log_text()

    async def counted() -> bool:
        return (await site.store.refusals.counts())["run"] >= len(RUNS)

    await until(counted, name="the counts of what was refused")


async def test_a_forged_run_that_was_faulted_is_not_made_genuine_by_a_retry(
    forger: Forger, site: Site
) -> None:
    await forger.publish_program()
    uid = await forger.run(forger.facts())
    worker = await site.worker()
    assert (await site.ended(uid)).status == "faulted"
    with pytest.raises(Refused, match=f"run {uid} cannot be retried: its stored state was not written"):
        await site.store.runs.retry(uid)
    with pytest.raises(Refused) as caught:
        await site.store.runs.load_state(uid)
    assert caught.value.code == "IOG676"
    assert worker.process.poll() is None


async def _parked(site: Site, name: str) -> tuple[str, dict[str, bytes]]:
    """A run that waits in its timer, and its frames; no worker is there any more."""
    uid = await site.call(name)

    async def waits() -> bool:
        return (await site.view(uid)).state == "timer"

    await until(waits, name="the run's wait")
    return uid, _flat((await _folded_parts(site, uid))[3])


async def _folded_parts(site: Site, uid: str) -> list[list[msgspec.Raw]]:
    packed = await site.store.call("GET", keys.PARKED + uid)
    return msgspec.msgpack.decode(packed, type=list[list[msgspec.Raw]])


def _flat(parts: list[msgspec.Raw]) -> dict[str, bytes]:
    return pairs([bytes_of(part) for part in parts])


async def _put(site: Site, uid: str, frames: dict[str, bytes]) -> None:
    run, tasks, journal, _ = await _folded_parts(site, uid)
    await site.store.call("SET", keys.PARKED + uid, encode((run, tasks, journal, flat(frames))))


def _first(frames: dict[str, bytes]) -> str:
    return min(name for name in frames if name.isdigit())


STATES: dict[str, Callable[[dict[str, bytes], dict[str, bytes]], dict[str, bytes]]] = {
    "another frame": lambda own, _: own | {_first(own): own[_first(own)].replace(b"{", b'{"input":1,', 1)},
    "another head": lambda own, _: own | {"head": own["head"].replace(b"{", b'{"output":1,', 1)},
    "the frames of another run": lambda _, other: other,
    "a frame less": lambda own, _: {name: data for name, data in own.items() if name != _first(own)},
    "a frame more": lambda own, _: own | {"999": own[_first(own)]},
    "no seal": lambda own, _: {name: data for name, data in own.items() if name != seals.STATE},
    "the seal of another run": lambda own, other: own | {seals.STATE: other[seals.STATE]},
    "a seal of zeros": lambda own, _: own | {seals.STATE: b"A" * 22},
}


async def test_no_forged_state_is_gone_on_from(forger: Forger, site: Site) -> None:
    worker = await site.worker()
    parked = {name: await _parked(site, "listens") for name in STATES}
    honest, other = await _parked(site, "listens")
    for name, forge in STATES.items():
        uid, frames = parked[name]
        await _put(site, uid, forge(frames, other))
    event = {"specversion": "1.0", "id": "1", "source": "/t", "type": "paid", "data": {"amount": 7}}
    await site.store.events.publish([json.dumps(event).encode()])
    for name, (uid, _) in parked.items():
        run = await site.ended(uid)
        assert run.status == "faulted", name
        assert json.loads(run.error or b"")["title"] == "Run is not authentic", name
    run = await site.ended(honest)
    assert (run.status, json.loads(run.output or b"")) == ("completed", {"amount": 7})
    assert {("run", uid) for uid, _ in parked.values()} <= refused(worker.log_text())


async def test_no_forged_event_and_no_forged_end_of_a_child_reaches_a_run(forger: Forger, site: Site) -> None:
    worker = await site.worker()
    listener, _ = await _parked(site, "listens")
    parent, frames = await _parked(site, "parent")
    bad = {"specversion": "1.0", "id": "9", "source": "/t", "type": "paid", "data": {"amount": 666}}
    event = json.dumps(bad).encode()
    frame = next(name for name, data in frames.items() if name.isdigit() and b"child" in data)
    mine = seals.seal_event(THIEF, event)
    number = int(await site.store.call("HINCRBY", keys.MATCHER, "published", 2))
    await site.store.call("RPUSH", keys.EVENTS, b"%d " % (number - 1) + event, b"%d " % number + mine)
    await site.store.call("PUBLISH", keys.EVENTS_CHANNEL, "1")
    ended = b'{"status":"completed","output":{"amount":666},"error":null'
    seal = seals.seal_end(THIEF, f"{parent}/{frame}", "completed", b'{"amount":666}', b"")
    messages = {
        listener: [b"1 event " + event, b"1 event " + mine],
        parent: [
            b"%b child " % frame.encode() + ended + b"}",
            b"%b child " % frame.encode() + ended + b',"seal":"' + seal + b'"}',
            b"%b child " % frame.encode() + b'{"status":"faulted","output":null,"error":{"title":"x"}}',
        ],
    }
    wanted = dict.fromkeys(messages, 0)
    for uid, entries in messages.items():
        await _post(site, uid, entries)
        wanted[uid] = len(entries)

    def logged() -> bool:
        said = refused(worker.log_text())
        kinds = [kind for kind, _ in said]
        return kinds.count("event") == 2 and kinds.count("message") == sum(wanted.values())

    await until(logged, name="a line for each forged event and message")
    good = bad | {"id": "10", "data": {"amount": 7}}
    await site.store.events.publish([json.dumps(good).encode()])
    assert json.loads((await site.ended(listener)).output or b"") == {"amount": 7}
    assert json.loads((await site.ended(parent)).output or b"") == {"from": 7}


async def _post(site: Site, uid: str, entries: list[bytes]) -> None:
    """Put messages into a run's inbox and wake it, as the scripts do."""
    run, tasks, journal, frames = await _folded_parts(site, uid)
    fields = _flat(run)
    fields |= {"msg": b"%d" % (int(fields.get("msg", b"0")) + len(entries)), "ext": b"1"}
    await site.store.call("RPUSH", keys.INBOX + uid, *entries)
    await site.store.call("SET", keys.PARKED + uid, encode((flat(fields), tasks, journal, frames)))
    await site.store.call("ZADD", keys.TIMERS, 1, uid)


async def test_no_forged_schedule_starts_a_run(forger: Forger, site: Site) -> None:
    await forger.publish_program()
    stored = {"workflow": "test/evil:1.0.0", "schedule": {"kind": "every", "program": forger.program}}
    stored["schedule"]["milliseconds"] = 60_000  # type: ignore[index] # a map
    entry = msgspec.msgpack.encode(("every", "1", json.dumps(stored)))
    for name in ("schedule:test/evil", "schedule:test/noop"):
        await site.store.call("HSET", keys.SCHEDULES, name, entry)
        await site.store.call("HSET", keys.GATE + name, "on", 1, "queued", 100, "digest", "", "git", 1)
        await site.store.call("ZADD", keys.TICKS, 1, name)
    worker = await site.worker()

    def logged() -> bool:
        return {kind for kind, _ in refused(worker.log_text())} == {"schedule"} and len(
            refused(worker.log_text())
        ) == 2

    await until(logged, name="a line for each forged schedule")
    assert (await site.ended(await site.call())).status == "completed"
    assert sum((await site.store.runs.counts()).values()) == 1
    assert not forger.canary.exists()


async def test_no_forged_content_reaches_a_script(forger: Forger, site: Site) -> None:
    digest = digest_of("what was published")
    await site.store.call("SET", keys.CONTENT + digest, f"import os; os.system('touch {forger.canary}')")
    source = {"endpoint": f"project:///x.py#{digest}"}
    script = workflow("script", {"it": {"run": {"script": {"language": "python", "source": source}}}})
    await site.publish(script)
    worker = await site.worker()
    assert (await site.ended(await site.call("script"))).status == "faulted"
    assert not forger.canary.exists()
    assert ("content", digest) in refused(worker.log_text())
