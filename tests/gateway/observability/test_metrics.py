"""`/metrics` of any gateway process shows the sums of all processes on the port."""

from __future__ import annotations

import asyncio
import http.client
import re
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from iogate.gateway.observability.metrics import Counts, Snapshot, StoreFigures, exposition
from iogate.gateway.observability.shared_metrics import SharedMetrics
from iogate.store.store import Store
from tests.gateway.driver import announced, api, listening, publish, spawn, until

START_S = 60.0
"""Three processes that start at once on a busy machine."""


def counted(accepted: int, *, streams: int = 0, revision: int | None = None) -> Snapshot:
    counts = Counts(accepted=accepted, refused={"x": 1})
    counts.observe(0.003)
    return Snapshot(apis={"a/b": counts}, processes=1, streams=streams, revision=revision)


def value(text: str, name: str) -> float:
    found = re.search(rf"(?m)^{re.escape(name)} (\S+)$", text)
    return float(found[1]) if found else 0.0


async def request(port: int, line: str) -> str:
    """Send a request over a connection of its own: the kernel chooses a process for each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"{line} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    text = (await reader.read()).decode()
    writer.close()
    return text


def test_skipped_ticks_are_counted_by_schedule_and_reason() -> None:
    skips = {"shop/nightly": {"overlap": 3, "missed": 1}, "shop/hourly": {}}
    text = exposition(Snapshot(), StoreFigures(skips=skips)).decode()
    assert [line for line in text.splitlines() if line.startswith("iogate_schedule_ticks_skipped_total")] == [
        'iogate_schedule_ticks_skipped_total{reason="overlap",schedule="shop/nightly"} 3.0',
        'iogate_schedule_ticks_skipped_total{reason="missed",schedule="shop/nightly"} 1.0',
    ]


async def test_three_processes_are_one_to_prometheus(redis_url: str, store: Store, tmp_path: Path) -> None:
    await publish(store, api("a/b"))
    accepted = 0
    with listening() as on:
        gateways = [spawn(redis_url, on, tmp_path, gateways=3, data_dir=tmp_path) for _ in range(3)]
        port = gateways[0].port

        async def call(count: int) -> None:
            nonlocal accepted
            for _ in range(count):
                assert " 202 " in (await request(port, "POST /v1/api/a/b/async")).partition("\r\n")[0]
                accepted += 1

        async def all_agree(processes: int) -> bool:
            texts = [await request(port, "GET /metrics") for _ in range(10)]
            names = (
                'iogate_calls_accepted_total{api="a/b"}',
                'iogate_accept_seconds_count{api="a/b"}',
                'iogate_accept_seconds_bucket{api="a/b",le="+Inf"}',
            )
            return all(
                value(text, "iogate_gateways") == processes
                and [value(text, name) for name in names] == [accepted] * 3
                for text in texts
            )

        def written() -> bool:
            """Whether the files of the processes have all accepted calls."""
            files = (tmp_path / "metrics" / str(port)).glob("*-*.json")
            found = [msgspec.json.decode(path.read_bytes(), type=Snapshot) for path in files]
            return sum(each.apis["a/b"].accepted for each in found if each.apis) == accepted

        try:
            await until(lambda: announced(store, *gateways), START_S)
            await call(30)
            await until(lambda: all_agree(3), START_S)
            # A killed process leaves what it had written, which the others may not need to agree.
            await until(lambda: asyncio.to_thread(written), START_S)
            # One ends politely, one is killed: what they had counted stays, what they were does not.
            gateways[2].process.terminate()
            gateways[1].process.kill()
            await asyncio.gather(*(asyncio.to_thread(each.process.wait, 60) for each in gateways[1:]))
            await call(10)
            await until(lambda: all_agree(1), START_S)
            assert accepted == 40
        finally:
            for gateway in gateways:
                gateway.stop()
    left = [path.name for path in (tmp_path / "metrics" / str(port)).glob("*.lock")]
    assert len(left) == 1, left


async def ran(shared: SharedMetrics) -> asyncio.Task[None]:
    task = asyncio.create_task(shared.run())

    async def joined() -> bool:
        return bool(shared._written)

    await until(joined)
    return task


async def ended(shared: SharedMetrics, task: asyncio.Task[None]) -> None:
    """End the task, and give up the lock as the end of the process does."""
    import os

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert shared._held is not None
    os.close(shared._held)


async def test_counters_of_an_ended_process_remain_and_its_gauges_do_not(tmp_path: Path) -> None:
    first = SharedMetrics(tmp_path, lambda: counted(1, streams=5, revision=2))
    second = SharedMetrics(tmp_path, lambda: counted(10, streams=7, revision=3))
    third = SharedMetrics(tmp_path, lambda: counted(100, revision=4))
    tasks = [await ran(shared) for shared in (first, second, third)]
    found = await third.others()
    assert (found.apis["a/b"].accepted, found.processes, found.streams, found.revision) == (11, 2, 12, 2)
    await ended(first, tasks[0])
    for _ in range(2):
        found = await third.others()
        assert (found.apis["a/b"].accepted, found.processes, found.streams, found.revision) == (11, 1, 7, 3)
        assert found.apis["a/b"].refused == {"x": 2}
        assert sum(found.apis["a/b"].buckets) == 2
    await ended(second, tasks[1])
    await ended(third, tasks[2])
    # Nobody is left: the next one begins at zero.
    fourth = SharedMetrics(tmp_path, lambda: counted(1000))
    task = await ran(fourth)
    assert (await fourth.others()) == Snapshot()
    await ended(fourth, task)


async def test_an_unwritable_folder_only_omits_the_counts_of_other_processes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    shared = SharedMetrics(tmp_path / "file" / "metrics", lambda: counted(1))
    task = asyncio.create_task(shared.run())
    for _ in range(2):
        assert await shared.others() == Snapshot()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"metrics of other gateway processes are missing: {tmp_path / 'file' / 'metrics'}: Not a directory"
    ]


async def test_paths_that_only_resemble_the_metrics_are_a_404(
    redis_url: str, store: Store, tmp_path: Path
) -> None:
    """A proxy keeps `/metrics` inside by its path: no other form of it may serve the metrics."""
    await publish(store, api("a/b"))
    with listening() as on:
        gateway = spawn(redis_url, on, tmp_path)
        try:
            await until(lambda: announced(store, gateway), START_S)

            def status(target: str) -> int:
                # http.client sends the target as it is, unlike clients that normalize it.
                host = gateway.url.removeprefix("http://")
                with closing(http.client.HTTPConnection(host, timeout=20)) as client:
                    client.putrequest("GET", target, skip_host=True)
                    client.putheader("Host", host)
                    client.endheaders()
                    return client.getresponse().status

            targets = ["/metrics", "/metrics/", "/%6detrics", "//metrics"]
            statuses = {each: await asyncio.to_thread(status, each) for each in targets}
            assert statuses == {"/metrics": 200, "/metrics/": 404, "/%6detrics": 404, "//metrics": 404}
        finally:
            gateway.stop()
