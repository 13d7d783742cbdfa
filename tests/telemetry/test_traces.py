"""One trace shows a run across gateway and workers, and contains no secret."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")

from iogate.auth.model import FileSecret
from iogate.compiler.revision import Callback
from tests.gateway import driver
from tests.http_server import HttpServer
from tests.ports import free_port
from tests.telemetry.collector import Collector, Seen
from tests.worker.site import NOOP, Site, decoded, until, workflow

if TYPE_CHECKING:
    from tests.gateway.driver import Gateway

CANARIES = {
    name: f"canary-{name}-7Hq2Zt9"
    for name in ("input", "query", "header", "secret", "body", "stderr", "collector", "callback", "output")
}
TRACE, CALLER = "a" * 32, "b" * 16
PARENT = f"00-{TRACE}-{CALLER}-01"


@dataclass
class Target(HttpServer):
    """Receiver of calls and callbacks, which answers with the next status."""

    statuses: deque[int] = field(default_factory=deque)
    parents: list[tuple[str, str]] = field(default_factory=list)
    """Path and `traceparent` of each request."""

    async def respond(self, path: str, headers: dict[str, str], _body: bytes) -> bytes | None:
        self.parents.append((path.partition("?")[0], headers.get("traceparent", "")))
        status = self.statuses.popleft() if self.statuses else 200
        said = json.dumps({"said": CANARIES["body"]}).encode()
        return b"HTTP/1.1 %d Said\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
            status,
            len(said),
            said,
        )


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    async with Collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"api-key={CANARIES['collector']}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        yield found


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with Target() as found:
        yield found


@pytest.fixture
async def gateway(site: Site, redis_url: str, collector: Collector) -> AsyncIterator[Gateway]:
    with driver.listening() as listening:
        started = driver.spawn(redis_url, listening, site.folder)
        yield started
        started.stop()


async def called(gateway: Gateway, path: str, **headers: str) -> str:
    """Call an API as soon as the gateway serves it; return the uid."""
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:
        until_s = time.monotonic() + 60
        while True:
            try:
                body = {"given": CANARIES["input"]}
                response = await client.post(path, json=body, headers=headers)
            except httpx.TransportError:
                response = None
            if response is not None and response.status_code == 202:
                uid: str = response.json()["response"]["uid"]
                return uid
            assert time.monotonic() < until_s, response
            await asyncio.sleep(0.05)


async def one(collector: Collector, uid: str, name: str, count: int = 1) -> list[Seen]:
    await until(lambda: len(collector.named(uid, name)) >= count, name=f"{count} spans {name!r}")
    found = collector.named(uid, name)
    assert len(found) == count, found
    return found


def flow(target: Target) -> dict[str, Any]:
    """Make a workflow with an effect of each kind, a retry, a wait and a child."""
    post = {
        "method": "post",
        "endpoint": f"{target.url}/orders/{{given}}?token={CANARIES['query']}",
        "headers": {"X-Key": CANARIES["header"], "X-Token": "${ $secrets.TOKEN }"},
        "body": {"sent": "${ . }"},
    }
    script = (
        "import os, sys; print(sorted(name for name in os.environ if 'OTEL' in name)); "
        f"sys.stderr.write({CANARIES['stderr']!r}); raise SystemExit(3)"
    )
    attempt = {
        "try": [{"ask": {"call": "http", "with": post}}],
        "catch": {"retry": {"delay": {"milliseconds": 20}, "limit": {"attempt": {"count": 3}}}},
    }
    process = {"script": {"language": "python", "code": script}, "return": "all"}
    event = {"source": "https://shop/orders", "type": "shop.order.paid", "data": CANARIES["output"]}
    return workflow(
        "flow",
        {"careful": {**attempt, "output": {"as": {"given": "x"}}}},
        {"script": {"run": process, "export": {"as": "${ {printed: .stdout} }"}}},
        {"told": {"emit": {"event": {"with": event}}, "output": {"as": "${ $input }"}}},
        {"nap": {"wait": {"milliseconds": 1200}}},
        {"later": {"call": "http", "with": {"method": "get", "endpoint": f"{target.url}/later"}}},
        {"child": {"run": {"workflow": {"namespace": "test", "name": "noop", "version": "1.0.0"}}}},
        use={"secrets": ["TOKEN"]},
        output={"as": "${ $context.printed }"},
    )


async def test_one_trace_shows_a_run_across_gateway_and_workers(
    site: Site, collector: Collector, target: Target, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "orders")
    monkeypatch.setenv("OF_TOKEN", CANARIES["secret"])
    (site.folder / "cb").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    target.statuses.extend([503, 200, 200])
    callback = Callback(url=f"{target.url}/ends/{CANARIES['callback']}", secret=FileSecret(path="cb"))
    await site.publish(flow(target), NOOP, callback=callback)
    await site.worker(secrets={"TOKEN": {"env": "OF_TOKEN"}})
    uid = await called(gateway, "/v1/api/test/flow/async", traceparent=PARENT)
    run = await site.ended(uid)
    assert run.status == "completed", run.error
    assert decoded(run.output) == "[]\n", "scripts get the environment that settings name"

    (served,) = await one(collector, uid, "POST /v1/api/test/flow/async")
    assert (served.kind, served.trace, served.parent) == ("server", TRACE, CALLER)
    assert served.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/api/test/flow/async",
        "url.path": "/v1/api/test/flow/async",
        "url.scheme": "http",
        "http.response.status_code": 202,
        "iogate.api": "test/flow",
        "iogate.workflow": "test/flow:1.0.0",
        "iogate.project": "default",
        "iogate.revision": site.revision,
        "iogate.run.uid": uid,
    }
    leases = await one(collector, uid, "run test/flow:1.0.0", 3)
    assert {(span.kind, span.parent) for span in leases} == {("consumer", served.id)}
    assert [span.links for span in leases] == [[], [leases[0].id], [leases[1].id]]
    assert [span.attributes["iogate.run.status"] for span in leases] == ["waiting", "waiting", "completed"]
    assert {span.service for span in leases} == {"orders"}
    assert served.service == "iogate", "the gateway started before the name was set"

    await check_effects(collector, uid, leases, target)
    await until(lambda: any(span.name == "run test/noop:1.0.0" for span in collector.spans))
    child = next(span for span in collector.spans if span.name == "run test/noop:1.0.0")
    assert (child.trace, child.parent) == (TRACE, leases[1].id)
    await until(lambda: any("iogate.callback.try" in span.attributes for span in collector.of(uid)))
    told = next(span for span in collector.of(uid) if "iogate.callback.try" in span.attributes)
    assert (told.name, told.kind, told.parent, told.failed) == ("POST", "client", served.id, False)

    assert {span.trace for span in collector.spans} == {TRACE}
    sent = dict(target.parents)
    assert sent[f"/ends/{CANARIES['callback']}"] == f"00-{TRACE}-{told.id}-01"
    assert [name for name, value in CANARIES.items() if value.encode() in collector.raw] == []
    assert collector.headers[0]["api-key"] == CANARIES["collector"]
    logs = gateway.log.read_text() + site.workers[0].log_text()
    assert CANARIES["collector"] not in logs
    assert "traces are exported to" in logs


async def check_effects(collector: Collector, uid: str, leases: list[Seen], target: Target) -> None:
    """Check the spans of the effects of `flow`."""
    first, second = await one(collector, uid, "POST /orders/{given}", 2)
    assert (first.kind, first.parent, first.failed) == ("client", leases[0].id, True)
    assert (first.attributes["http.response.status_code"], first.attributes["error.type"]) == (503, "503")
    assert first.attributes["iogate.task"] == "/do/0/careful/try/0/ask"
    assert first.attributes["url.template"] == "/orders/{given}"
    assert first.attributes["server.address"] == "127.0.0.1"
    assert "url.full" not in first.attributes
    assert (second.parent, second.failed) == (leases[0].id, False)
    assert second.attributes["http.response.status_code"] == 200
    assert f"/{CANARIES['input']}" not in first.name

    (ran,) = await one(collector, uid, "run script python")
    assert (ran.kind, ran.parent, ran.failed) == ("internal", leases[0].id, False)
    (told,) = await one(collector, uid, "emit shop.order.paid")
    assert (told.kind, told.parent) == ("producer", leases[0].id)
    assert told.attributes["cloudevents.event_source"] == "https://shop/orders"
    (later,) = await one(collector, uid, "GET /later")
    assert (later.parent, later.attributes["url.full"]) == (leases[1].id, f"{target.url}/later")
    assert dict(target.parents)["/later"] == f"00-{TRACE}-{later.id}-01"


async def test_a_run_of_no_caller_is_a_trace_of_its_own(
    site: Site, collector: Collector, target: Target
) -> None:
    """As of a schedule, or of a gateway without tracing; also when several workers go on with it."""
    ask = {"call": "http", "with": {"method": "get", "endpoint": f"{target.url}/later"}}
    await site.publish(workflow("flow", {"nap": {"wait": {"milliseconds": 1100}}}, {"ask": ask}))
    await site.worker()
    uid = await site.call("flow")
    await site.ended(uid)
    first, second = await one(collector, uid, "run test/flow:1.0.0", 2)
    assert (first.parent, first.links) == ("", [])
    assert (second.parent, second.links, second.trace) == (first.id, [first.id], first.trace)
    (later,) = await one(collector, uid, "GET /later")
    assert (later.trace, later.parent) == (first.trace, second.id)


async def test_a_faulted_run_has_the_type_of_its_error(site: Site, collector: Collector) -> None:
    error = {"type": "https://example.com/out-of-stock", "status": 409}
    await site.publish(workflow("bad", {"no": {"raise": {"error": error}}}))
    await site.worker()
    uid = await site.call("bad")
    await site.ended(uid)
    (lease,) = await one(collector, uid, "run test/bad:1.0.0")
    assert (lease.failed, lease.attributes["error.type"]) == (True, "https://example.com/out-of-stock")


async def test_the_sampler_of_the_settings_decides(
    site: Site, collector: Collector, target: Target, gateway: Gateway
) -> None:
    """A caller that does not record its trace is followed, and its context passed on."""
    ask = {"call": "http", "with": {"method": "get", "endpoint": f"{target.url}/later"}}
    await site.publish(workflow("flow", {"ask": ask}), NOOP)
    await site.worker()
    quiet = PARENT.removesuffix("01") + "00"
    uid = await called(gateway, "/v1/api/test/flow/async", traceparent=quiet)
    await site.ended(uid)
    other = await called(gateway, "/v1/api/test/noop/async")
    await one(collector, other, "run test/noop:1.0.0")
    assert collector.of(uid) == []
    assert dict(target.parents)["/later"] == quiet


def is_told(read: Callable[[], str]) -> bool:
    return "traces cannot be exported" in read()


async def test_a_collector_out_of_reach_costs_one_record_and_no_time(
    site: Site, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://user:{CANARIES['header']}@127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    await site.publish(NOOP)
    worker = await site.worker()
    with driver.listening() as listening:
        gateway = driver.spawn(redis_url, listening, site.folder)
        try:
            uids = [await called(gateway, "/v1/api/test/noop/async") for _ in range(8)]
            await site.all_ended(uids)
            for read in (gateway.log.read_text, worker.log_text):
                await until(functools.partial(is_told, read))
            began_s = time.monotonic()
            gateway.process.terminate()
            worker.process.terminate()
            assert await worker.wait(60) == 0
            assert gateway.process.wait(60) == 0
            # An export that nothing bounds would go on for half a minute.
            assert time.monotonic() - began_s < 20, "the end does not wait for the collector"
        finally:
            gateway.stop()
    for text in (gateway.log.read_text(), worker.log_text()):
        (record,) = re.findall(r".*traces cannot be exported.*", text)
        assert f"to http://127.0.0.1:{port}: " in record
        assert CANARIES["header"] not in text
        assert "Traceback" not in text


def is_exported(collector: Collector, uid: str, name: str) -> bool:
    return bool(collector.named(uid, name))


async def test_the_last_spans_are_exported_at_the_end(
    site: Site, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    name = "run test/noop:1.0.0"
    await site.publish(NOOP)
    for _ in range(3):  # a stall may be longer than the time that a worker has for its last export
        worker = await site.worker()
        uid = await site.call()
        assert decoded((await site.ended(uid)).output) == {"ok": True}
        assert collector.of(uid) == []
        worker.process.terminate()
        assert await worker.wait() == 0
        with contextlib.suppress(AssertionError):
            await until(functools.partial(is_exported, collector, uid, name), 15, "the span")
            break
    await one(collector, uid, name)
