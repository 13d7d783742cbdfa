"""`python -m bench console`: how fast the console shows many runs, and how large its pages are.

100,000 runs of real accepts, takes and commits on one Redis, one gateway, and one client that opens pages one
after the other. The figures are those of complete responses over HTTP, uncompressed:

    list        pages of 50 runs by various filters and behind cursors; the 95th percentile at most 100 ms
    run         a run that has ended; the 95th percentile at most 100 ms
    tasks       a run of 1,000 tasks with a full journal; the 95th percentile at most 150 ms, at most 2,500
                elements
    elements    of the list; at most 1,500
    cpuMs       processor time of one page of each kind: of the gateway, and of the store

Ends with 1 if a figure is over its limit.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bench import index
from bench.site import arguments_of, free_port, redis_server
from iogate.compiler.revision import Bundle, Revision
from iogate.store.runs.commits import Commit, TaskRow
from iogate.store.store import Store, open_store
from tests.keys import LINK_KEY, RING

MOST_MS = 100.0
MOST_ELEMENTS = 1_500
MOST_TASKS_MS = 150.0
MOST_TASK_ELEMENTS = 2_500
TASKS = 1_000
TOKEN = "bench-token-0123456789"
SETTINGS = f"link_key: {LINK_KEY}\noperators:\n  ada: {{token: {{env: ADA_TOKEN}}, role: admin}}\n"
LISTS = {
    "all": "",
    "api": f"api={index.COMMON.id}",
    "faulted": f"api={index.COMMON.id}&status=faulted",
    "caller": f"api={index.COMMON.id}&caller=caller-7",
    "rare": f"api={index.RARE.id}",
}


async def fill(url: str, runs: int) -> str:
    """Store runs of two APIs, and one of many tasks; return the uid of that one."""
    store = await open_store(url, keyring=RING)
    try:
        apis = {each.id: each for each in (index.COMMON, index.RARE)}
        bundle = Bundle(revision=Revision(apis=apis, workflows={}), programs={index.PROGRAM: b"{}"})
        await store.revisions.publish(bundle)
        await store.leases.audit()
        intake = store.intake()
        await index.fill(store, intake, index.COMMON, runs)
        await index.fill(store, intake, index.RARE, index.RARE_RUNS)
        return await fill_tasks(store)
    finally:
        await store.close()


async def fill_tasks(store: Store) -> str:
    """End one of the pending runs with as many tasks and entries as a run may have; return its uid."""
    (claim,) = (await store.leases.take("bench", 1)).claims
    now_ms = await store.now_ms()
    rows = [
        TaskRow(
            reference=f"/do/{at}/step-{at}",
            name=f"step-{at}",
            status="completed",
            started_at_ms=now_ms + at,
            ended_at_ms=now_ms + at + 1,
        )
        for at in range(TASKS)
    ]
    journal = [
        json.dumps(
            {"at": row.started_at_ms + at % 2, "kind": kind, "reference": row.reference, "name": row.name}
        ).encode()
        for at, row in enumerate(rows)
        for kind in ("task.started", "task.completed")
    ]
    commit = Commit(
        uid=claim.uid,
        token=claim.token,
        seq=claim.seq + 1,
        move="end",
        status="completed",
        output=index.INPUT,
        journal=journal[-TASKS:],
        tasks=rows,
        head=b"{}",
    )
    await store.leases.commit([commit])
    return claim.uid


class Processor:
    """Processor time of processes and of their children."""

    def __init__(self, **processes: int) -> None:
        self._processes = processes

    def spent_ms(self) -> dict[str, float]:
        """Return the milliseconds of processor time that each of them has spent so far."""
        return {name: sum(map(_spent_ms, _family(pid))) for name, pid in self._processes.items()}

    def per_page(self, visitor: Visitor, urls: list[str]) -> dict[str, float]:
        """Return the processor time of a page, on average over some pages."""
        before = self.spent_ms()
        for url in urls:
            visitor.page(url)
        return {name: round((ms - before[name]) / len(urls), 1) for name, ms in self.spent_ms().items()}


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _family(int(child)))]


def _spent_ms(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def gateway(folder: Path, redis: str) -> Iterator[tuple[str, int]]:
    """Serve the store with one gateway; yield its URL, and the process that supervises it."""
    (folder / "iogate.yaml").write_text(SETTINGS)
    port = free_port()
    environment = {**os.environ, "ADA_TOKEN": TOKEN, "IOGATE_REDIS_URL": redis}
    command = [sys.executable, "-m", "iogate", "serve", "--port", str(port)]
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                if httpx.get(f"{url}/health/ready").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(30)


class Visitor:
    """A client with a session."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, headers={"Accept-Encoding": "identity"}, timeout=30)
        self._client.post("/console/login", data={"token": TOKEN}, headers={"Origin": url})

    def page(self, url: str) -> tuple[float, str]:
        """Return the milliseconds of a page, and its text."""
        began = time.perf_counter()
        response = self._client.get(url)
        spent_ms = 1000 * (time.perf_counter() - began)
        assert response.status_code == 200, response.text
        return spent_ms, response.text

    def p95(self, urls: list[str]) -> float:
        times = sorted(self.page(url)[0] for url in urls)
        return round(times[min(len(times) - 1, int(0.95 * len(times)))], 1)


