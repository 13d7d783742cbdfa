"""The limit of the embedded store follows the memory of the machine or of its container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iogate.store.embedded import machine
from iogate.store.embedded.server import start_embedded
from iogate.store.runs.intake import Accepted, Refusal
from iogate.store.store import open_store
from tests.keys import RING
from tests.store.builders import accepted, commit, publish, request

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
MIB = 2**20


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {}, MACHINE),
        ("0::/\n", {"memory.max": "max"}, MACHINE),
        ("0::/\n", {"memory.max": "536870912"}, 512 * MIB),
        ("0::/a/b\n", {"a/memory.max": "67108864", "a/b/memory.max": "max"}, 64 * MIB),
        ("4:memory:/docker/id\n0::/\n", {"memory/memory.limit_in_bytes": "536870912"}, 512 * MIB),
        ("4:cpu,memory:/x\n", {"memory/x/memory.limit_in_bytes": "67108864"}, 64 * MIB),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, MACHINE),
        ("1:cpu:/\n", {"memory/memory.limit_in_bytes": "1"}, MACHINE),
        (None, {}, MACHINE),
    ],
)
def test_the_smallest_of_machine_and_containers_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str | None, files: dict[str, str], expected: int
) -> None:
    for name, text in files.items():
        file = tmp_path / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    if own is not None:
        (tmp_path / "own").write_text(own)
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(machine, "OWN_GROUPS", tmp_path / "own")
    assert machine.memory() == expected
    assert machine.memory_limit("60%") == expected * 60 // 100
    assert machine.memory_limit(7) == 7


async def test_a_store_at_its_limit_refuses_calls_and_continues_its_runs(tmp_path: Path) -> None:
    started = start_embedded(tmp_path, memory=16 * MIB)
    store = await open_store(started.url, keyring=RING)
    try:
        await publish(store)
        intake = store.intake()
        first = await accepted(intake)
        # Random, since inputs are stored compressed.
        inputs = [f'"{os.urandom(50_000).hex()}"'.encode() for _ in range(500)]
        outcomes = [await intake.accept(request(intake, input=each)) for each in inputs]
        refused = [each for each in outcomes if isinstance(each, Refusal)]
        assert {each.reason for each in refused} == {"memory"}
        assert all(isinstance(each, Accepted) for each in outcomes[:50])
        info = await store.server_info()
        assert info["maxmemory"] == str(16 * MIB)
        assert int(info["used_memory"]) < 17 * MIB
        (claim,) = (await store.leases.take("w", 1)).claims
        assert claim.uid == first
        await store.leases.commit([commit(claim)])
        run = await store.runs.show(first)
        assert run is not None
        assert run.status == "completed"
        assert started.alive
    finally:
        await store.close()
        started.stop()
