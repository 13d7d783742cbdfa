"""An attacker who writes to Redis cannot execute anything, and harms only the runs that he changes."""

from __future__ import annotations

import json
import pickle
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from iogate.store import keys
from tests.worker.site import NOOP, until, workflow

if TYPE_CHECKING:
    from tests.worker.site import Site

FORGED = "700000000000000001"
BEHIND = workflow("behind", {"pause": {"wait": {"seconds": 30}}})


async def forge(site: Site, **changes: bytes | None) -> None:
    """A run as a gateway writes it, with some fields changed or gone, and its uid in the queue."""
    genuine = await site.store.call("HGETALL", keys.RUN + await site.call())
    fields = {name.decode(): value for name, value in zip(genuine[::2], genuine[1::2], strict=True)}
    fields |= {name: value for name, value in changes.items() if value is not None}
    kept = {name: value for name, value in fields.items() if changes.get(name, b"") is not None}
    await site.store.call("HSET", keys.RUN + FORGED, *(part for pair in kept.items() for part in pair))
    await site.store.call("RPUSH", keys.RQ_QUEUE, FORGED)


def _commands(flag: Path) -> list[bytes]:
    calls = [("os.system", [f"touch {flag}"]), ("subprocess.getoutput", [f"touch {flag}"])]
    jobs = [json.dumps([name, None, arguments, {}]).encode() for name, arguments in calls]
    return [*jobs, *(pickle.dumps((name, None, tuple(arguments), {})) for name, arguments in calls), b"\xff"]


async def test_jobs_of_others_are_dropped_and_never_executed(site: Site, tmp_path: Path) -> None:
    flag = tmp_path / "executed"
    await site.publish(NOOP)
    for number, data in enumerate(_commands(flag)):
        uid = str(int(FORGED) + number)
        names = ("success_callback_name", "failure_callback_name", "stopped_callback_name")
        callbacks = [part for name in names for part in (name, "os.system")]
        await site.store.call("HSET", keys.RQ_JOB + uid, "data", data, "origin", keys.QUEUE, *callbacks)
        await site.store.call("RPUSH", keys.RQ_QUEUE, uid)
    # A genuine run whose job says something else: the record counts, the job is never read.
    uid = await site.call()
    await site.store.call("HSET", keys.RQ_JOB + uid, "data", _commands(flag)[0])
    worker = await site.worker()
    assert (await site.ended(uid)).status == "completed"
    assert (await site.ended(await site.call())).status == "completed"
    assert worker.process.poll() is None
    assert not flag.exists()


async def _wrong_type(site: Site, key: str, **changes: bytes) -> None:
    if changes:
        await forge(site, **changes)
    else:
        await site.store.call("RPUSH", keys.RQ_QUEUE, FORGED)
    await site.store.call("DEL", key + FORGED)
    await site.store.call("SET", key + FORGED, "of another type")


async def _folded(site: Site, packed: bytes) -> None:
    """The record of a run that waits, and whose time has come."""
    await site.store.call("SET", keys.PARKED + FORGED, packed)
    await site.store.call("ZADD", f"{keys.INDEX}waiting", 1, FORGED)
    assert await site.store.leases.audit() == 0
    await site.store.call("ZADD", keys.TIMERS, 1, FORGED)


async def _clock_of_another_type(site: Site) -> None:
    # At once: the worker sets it anew in between.
    script = "redis.call('DEL', KEYS[1]) return redis.call('LPUSH', KEYS[1], 'junk')"
    await site.store.call("EVAL", script, 1, keys.UPKEEP)


async def _announce(site: Site) -> None:
    await site.store.call("SET", f"{keys.PROCESS}worker:evil", b"\xff")
    await site.store.call("ZADD", f"{keys.PROCESSES}worker", 1, "evil", 2, b"\xff")

    async def known() -> bool:
        return [process.id for process in await site.store.presence.list("worker")] == ["test-1"]

    await until(known, name="the worker's own announcement")


Attack = Callable[["Site"], Awaitable[Any]]