def elements(text: str) -> int:
    return len(re.findall(r"<[a-z]", text))


def measure(visitor: Visitor, processor: Processor, many: str, rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {"listP95Ms": {}, "cpuMs": {}}
    uids: list[str] = []
    for name, query in LISTS.items():
        url, urls = f"/console/runs?{query}", []
        for _ in range(rounds):
            urls.append(url)
            _, text = visitor.page(url)
            uids += re.findall(r'class="mono" href="/console/runs/([0-9]+)"', text)
            older = re.search(r'rel="next" href="([^"]+)"', text)
            url = older[1].replace("&amp;", "&") if older else f"/console/runs?{query}"
        found["listP95Ms"][name] = visitor.p95(urls)
        found["cpuMs"][name] = processor.per_page(visitor, urls)
    _, text = visitor.page("/console/runs")
    found["listElements"] = elements(text)
    runs = [f"/console/runs/{uid}" for uid in uids[: 5 * rounds]]
    found["runP95Ms"] = visitor.p95(runs)
    found["cpuMs"]["run"] = processor.per_page(visitor, runs)
    found["cpuMs"]["overview"] = processor.per_page(visitor, ["/console"] * rounds)
    large = [f"/console/runs/{many}"] * rounds
    _, text = visitor.page(large[0])
    found["tasks"] = {
        "rows": text.count("data-ref="),
        "p95Ms": visitor.p95(large),
        "elements": elements(text),
    }
    found["cpuMs"]["tasks"] = processor.per_page(visitor, large)
    return found


def over_limits(found: dict[str, Any]) -> list[str]:
    late = [f"listP95Ms.{name}" for name, ms in found["listP95Ms"].items() if ms > MOST_MS]
    late += ["runP95Ms"] if found["runP95Ms"] > MOST_MS else []
    late += ["listElements"] if found["listElements"] >= MOST_ELEMENTS else []
    late += ["tasks.p95Ms"] if found["tasks"]["p95Ms"] > MOST_TASKS_MS else []
    return late + (["tasks.elements"] if found["tasks"]["elements"] >= MOST_TASK_ELEMENTS else [])


def main(arguments: list[str]) -> None:
    parser = arguments_of("console", __doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="iogate-bench-") as name, redis_server(Path(name)) as redis:
        url = f"unix://{redis.connection_pool.connection_kwargs['path']}"
        many = asyncio.run(fill(url, given.runs))
        store = int(redis.info("server")["process_id"])
        with gateway(Path(name), url) as (served, pid):
            found = measure(Visitor(served), Processor(gateway=pid, store=store), many, given.rounds)
    late = over_limits(found)
    print(json.dumps({"schema": "iogate.bench.console/v1", **found, "overLimits": late}, indent=2))
    sys.exit(bool(late))
