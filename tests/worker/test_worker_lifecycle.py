"""Sinks that want them are told what becomes of workflows and tasks, in the standard's events."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

from iogate.worker.lifecycle import PREFIX
from tests.worker.sink import SinkServer
from tests.worker.site import until, workflow
from tests.worker.test_worker_courier import sinks
from tests.worker.test_worker_events import cloud_event, emit, listen, listening

if TYPE_CHECKING:
    import pytest

    from tests.worker.site import Site


def types(sink: SinkServer) -> list[str]:
    return [each["type"].removeprefix(PREFIX).removesuffix(".v1") for each in sink.taken]


async def told(sink: SinkServer, last: str) -> None:
    await until(lambda: last in types(sink), what=last)


def only(sink: SinkServer, kind: str) -> dict[str, Any]:
    (found,) = [each for each in sink.taken if each["type"] == f"{PREFIX}{kind}.v1"]
    return found


async def test_run_is_told_of_from_start_to_end(site: Site) -> None:
    async with SinkServer() as sink:
        await site.publish(
            workflow("tells", {"makes": {"set": {"n": 1}}}, {"not": {"if": "${ false }", "set": {"n": 2}}})
        )
        await site.worker(**sinks(audit=sink.setting(lifecycle=True)))
        uid = await site.call("tells")
        await told(sink, "workflow.completed")
        assert types(sink) == [
            *("workflow.started", "task.created", "task.started", "task.completed"),
            *("task.created", "workflow.completed"),
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


async def test_fault_is_told_of_with_its_error_and_without_secrets(
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
        await told(sink, "workflow.faulted")
        fault = only(sink, "task.faulted")["data"]
        assert (fault["task"], fault["error"]["status"]) == ("/do/0/stops", 418)
        assert only(sink, "workflow.faulted")["data"]["error"] == fault["error"]
        assert "hush-hush" not in f"{sink.taken}{worker.said()}"


async def test_correlation_and_cancellation_are_told_of(site: Site) -> None:
    branches = [{"hears": listen("test.paid")}, {"sleeps": {"run": {"shell": {"command": "sleep 30"}}}}]
    async with SinkServer() as sink:
        await site.publish(workflow("hears", {"both": {"fork": {"branches": branches}}}))
        await site.worker(**sinks(audit=sink.setting(lifecycle=True)))
        uid = await site.call("hears")
        await told(sink, "workflow.correlation-started")
        await site.store.events.publish([cloud_event(1)])
        await told(sink, "workflow.correlation-completed")
        await site.store.runs.cancel(uid)
        await told(sink, "workflow.cancelled")
        assert [
            each["data"]["task"] for each in sink.taken if each["type"].endswith("task.cancelled.v1")
        ] == [
            "/do/0/both/fork/branches/1/sleeps",
            "/do/0/both",
        ]


async def test_lifecycle_is_told_to_those_who_want_it_only_and_never_to_who_listens(site: Site) -> None:
    """A listener of every event hears what workflows emit and nothing of what becomes of them."""
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
        await until(lambda: types(all_of_it).count("workflow.completed") == 2, what="both ends")
        assert types(emitted) == ["test.paid"]
        assert "test.paid" not in types(all_of_it)
