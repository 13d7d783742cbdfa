"""Lifecycle events of workflows and tasks, for the sinks that subscribe to them."""

from __future__ import annotations

import json
import signal
import uuid
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import msgspec

from iogate.engine.commands import Note
from iogate.store import keys
from iogate.store.events.outbox import Entry
from iogate.worker.events.lifecycle import PREFIX, LifecycleEvents, build_from_entry
from iogate.worker.secrets.redaction import Redaction
from tests.worker.events.test_sink_delivery import sinks
from tests.worker.sink import SinkServer
from tests.worker.site import until, workflow
from tests.worker.test_events import cloud_event, emit, listen, listening

if TYPE_CHECKING:
    import pytest

    from tests.worker.site import Site


def types(sink: SinkServer) -> list[str]:
    return [each["type"].removeprefix(PREFIX).removesuffix(".v1") for each in sink.taken]


async def until_received(sink: SinkServer, last: str) -> None:
    await until(lambda: last in types(sink), name=last)


def only(sink: SinkServer, kind: str) -> dict[str, Any]:
    (found,) = [each for each in sink.taken if each["type"] == f"{PREFIX}{kind}.v1"]
    return found


async def test_run_is_reported_from_start_to_end(site: Site) -> None:
    async with SinkServer() as sink:
        await site.publish(
            workflow("tells", {"makes": {"set": {"n": 1}}}, {"not": {"if": "${ false }", "set": {"n": 2}}})
        )
        await site.worker(**sinks(audit=sink.setting(lifecycle=True)))
        uid = await site.call("tells")
        await until_received(sink, "workflow.completed")
        assert types(sink) == [
            *("workflow.started", "task.created", "task.started", "task.completed", "workflow.completed"),
        ]
        name = f"tells-{uid}.test"
        started = only(sink, "workflow.started")
        definition = {"name": "tells", "namespace": "test", "version": "1.0.0"}
        assert started["data"] == {"name": name, "definition": definition, "startedAt": started["time"]}
        assert (started["source"], started["subject"]) == ("/test/tells/1.0.0", name)
        completed = only(sink, "task.completed")
        assert completed["data"] == {
            "workflow": name,
            "task": "/do/0/makes",
            "completedAt": completed["time"],
        }
        assert {str(uuid.UUID(each["id"])) for each in sink.taken} == {each["id"] for each in sink.taken}
        assert max(Counter(each["id"] for each in sink.taken).values()) == 1


