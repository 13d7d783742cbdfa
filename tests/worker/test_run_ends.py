"""What follows the end of a run: a signed callback until it is accepted, and the run that a fault starts."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from iogate.auth.model import FileSecret
from iogate.compiler.revision import Callback, FaultHandler, digest_of
from iogate.operators.runs.run_actions import describe_redelivery
from iogate.operators.runs.run_details import run_json
from iogate.security import standard_webhooks
from iogate.store import keys
from iogate.store.events.due_callbacks import UNSIGNED, EndRecord, Settled
from iogate.store.maintenance.process_presence import CALLBACK, Process
from tests.http_server import HttpServer
from tests.worker.site import NOOP, Site, until, workflow

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FAULTY = workflow(
    "faulty", {"bad": {"raise": {"error": {"type": "https://e/x", "status": 418, "title": "No"}}}}
)
SLOW = workflow("slow", {"nap": {"wait": {"hours": 1}}})
NOTIFY = workflow("notify", {"told": {"set": {"was": "${ . }"}}})


@dataclass
class Receiver(HttpServer):
    """Receiver of callbacks that answers as configured, and verifies each signature."""

    answers: deque[tuple[int, str]] = field(default_factory=deque)
    """Status and further headers of the next answers; 204 afterwards."""
    got: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    async def respond(self, path: str, headers: dict[str, str], body: bytes) -> bytes | None:
        id_, at_s = headers[standard_webhooks.ID], int(headers[standard_webhooks.TIMESTAMP])
        key = standard_webhooks.key(SECRET)
        assert headers[standard_webhooks.SIGNATURE] == standard_webhooks.sign(key, id_, at_s, body)
        assert headers["content-type"] == "application/json"
        assert headers["idempotency-key"] == id_
        self.paths.append(path)
        self.ids.append(id_)
        self.got.append(json.loads(body))
        status, more = self.answers.popleft() if self.answers else (204, "")
        return b"HTTP/1.1 %d Said\r\n%bContent-Length: 0\r\n\r\n" % (status, more.encode())


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as found:
        yield found


@pytest.fixture
def callback(site: Site, receiver: Receiver) -> Callable[..., Callback]:
    """Make a callback to the receiver, with a secret in a file."""
    (site.folder / "cb").write_text(SECRET)

    def make(**more: Any) -> Callback:
        given: dict[str, Any] = {"url": f"{receiver.url}/ends", "secret": FileSecret(path="cb")}
        return Callback(**(given | more))

    return make


async def record(site: Site, uid: str) -> EndRecord:
    found = await site.store.callbacks.record(uid)
    assert found is not None
    return found


async def settled(site: Site, uid: str, condition: Callable[[EndRecord], bool]) -> EndRecord:
    """Wait until the record of a run's end has a property."""

    async def holds() -> bool:
        found = await site.store.callbacks.record(uid)
        return found is not None and condition(found)

    await until(holds, name="the record of the callback")
    return await record(site, uid)


async def test_the_end_of_a_run_is_sent_once_and_recorded(
    site: Site, receiver: Receiver, callback: Callable[..., Callback]
) -> None:
    await site.publish(NOOP, callback=callback())
    await site.worker()
    uid = await site.call(data={"n": 1})
    view = await site.ended(uid)
    assert "traceId" not in run_json(view)
    traced = msgspec.structs.replace(view, trace=f"00-{'ab' * 16}-{'cd' * 8}-01 a=b")
    assert run_json(traced)["traceId"] == "ab" * 16
    done = await settled(site, uid, lambda each: each.delivered_ms is not None)
    assert (done.tries, done.due_ms, done.stopped_ms, done.error) == (1, None, None, None)
    assert (done.id, receiver.ids) == (f"run_{uid}_1", [f"run_{uid}_1"])
    (body,) = receiver.got
    assert (body["type"], body["data"]["uid"], body["data"]["api"]) == ("run.completed", uid, "test/noop")
    assert (body["data"]["output"], body["data"]["error"]) == ({"ok": True}, None)
    assert body["timestamp"] == body["data"]["endedAt"]
    assert body["data"]["attempt"] == view.attempt == 1
    assert await site.store.call("ZCARD", "iogate:callbacks") == 0
    assert await site.store.callbacks.redeliver(uid) == "ok"
    await until(lambda: len(receiver.ids) == 2)
    assert receiver.ids == [done.id] * 2
    counts, _ = await site.store.callbacks.counts()
    assert counts["delivered"] >= 1


