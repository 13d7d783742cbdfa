"""Delivery of emitted events to sinks: in order, at least once, with any response of a sink."""

from __future__ import annotations

import itertools
import signal
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from tests.worker.sink import SinkServer
from tests.worker.site import until, workflow
from tests.worker.test_events import emit

if TYPE_CHECKING:
    from tests.worker.site import Site


def sinks(**named: dict[str, Any]) -> dict[str, Any]:
    return {"events": {"sinks": named}}


def says(count: int = 3) -> dict[str, Any]:
    loop = {"for": {"each": "n", "in": f"${{ [range({count})] }}"}, "do": [{"one": emit(data="${ $n }")}]}
    return workflow("says", {"all": loop})


async def test_sink_gets_each_emitted_event_in_structured_mode_and_in_order(site: Site) -> None:
    async with SinkServer() as sink:
        await site.publish(says())
        await site.worker(**sinks(audit=sink.setting(headers={"X-Team": "blue"})))
        uid = await site.call("says")
        await until(lambda: len(sink.got) == 3, name="three events")
        first = sink.got[0]
        assert [each["data"] for each in sink.taken] == [0, 1, 2]
        assert first.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
        assert first.headers["x-team"] == "blue"
        assert first.headers["idempotency-key"] == f"{first.event['source']}/{first.event['id']}"
        assert {"specversion", "id", "source", "type", "time", "data"} == set(first.event)
        assert (await site.ended(uid)).status == "completed"


@pytest.mark.parametrize("answer", [500, 503, 408, 429, 301, 0])
async def test_failed_delivery_is_retried_before_the_next_event(site: Site, answer: int) -> None:
    async with SinkServer(deque([answer])) as sink:
        await site.publish(says())
        worker = await site.worker(**sinks(audit=sink.setting()))
        uid = await site.call("says")
        assert (await site.ended(uid)).status == "completed"
        await until(lambda: len(sink.got) == 4, name="four requests")
        assert [each["data"] for each in sink.taken] == [0, 0, 1, 2]
        assert "event.postponed" in worker.log_text()


async def test_event_that_a_sink_refuses_is_dropped_and_logged(site: Site) -> None:
    async with SinkServer(deque([400, 410])) as sink:
        await site.publish(says())
        worker = await site.worker(**sinks(audit=sink.setting()))
        await site.call("says")
        await until(lambda: len(sink.got) == 3, name="three events")
        assert [each["data"] for each in sink.taken] == [0, 1, 2]
        assert "sink audit refused event" in worker.log_text()
        assert "so it was dropped" in worker.log_text()


async def test_unreachable_sink_delays_neither_runs_nor_other_sinks(site: Site) -> None:
    async with SinkServer() as sink:
        await site.publish(says())
        gone = {**sink.setting(), "url": "http://127.0.0.1:9/"}
        await site.worker(**sinks(gone=gone, audit=sink.setting()))
        assert (await site.ended(await site.call("says"), 20)).status == "completed"
        await until(lambda: len(sink.got) == 3, name="three events")
        waiting = {each.name: each.waiting for each in await site.store.outbox.sinks()}
        assert waiting["gone"] == 3


async def test_attempts_at_a_sink_back_off(site: Site) -> None:
    async with SinkServer(deque([500] * 3)) as sink:
        await site.publish(says(1))
        await site.worker(**sinks(audit=sink.setting()))
        await site.call("says")
        await until(lambda: len(sink.got) == 4, name="four attempts")
        moments = [each.at_s for each in sink.got]
        apart = [later - sooner for sooner, later in itertools.pairwise(moments)]
        assert apart[0] >= 0.5
        assert apart[1] >= 1.0
        assert apart[2] >= 2.0