ATTACKS: dict[str, Attack] = {
    "garbage for uids": lambda site: site.store.call(
        "RPUSH", keys.RQ_QUEUE, b"", b"\xff\xfe", b"x" * 100_000, b"-1", b"*", b"\0", b"../../x"
    ),
    "a record of nothing": lambda site: forge(
        site, **dict.fromkeys(("f", "crt", "ret", "in", "st")), pl=b"queue"
    ),
    "no time of creation": lambda site: forge(site, crt=None),
    "a time that is none": lambda site: forge(site, crt=b"nan"),
    "no retention": lambda site: forge(site, ret=None),
    "a token that is none": lambda site: forge(site, tok=b"inf"),
    "facts that are none": lambda site: forge(site, f=b"\xff junk"),
    "a name that is no text": lambda site: forge(site, api=b"\xff\xfe"),
    "a reason that is no text": lambda site: forge(site, cxl=b"\xff"),
    "no input": lambda site: forge(site, **{"in": None}),
    "a record of another type": lambda site: _wrong_type(site, keys.RUN),
    "a job of another type": lambda site: _wrong_type(site, keys.RQ_JOB, seq=b"0"),
    "frames of another type": lambda site: _wrong_type(site, keys.FRAMES, seq=b"3"),
    "frames that are gone": lambda site: forge(site, seq=b"3"),
    "a folded record that is none": lambda site: _folded(site, b"\xff junk"),
    "a folded record of nothing": lambda site: _folded(site, b"\x94\x90\x90\x90\x90"),
    "a folded record of something else": lambda site: _folded(site, b"\x93\x01\x81\x01\x02\xc0"),
    "a clock that is none": lambda site: site.store.call("SET", keys.UPKEEP, "junk"),
    "a clock of another type": _clock_of_another_type,
    "announcements that are none": _announce,
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_worker_survives_forged_objects_and_other_runs_continue(site: Site, name: str) -> None:
    await site.publish(NOOP)
    worker = await site.worker()
    await site.store.call("SET", keys.RQ_SUSPENDED, "1")
    before = [await site.call() for _ in range(3)]
    await ATTACKS[name](site)
    after = [await site.call() for _ in range(3)]
    await site.store.call("DEL", keys.RQ_SUSPENDED)
    for run in await site.all_ended([*before, *after]):
        assert (run.status, run.attempt) == ("completed", 1)
    assert worker.process.poll() is None


@pytest.mark.parametrize("key", [keys.TIMERS, keys.LEASES, keys.SUSPECTS])
async def test_a_foreign_value_in_place_of_a_queue_is_removed_and_runs_are_restored(
    site: Site, key: str
) -> None:
    await site.publish(BEHIND, NOOP)
    worker = await site.worker()
    waits = await site.call("behind")

    async def parked() -> bool:
        return (await site.view(waits)).state == "timer"

    await until(parked, name="the run's wait")
    await site.store.call("SET", key, "mine")
    run = await site.ended(await site.call())
    assert (run.status, run.attempt) == ("completed", 1)
    await site.store.leases.audit()
    assert await site.store.call("ZSCORE", keys.TIMERS, waits) is not None
    assert worker.process.poll() is None


async def test_a_run_without_its_frames_is_not_started_again(site: Site) -> None:
    """What it has done would happen again."""
    await site.publish(BEHIND)
    worker = await site.worker()
    uid = await site.call("behind")

    async def parked() -> bool:
        return (await site.view(uid)).state == "timer"

    await until(parked, name="the run's wait")
    # Suspended, its frames are a key of their own.
    await site.store.runs.suspend(uid)
    await site.store.call("DEL", keys.FRAMES + uid)
    await site.store.call("HSET", keys.RUN + uid, "due", 1)
    await site.store.runs.resume(uid)
    run = await site.ended(uid)
    assert run.status == "faulted"
    assert b"the stored state cannot be loaded" in (run.error or b"")
    assert worker.process.poll() is None


async def test_foreign_messages_do_not_break_subscriptions(site: Site) -> None:
    """A message that is no text once ended the listening for good; each call then waited for a poll."""
    await site.publish(NOOP)
    worker = await site.worker()
    heard: list[str] = []
    _, wired = site.store.leases.doorbell("w")
    async with wired, site.store.leases.cancellations(heard.append):
        for channel in (
            f"{keys.WAKE_CHANNEL}w",
            keys.CANCEL_CHANNEL,
            keys.ENDED_CHANNEL,
            keys.CHANGE_CHANNEL,
        ):
            await site.store.call("PUBLISH", channel, b"\xff\xfe")
        await site.store.call("PUBLISH", keys.CANCEL_CHANNEL, FORGED)
        await until(lambda: FORGED in heard, name="a message after one that is no text")
    subscribed = f"rq:pubsub:{worker.name}"

    async def reaches_the_worker() -> bool:
        return bool(await site.store.call("PUBLISH", subscribed, "[" * 200_000))

    await until(reaches_the_worker, name="the worker's ear for RQ's commands")
    await site.store.call("PUBLISH", subscribed, json.dumps({"command": "shutdown"}))
    assert await worker.wait() == 0
