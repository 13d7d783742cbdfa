"""R8, short form: a log truncated within the last transaction loads, without partial writes."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from iogate.store import keys
from iogate.store.embedded import binaries
from iogate.store.embedded.server import EmbeddedServer, start_embedded
from iogate.store.store import Store, open_store
from tests.conftest import KINDS
from tests.keys import RING
from tests.store.builders import accepted, publish

SEED = 8
OFFSETS = 12


def log_of(folder: Path) -> Path:
    """Return the growing file: the only one in 6.2, the newest increment since 7.0."""
    found = [folder / "redis" / "appendonly.aof", *(folder / "redis").glob("appendonlydir/*.incr.aof")]
    return next(path for path in reversed(found) if path.exists())


def kill(of: EmbeddedServer) -> None:
    assert of.process is not None
    os.kill(of.pid, signal.SIGKILL)
    of.process.wait()


async def grown(folder: Path) -> tuple[list[str], int, int]:
    """Return a folder whose log ends with one batch of accepts, the uids, and the offsets of the batch."""
    started = await asyncio.to_thread(start_embedded, folder)
    store = await open_store(started.url, keyring=RING)
    await publish(store)
    intake = store.intake()
    first = await accepted(intake)
    begin = log_of(folder).stat().st_size
    group = await asyncio.gather(*(accepted(intake, idempotency_key=f"k{n}") for n in range(3)))
    await store.close()
    kill(started)
    return [first, *group], begin, log_of(folder).stat().st_size


async def whole(store: Store, uid: str) -> bool:
    """Check that all of a run exists, or nothing: record, index, queue and job agree."""
    parts = [
        await store.call("EXISTS", keys.RUN + uid) == 1,
        await store.call("ZSCORE", f"{keys.INDEX}pending", uid) is not None,
        await store.call("LPOS", keys.RQ_QUEUE, uid) is not None,
        await store.call("EXISTS", keys.RQ_JOB + uid) == 1,
    ]
    assert len(set(parts)) == 1, parts
    return all(parts)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_truncated_log_contains_complete_runs_only(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "candidates", lambda _=None: [Path(KINDS[kind].path)])
    original = tmp_path / "o"
    uids, begin, end = await grown(original)
    die = random.Random(SEED)
    for offset in sorted(die.sample(range(begin + 1, end), OFFSETS)):
        torn = tmp_path / "t"
        shutil.copytree(original, torn, ignore=shutil.ignore_patterns("*.sock"))
        with log_of(torn).open("r+b") as log:
            log.truncate(offset)
        started = await asyncio.to_thread(start_embedded, torn)
        store = await open_store(started.url, keyring=RING)
        held = [await whole(store, uid) for uid in uids]
        assert held[0], (SEED, offset)
        assert len(set(held[1:])) == 1, "a group is accepted as one"
        gate = await store.call("HGET", keys.GATE + "orders/submit", "inq")
        assert int(gate) == sum(held)
        assert await store.call("DBSIZE") > 0
        await store.close()
        kill(started)
        shutil.rmtree(torn)