async def test_backoff_restarts_after_a_success(site: Site) -> None:
    """Each failure is the first of another event: in between, the sink accepts events."""
    answers = [503 if number % 4 == 3 else 200 for number in range(19)]
    async with SinkServer(deque(answers)) as sink:
        await site.publish(says(15))
        await site.worker(**sinks(audit=sink.setting()))
        await site.call("says")
        await until(lambda: len(sink.got) == 19, name="fifteen events, four of them twice")
        moments = [each.at_s for each in sink.got]
        apart = [later - sooner for sooner, later in itertools.pairwise(moments)]
        # The third failure in a row is followed by a pause of 2 s, the fourth by one of 4 s.
        # A stall of the machine lengthens only one of them.
        assert min(apart[11], apart[15]) < 2


async def test_outbox_of_a_killed_worker_is_delivered_by_another(site: Site) -> None:
    async with SinkServer(deque([500] * 100)) as sink:
        await site.publish(says())
        first = await site.worker(**sinks(audit=sink.setting()))
        await site.ended(await site.call("says"))
        await until(lambda: len(sink.got) >= 1, name="an attempt")
        first.signal(signal.SIGKILL)
        await first.wait()
        sink.answers.clear()
        sink.got.clear()
        # What the end of its hold on the outbox does, without the wait for it.
        await site.store.call("HDEL", "iogate:sink:audit", "owner", "until")
        await site.worker(**sinks(audit=sink.setting()))
        await until(lambda: len(sink.got) == 3, name="three events")
        assert [each["data"] for each in sink.taken] == [0, 1, 2]


async def test_sink_gets_only_its_configured_types(site: Site) -> None:
    async with SinkServer() as sink:
        kinds = [{str(n): emit(kind)} for n, kind in enumerate(("shop.paid", "shop.sent", "other.paid"))]
        await site.publish(workflow("says", *kinds))
        await site.worker(**sinks(audit=sink.setting(types=[r"shop\..*"])))
        await site.ended(await site.call("says"))
        await until(lambda: len(sink.got) == 2, name="two events")
        assert [each["type"] for each in sink.taken] == ["shop.paid", "shop.sent"]


async def test_secret_of_a_sink_is_sent_and_never_shown(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINK_TOKEN", "hush-hush-token")
    async with SinkServer(deque([500])) as sink:
        await site.publish(says(1))
        worker = await site.worker(**sinks(audit=sink.setting(headers={"X-Token": {"env": "SINK_TOKEN"}})))
        await site.ended(await site.call("says"))
        await until(lambda: len(sink.got) == 2, name="two attempts")
        assert [each.headers["x-token"] for each in sink.got] == ["hush-hush-token"] * 2
        assert "hush-hush-token" not in worker.log_text()


async def test_sink_whose_secret_is_missing_gets_nothing_and_loses_nothing(site: Site) -> None:
    async with SinkServer() as sink:
        await site.publish(says(1))
        setting = sink.setting(headers={"X-Token": {"env": "NOBODY_SETS_THIS"}})
        worker = await site.worker(**sinks(audit=setting))
        await site.ended(await site.call("says"))
        await until(lambda: "header X-Token of sink audit" in worker.log_text(), name="a warning")
        assert await site.store.call("HGET", "iogate:sink:audit", "owner") is None
        assert not sink.got
        assert [each.waiting for each in await site.store.outbox.sinks()] == [1]


async def test_worker_without_the_secret_of_a_sink_leaves_its_events_to_another(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SinkServer() as sink:
        await site.publish(says())
        setting = sink.setting(headers={"X-Token": {"env": "SINK_TOKEN"}})
        without = await site.worker(**sinks(audit=setting))
        await site.ended(await site.call("says"))
        await until(lambda: "header X-Token of sink audit" in without.log_text(), name="a warning")
        monkeypatch.setenv("SINK_TOKEN", "hush-hush-token")
        await site.worker(**sinks(audit=setting))
        await until(lambda: len(sink.got) == 3, name="three events")
        assert [each.headers["x-token"] for each in sink.got] == ["hush-hush-token"] * 3
        assert [each["data"] for each in sink.taken] == [0, 1, 2]