async def test_a_refused_callback_is_sent_again_under_its_id(
    site: Site, receiver: Receiver, callback: Callable[..., Callback]
) -> None:
    receiver.answers.extend([(500, ""), (302, "Location: /elsewhere\r\n")])
    await site.publish(FAULTY, callback=callback())
    await site.worker()
    uid = await site.call("faulty")
    failed = await settled(site, uid, lambda each: each.error is not None)
    assert (failed.tries, failed.status) in ((1, 500), (2, 302))
    done = await settled(site, uid, lambda each: each.delivered_ms is not None)
    assert (done.tries, set(receiver.ids), set(receiver.paths)) == (3, {done.id}, {"/ends"})
    body = receiver.got[0]
    assert (body["type"], body["data"]["output"]) == ("run.faulted", None)
    assert (body["data"]["error"]["status"], body["data"]["error"]["title"]) == (418, "No")


async def test_retry_after_is_honoured_and_410_ends_the_tries(
    site: Site, receiver: Receiver, callback: Callable[..., Callback]
) -> None:
    receiver.answers.extend([(429, "Retry-After: 3600\r\n"), (500, ""), (410, "")])
    await site.publish(NOOP, callback=callback())
    await site.worker()
    uid = await site.call()
    later = await settled(site, uid, lambda each: each.error is not None)
    assert later.status == 429
    assert later.due_ms is not None
    assert 3_500_000 < later.due_ms - await site.store.now_ms() <= 3_600_000
    # As after nine tries: the next delay would be 6 h, and begins again with 2 s.
    await site.store.call("HSET", keys.AFTER + uid, "tries", 9)
    assert await site.store.callbacks.redeliver(uid) == "ok"
    gone = await settled(site, uid, lambda each: each.stopped_ms is not None)
    assert (gone.status, gone.tries, gone.due_ms) == (410, 11, None)
    assert await site.store.call("ZCARD", "iogate:callbacks") == 0


@pytest.mark.parametrize("wish", ["90000", "9999999", "Thu, 31 Dec 2099 00:00:00 GMT"])
async def test_a_long_retry_after_does_not_end_the_tries(
    site: Site, receiver: Receiver, callback: Callable[..., Callback], wish: str
) -> None:
    receiver.answers.append((503, f"Retry-After: {wish}\r\n"))
    await site.publish(NOOP, callback=callback())
    await site.worker()
    uid = await site.call()
    later = await settled(site, uid, lambda each: each.error is not None)
    assert later.stopped_ms is None
    assert later.due_ms is not None
    assert 21_500_000 < later.due_ms - await site.store.now_ms() <= 21_600_000


@dataclass
class Silent(HttpServer):
    """Receiver that never answers."""

    paths: list[str] = field(default_factory=list)

    async def respond(self, path: str, headers: dict[str, str], body: bytes) -> bytes | None:
        del headers, body
        self.paths.append(path)
        await asyncio.sleep(60)
        return None


async def test_a_slow_host_delays_no_other_host_in_whatever_spelling(
    site: Site, receiver: Receiver, callback: Callable[..., Callback]
) -> None:
    async with Silent() as silent:
        _, _, port = silent.url.rpartition(":")
        await site.publish(NOOP, callback=callback(url="", allow=("127.0.0.1:*", "localhost:*")))
        for n in range(40):
            letters = zip("localhost", f"{n:09b}", strict=True)
            host = "".join(letter.upper() if bit == "1" else letter for letter, bit in letters)
            await site.call(callback_url=f"http://{host}:{port}/slow")
        await site.worker()
        await until(lambda: len(silent.paths) >= 8)
        fast = await site.call(callback_url=f"{receiver.url}/fast")
        # The first of the slow ones times out after 15 s, and makes room.
        await until(lambda: receiver.paths == ["/fast"], 14, "the callback to the other host")
        assert len(silent.paths) == 8
        await settled(site, fast, lambda each: each.delivered_ms is not None)
        await site.close()


async def test_a_caller_names_a_receiver_on_an_allowed_host(
    site: Site, receiver: Receiver, callback: Callable[..., Callback]
) -> None:
    host = receiver.url.removeprefix("http://")
    await site.publish(NOOP, callback=callback(url="", allow=(host,)))
    await site.worker()
    named = await site.call(callback_url=f"{receiver.url}/mine")
    unnamed = await site.call()
    await site.all_ended([named, unnamed])
    await settled(site, named, lambda each: each.delivered_ms is not None)
    assert receiver.paths == ["/mine"]
    assert await site.store.callbacks.record(unnamed) is None


async def test_a_changed_url_of_a_caller_is_not_called(
    site: Site, receiver: Receiver, callback: Callable[..., Callback]
) -> None:
    """Someone who can only write to the store redirects no callback."""
    host = receiver.url.removeprefix("http://")
    await site.publish(NOOP, callback=callback(url="", allow=(host,)))
    uid = await site.call(callback_url=f"{receiver.url}/mine")
    packed = (await site.store.call("HGET", f"iogate:run:{uid}", "aft")).decode()
    await site.store.call("HSET", f"iogate:run:{uid}", "aft", packed.replace("/mine", "/theirs"))
    worker = await site.worker()
    done = await settled(site, uid, lambda each: each.stopped_ms is not None)
    assert (done.error, receiver.paths) == ("the URL of the caller is not authentic", [])
    assert f"callback of run {uid} was given up: the URL of the caller is not authentic" in worker.log_text()