async def test_fault_is_reported_with_its_error_and_without_secrets(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIN", "hush-hush-1234")
    error = {"type": "https://test/no", "status": 418, "detail": "${ $secrets.pin }"}
    async with SinkServer() as sink:
        await site.publish(
            workflow("fails", {"stops": {"raise": {"error": error}}}, use={"secrets": ["pin"]})
        )
        changes = sinks(audit=sink.setting(lifecycle=True))
        worker = await site.worker(secrets={"pin": {"env": "PIN"}}, **changes)
        await site.call("fails")
        await until_received(sink, "workflow.faulted")
        fault = only(sink, "task.faulted")["data"]
        assert (fault["task"], fault["error"]["status"]) == ("/do/0/stops", 418)
        assert only(sink, "workflow.faulted")["data"]["error"] == fault["error"]
        assert "hush-hush" not in f"{sink.taken}{worker.log_text()}"


async def test_correlation_and_cancellation_are_reported(site: Site) -> None:
    branches = [{"hears": listen("test.paid")}, {"sleeps": {"run": {"shell": {"command": "sleep 300"}}}}]
    async with SinkServer() as sink:
        await site.publish(workflow("hears", {"both": {"fork": {"branches": branches}}}))
        await site.worker(**sinks(audit=sink.setting(lifecycle=True)))
        uid = await site.call("hears")
        await until_received(sink, "workflow.correlation-started")
        await site.store.events.publish([cloud_event(1)])
        await until_received(sink, "workflow.correlation-completed")
        await site.store.runs.cancel(uid)
        await until_received(sink, "workflow.cancelled")
        assert [
            each["data"]["task"] for each in sink.taken if each["type"].endswith("task.cancelled.v1")
        ] == [
            "/do/0/both/fork/branches/1/sleeps",
            "/do/0/both",
        ]


async def test_lifecycle_events_reach_subscribed_sinks_and_no_listeners(site: Site) -> None:
    """A listener for all events receives those of workflows and no lifecycle events."""
    async with SinkServer() as all_of_it, SinkServer() as emitted:
        anything = {"listen": {"to": {"any": [], "until": "${ length == 1 }"}, "read": "envelope"}}
        await site.publish(workflow("hears", {"any": anything}), workflow("says", {"one": emit()}))
        await site.worker(
            **sinks(all=all_of_it.setting(lifecycle=True, emitted=False), some=emitted.setting())
        )
        uid = await site.call("hears")
        await listening(site, uid)
        await site.call("says")
        run = await site.ended(uid)
        assert run.status == "completed"
        await until(lambda: types(all_of_it).count("workflow.completed") == 2, name="both ends")
        await until(lambda: types(emitted) == ["test.paid"], name="the emitted event")
        assert "test.paid" not in types(all_of_it)


def waits(name: str = "waits") -> dict[str, Any]:
    return workflow(name, {"outer": {"do": [{"inner": {"wait": "PT1H"}}]}})


async def test_suspension_and_resumption_are_reported_with_the_tasks(site: Site) -> None:
    """Suspended while no worker runs it, and by its worker."""
    async with SinkServer() as sink:
        await site.publish(waits())
        await site.worker(**sinks(audit=sink.setting(lifecycle=True)))
        uid = await site.call("waits")
        await until(lambda: parked(site, uid), name="a parked run")
        await site.store.runs.suspend(uid)
        await until_received(sink, "workflow.suspended")
        await site.store.runs.resume(uid)
        await until_received(sink, "workflow.resumed")
        await site.store.runs.cancel(uid)
        await until_received(sink, "workflow.cancelled")
        begins = types(sink).index("task.suspended")
        assert types(sink)[begins:] == [
            *("task.suspended", "task.suspended", "workflow.suspended"),
            *("workflow.resumed", "task.resumed", "task.resumed"),
            *("task.cancelled", "task.cancelled", "workflow.cancelled"),
        ]
        suspended = only(sink, "workflow.suspended")
        assert suspended["data"] == {"name": f"waits-{uid}.test", "suspendedAt": suspended["time"]}
        assert (suspended["source"], suspended["subject"]) == ("/test/waits/1.0.0", f"waits-{uid}.test")
        tasks = [each["data"] for each in sink.taken if each["type"] == f"{PREFIX}task.resumed.v1"]
        assert [each["task"] for each in tasks] == ["/do/0/outer", "/do/0/outer/do/0/inner"]
        assert tasks[0].keys() == {"workflow", "task", "resumedAt"}
        assert max(Counter(each["id"] for each in sink.taken).values()) == 1


async def test_suspension_by_the_worker_is_reported_in_order(site: Site) -> None:
    async with SinkServer() as sink:
        go = site.folder / "go"
        slow = {"slow": {"run": {"shell": {"command": f"while [ ! -e {go} ]; do sleep 0.05; done"}}}}
        await site.publish(workflow("works", slow, {"waits": {"wait": "PT1H"}}))
        await site.worker(**sinks(audit=sink.setting(lifecycle=True)))
        uid = await site.call("works")
        await until_received(sink, "task.started")
        assert await site.store.runs.suspend(uid) == "asked"
        go.touch()
        await until_received(sink, "workflow.suspended")
        assert types(sink)[3:] == [
            *("task.completed", "task.created", "task.started", "task.suspended", "workflow.suspended"),
        ]
        assert await site.store.runs.resume(uid) == "resumed"
        await until_received(sink, "task.resumed")


async def test_changes_without_a_worker_are_reported_once_by_the_next_one(site: Site) -> None:
    """A sink is known from the first worker that names it; a repeated event has the same id."""
    async with SinkServer(deque([204, 204, 500])) as sink:
        await site.publish(waits())
        first = await site.worker(**sinks(audit=sink.setting(lifecycle=True)))
        await until(lambda: named(site), name="a named sink")
        first.signal(signal.SIGTERM)
        await first.wait()
        uids = [await site.call("waits") for _ in range(2)]
        await site.store.runs.suspend(uids[0])
        for uid in uids:
            assert await site.store.runs.cancel(uid) == "cancelled"
        assert sink.taken == []
        await site.worker(**sinks(audit=sink.setting(lifecycle=True)))
        await until(lambda: len(sink.got) == 4, name="four requests")
        assert types(sink) == ["workflow.suspended", *["workflow.cancelled"] * 3]
        ids = [each["id"] for each in sink.taken]
        assert (ids[2], len(set(ids))) == (ids[3], 3)


async def test_the_lease_of_an_outbox_is_renewed_before_each_event_of_an_entry(site: Site) -> None:
    """The requests of all events of an entry may take longer than the lease."""
    key = keys.SINK + "audit"
    leases: list[int] = []

    class Expiring(SinkServer):
        async def respond(self, path: str, headers: dict[str, str], body: bytes) -> bytes | None:
            leases.append(int(await site.store.call("HGET", key, "until")))
            await site.store.call("HSET", key, "until", 1)
            return await super().respond(path, headers, body)

    async with Expiring() as sink:
        setting = sink.setting(lifecycle=True, types=[r".*\.workflow\..*"])
        await site.publish(waits())
        first = await site.worker(**sinks(audit=setting))
        await until(lambda: named(site), name="a named sink")
        first.signal(signal.SIGTERM)
        await first.wait()
        assert await site.store.runs.cancel(await site.call("waits")) == "cancelled"
        await site.worker(**sinks(audit=setting))
        await until(lambda: len(sink.got) == 2, name="two events")
        assert types(sink) == ["workflow.cancelled", "workflow.status-changed"]
        assert min(leases) > 1


async def parked(site: Site, uid: str) -> bool:
    return (await site.view(uid)).state == "timer"


async def named(site: Site) -> bool:
    return bool(await site.store.outbox.sinks())


async def test_changes_of_status_reach_sinks_with_these_types(site: Site) -> None:
    async with SinkServer() as statuses, SinkServer() as rest:
        await site.publish(waits())
        only_statuses = statuses.setting(lifecycle=True, types=[r".*\.status-changed\.v1"])
        await site.worker(**sinks(statuses=only_statuses, rest=rest.setting(lifecycle=True)))
        uid = await site.call("waits")
        await until(lambda: parked(site, uid), name="a parked run")
        await site.store.runs.suspend(uid)
        await site.store.runs.resume(uid)
        await site.store.runs.cancel(uid)
        await until_received(rest, "workflow.cancelled")
        await until(lambda: phases(statuses, "name")[-1:] == ["cancelled"], name="the last status")
        assert phases(statuses, "name") == ["running", "waiting", "suspended", "waiting", "cancelled"]
        assert phases(statuses, "task", "/do/0/outer/do/0/inner") == [
            *("pending", "running", "waiting", "suspended", "waiting", "cancelled")
        ]
        assert "workflow.status-changed" not in types(rest)
        assert "task.status-changed" not in types(rest)
        assert max(Counter(each["id"] for each in statuses.taken).values()) == 1


def phases(sink: SinkServer, member: str, value: str = "") -> list[str]:
    found = [each["data"] for each in sink.taken if member in each["data"]]
    return [data["status"] for data in found if data[member].endswith(value)]


async def test_sink_removed_from_the_settings_is_logged(site: Site) -> None:
    async with SinkServer() as sink:
        await site.publish(waits())
        first = await site.worker(**sinks(audit=sink.setting(lifecycle=True)))
        await until(lambda: named(site), name="a named sink")
        first.signal(signal.SIGTERM)
        await first.wait()
        await site.store.runs.cancel(await site.call("waits"))
        await site.store.call("HSET", keys.SINK + "audit", "named", 1)
        second = await site.worker()
        await until(lambda: "sink.unnamed" in second.log_text(), name="a line of the log")
        assert (
            "sink audit is in no worker's settings: 1 events for it are dropped in 24 h, unless it comes back"
            in second.log_text()
        )


def test_changes_by_the_store_have_one_id_per_entry_and_no_secrets() -> None:
    """For example of a poisoned run; each later attempt has its own ids."""
    error = {"title": "poisoned", "detail": "hush-hush", "process": {"code": 1, "stderr": "for operators"}}
    line = {"at": 5, "kind": "workflow.faulted", "detail": {"error": error}}

    def event_of(number: int) -> dict[str, Any]:
        raw = msgspec.Raw(json.dumps(line).encode())
        entry = Entry(uid="1", workflow="test/waits:1.0.0", number=number, line=raw)
        (event,) = build_from_entry(entry, Redaction(["hush-hush"]), statuses=False)
        made: dict[str, Any] = json.loads(event.data)
        return made

    assert event_of(1) == event_of(1)
    assert event_of(1)["id"] != event_of(2)["id"]
    assert event_of(1)["data"]["error"] == {"title": "poisoned", "detail": "[redacted]"}
    assert "hush-hush" not in json.dumps(event_of(1))
    lifecycle_events, notes = (
        LifecycleEvents("1", "test/waits:1.0.0"),
        [Note(kind="workflow.started", at_ms=5)],
    )
    first, second = (lifecycle_events.build(notes, f"{attempt}/1", Redaction()) for attempt in (1, 2))
    assert json.loads(first[0].data)["id"] != json.loads(second[0].data)["id"]