async def test_only_the_chosen_ends_are_told_also_of_a_run_that_never_started(
    site: Site, receiver: Receiver, callback: Callable[..., Callback]
) -> None:
    await site.publish(NOOP, callback=callback(on=("cancelled",)))
    cancelled, other = await site.call(), await site.call()
    assert await site.store.runs.cancel(cancelled, "test") == "cancelled"
    await site.worker()
    await site.ended(other)
    await settled(site, cancelled, lambda each: each.delivered_ms is not None)
    (body,) = receiver.got
    assert (body["type"], body["data"]["error"]["code"]) == ("run.cancelled", "cancelled")
    assert (await record(site, other)).id == ""


async def test_a_missing_secret_delays_a_callback(
    site: Site, receiver: Receiver, callback: Callable[..., Callback]
) -> None:
    await site.publish(NOOP, callback=callback())
    (site.folder / "cb").unlink()
    worker = await site.worker()
    uid = await site.call()
    waits = await settled(site, uid, lambda each: each.error is not None)
    assert waits.error is not None
    assert waits.error.startswith("no signature: secret file cb")
    assert SECRET not in worker.log_text()
    assert "callbacks of test/noop wait: secret file cb" in worker.log_text()
    (site.folder / "cb").write_text(SECRET)
    await settled(site, uid, lambda each: each.delivered_ms is not None)
    assert len(receiver.got) == 1


async def test_a_secret_that_appears_ends_the_wait_of_its_callbacks(
    site: Site, receiver: Receiver, callback: Callable[..., Callback]
) -> None:
    await site.publish(NOOP, callback=callback())
    (site.folder / "cb").unlink()
    uid = await site.call()
    await site.worker()
    first = await settled(site, uid, lambda each: each.error is not None)
    await site.store.call("HDEL", f"iogate:after:{uid}", "error")
    await site.store.call("HSET", f"iogate:after:{uid}", "tries", 9)
    await site.store.call("ZADD", keys.CALLBACKS, 1, uid)
    await site.store.call("PUBLISH", keys.CALLBACKS_CHANNEL, "1")
    waits = await settled(site, uid, lambda each: each.tries > 9 and each.error is not None)
    assert waits.due_ms is not None
    assert waits.due_ms > await site.store.now_ms() + 3_600_000
    assert waits.error == first.error
    (site.folder / "cb").write_text(SECRET)
    await site.worker()
    await settled(site, uid, lambda each: each.delivered_ms is not None)
    assert len(receiver.got) == 1


async def test_a_callback_in_a_try_or_with_another_error_is_not_hastened(
    site: Site, receiver: Receiver, callback: Callable[..., Callback]
) -> None:
    del receiver
    await site.publish(NOOP, callback=callback())
    worker = await site.worker()
    uid = await site.call()
    await settled(site, uid, lambda each: each.delivered_ms is not None)
    worker.signal(signal.SIGTERM)
    await worker.wait()
    assert await site.store.callbacks.redeliver(uid) == "ok"
    (due,), now_ms, _ = await site.store.callbacks.take(5)
    assert await site.store.callbacks.hasten() == 0
    for error, count in (("503", 0), (UNSIGNED + "secret", 1)):
        settle = Settled(due=due, outcome="failed", error=error, next_ms=now_ms + 3_600_000)
        assert await site.store.callbacks.settle([settle]) == 1
        assert await site.store.callbacks.hasten() == count
    ((again,), _, _) = await site.store.callbacks.take(5)
    assert again.uid == uid


def test_redelivery_says_whether_workers_can_sign() -> None:
    has, lacks = (
        Process(kind="worker", id=name, pid=1, host="h", started_at_ms=0, revision=1, detail=detail)
        for name, detail in (("a", {}), ("b", {CALLBACK + "test/noop": "variable X is not set"}))
    )
    due = "the callback of run 7 is due now"
    sent = (f"{due}: a worker sends it at once", True)
    assert describe_redelivery("7", "test/noop", [has]) == sent
    assert describe_redelivery("7", "other/api", [lacks]) == sent
    assert describe_redelivery("7", "test/noop", []) == (f"{due}, and is sent when a worker runs", False)
    reason = f"{due}, but workers cannot sign it: variable X is not set"
    assert describe_redelivery("7", "test/noop", [lacks, lacks]) == (reason, False)
    assert describe_redelivery("7", "test/noop", [has, lacks]) == (f"{reason} on 1 of 2 workers", False)


async def handled(site: Site, *definitions: dict[str, Any], **options: Any) -> None:
    """Publish workflows whose faults start `test/notify`."""
    handler = FaultHandler(workflow="test/notify:1.0.0", program=digest_of(NOTIFY))
    await site.publish(*definitions, NOTIFY, on_fault=handler, **options)


async def handler_of(site: Site, uid: str) -> str:
    found = await settled(site, uid, lambda each: each.handler is not None)
    assert found.handler is not None
    return found.handler


async def test_a_fault_starts_a_run_in_its_commit(site: Site) -> None:
    await handled(site, FAULTY)
    await site.worker()
    uid = await site.call("faulty", {"sku": "A-1"})
    await site.ended(uid)
    # The record of the end is written with the fault, so nothing has to be waited for.
    started = (await record(site, uid)).handler
    assert started is not None
    view = await site.ended(started)
    assert (view.status, view.workflow, view.api, view.parent) == (
        "completed", "test/notify:1.0.0", "test/faulty", uid,
    )  # fmt: skip
    told = msgspec.json.decode(view.input)
    assert told == {
        "uid": uid,
        "api": "test/faulty",
        "workflow": "test/faulty:1.0.0",
        "task": "/do/0/bad",
        "error": {"type": "https://e/x", "status": 418, "title": "No", "instance": "/do/0/bad"},
        "input": {"sku": "A-1"},
    }
    assert await site.store.callbacks.record(started) is None


async def test_a_fault_of_a_handler_starts_none(site: Site) -> None:
    handler = FaultHandler(workflow="test/faulty:1.0.0", program=digest_of(FAULTY))
    await site.publish(FAULTY, on_fault=handler)
    await site.worker()
    uid = await site.call("faulty")
    await site.ended(uid)
    started = (await record(site, uid)).handler
    assert started is not None
    assert (await site.ended(started)).status == "faulted"
    assert await site.store.callbacks.record(started) is None
    assert (await site.store.runs.counts())["faulted"] == 2


async def test_a_timeout_starts_a_run_and_a_cancellation_none(site: Site) -> None:
    await handled(site, SLOW, timeout_s=0.2)
    await site.worker()
    uid = await site.call("slow")
    assert (await site.ended(uid)).status == "faulted"
    told = msgspec.json.decode((await site.ended(await handler_of(site, uid))).input)
    assert told["error"]["status"] == 408
    await handled(site, SLOW)
    cancelled = await site.call("slow")
    await until(lambda: _is(site, cancelled, "waiting"))
    await site.store.runs.cancel(cancelled, "test")
    assert (await site.ended(cancelled)).status == "cancelled"
    assert (await record(site, cancelled)).handler is None


async def test_a_poisoned_run_starts_a_run(site: Site) -> None:
    await handled(site, FAULTY)
    uid = await site.call("faulty")
    for _ in range(6):
        for solitary in (False, True):
            await site.store.leases.take("dying", 10, solitary=solitary)
            await site.store.leases.recover("dying", seen=True)
        view = await site.view(uid)
        if view.ended:
            break
    assert view.status == "faulted"
    assert (await record(site, uid)).handler is None
    await site.worker()
    told = msgspec.json.decode((await site.ended(await handler_of(site, uid))).input)
    assert (told["uid"], told["error"]["title"]) == (uid, "poisoned")
    assert await site.store.call("LLEN", "iogate:faults") == 0


async def test_another_attempt_is_told_under_another_id(
    site: Site, receiver: Receiver, callback: Callable[..., Callback]
) -> None:
    await site.publish(FAULTY, callback=callback())
    await site.worker()
    uid = await site.call("faulty")
    await settled(site, uid, lambda each: each.delivered_ms is not None)
    await site.store.runs.retry(uid)
    await settled(site, uid, lambda each: each.id == f"run_{uid}_2" and each.delivered_ms is not None)
    assert receiver.ids == [f"run_{uid}_1", f"run_{uid}_2"]


async def test_pruned_runs_leave_nothing(
    site: Site, receiver: Receiver, callback: Callable[..., Callback]
) -> None:
    receiver.answers.extend([(500, "")] * 50)
    await site.publish(NOOP, callback=callback())
    await site.worker()
    uid = await site.call()
    await settled(site, uid, lambda each: each.error is not None)
    assert await site.store.runs.prune([uid], await site.store.now_ms() + 10_000) == 1
    assert await site.store.callbacks.record(uid) is None
    assert await site.store.call("ZCARD", "iogate:callbacks") == 0


async def _is(site: Site, uid: str, status: str) -> bool:
    return (await site.view(uid)).status == status
