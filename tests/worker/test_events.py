"""Events and child runs with real workers: listeners and waiting parents are woken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from iogate.store import keys
from tests.worker.site import decoded, until, workflow

if TYPE_CHECKING:
    from tests.worker.site import Site


def cloud_event(number: object, kind: str = "test.paid", **members: Any) -> bytes:
    return msgspec.json.encode(
        {"specversion": "1.0", "id": str(number), "source": "/tests", "type": kind, **members}
    )


def listen(kind: str = "test.paid", **members: Any) -> dict[str, Any]:
    return {"listen": {"to": {"one": {"with": {"type": kind, **members}}}}}


def emit(kind: str = "test.paid", **members: Any) -> dict[str, Any]:
    return {"emit": {"event": {"with": {"source": "/tests", "type": kind, **members}}}}


def run_workflow(name: str, **members: Any) -> dict[str, Any]:
    child = {"namespace": "test", "name": name, "version": "1.0.0", **members}
    return {"run": {"workflow": child}}


async def listening(site: Site, uid: str) -> None:
    async def waits() -> bool:
        view = await site.view(uid)
        assert not view.ended, view.error
        return view.state not in {"queue", "lease", "backlog", "woken"}

    await until(waits, name="a run that listens")


async def test_published_event_wakes_a_listener_and_is_its_output(site: Site) -> None:
    await site.publish(workflow("hears", {"paid": listen()}))
    await site.worker()
    uid = await site.call("hears")
    await listening(site, uid)
    assert await site.store.events.publish([cloud_event(1, data={"amount": 7})]) == 1
    run = await site.ended(uid, 20)
    assert (run.status, decoded(run.output)) == ("completed", [{"amount": 7}]), run.error


async def test_emitted_event_wakes_a_listener(site: Site) -> None:
    await site.publish(
        workflow("hears", {"paid": listen()}), workflow("says", {"pays": emit(data={"amount": 8})})
    )
    await site.worker()
    uid = await site.call("hears")
    await listening(site, uid)
    assert (await site.ended(await site.call("says"), 20)).status == "completed"
    run = await site.ended(uid, 20)
    assert decoded(run.output) == [{"amount": 8}], run.error


async def test_run_does_not_receive_events_emitted_before_its_listen(site: Site) -> None:
    """Also if only pure steps are between the two."""
    await site.publish(workflow("pays", {"pays": emit(data=1)}, {"paid": listen()}))
    await site.worker()
    uid = await site.call("pays")
    await listening(site, uid)
    await site.store.events.publish([cloud_event(1, data=2)])
    run = await site.ended(uid, 20)
    assert decoded(run.output) == [2], run.error


async def test_parent_continues_with_the_output_of_its_child(site: Site) -> None:
    await site.publish(
        workflow("parent", {"asks": run_workflow("child", input={"n": 20})}),
        workflow("child", {"adds": {"set": {"n": "${ .n + 1 }"}}}),
    )
    await site.worker()
    run = await site.ended(await site.call("parent"), 20)
    assert (run.status, decoded(run.output)) == ("completed", {"n": 21}), run.error


async def test_event_for_a_leased_run_is_delivered_at_once(site: Site, tmp_path: Path) -> None:
    """One branch makes a long call, while the other listens."""
    may_end = tmp_path / "may-end"
    command = f"while [ ! -e {may_end} ]; do sleep 0.05; done; echo slept"
    branches = [
        {"sleeps": {"run": {"shell": {"command": command}}}},
        {"hears": {"do": [{"paid": listen()}, {"said": emit("test.heard")}]}},
    ]
    await site.publish(
        workflow("forks", {"both": {"fork": {"branches": branches}}}),
        workflow("hears", {"heard": listen("test.heard")}),
    )
    await site.worker()
    hears, forks = await site.call("hears"), await site.call("forks")
    await listening(site, hears)

    async def subscribed() -> bool:
        return bool(await site.store.call("EXISTS", f"iogate:wanted:{forks}"))

    await until(subscribed, name="a subscription")
    await site.store.events.publish([cloud_event(1)])
    assert (await site.ended(hears, 20)).status == "completed"
    assert (await site.view(forks)).status == "running"
    may_end.touch()
    assert (await site.ended(forks, 20)).status == "completed"


async def test_only_event_ids_that_may_repeat_are_remembered(site: Site) -> None:
    """An author's own, and one that a sink may return; a generated id is published by one commit."""
    ours, own, back = emit(), emit(id="order-1"), emit("test.back")
    await site.publish(workflow("says", {"a": ours}, {"b": own}, {"c": back}))
    url = "http://127.0.0.1:9/events"
    await site.worker(events={"sinks": {"audit": {"url": url, "headers": {}, "types": [r"test\.back"]}}})
    run = await site.ended(await site.call("says"))
    assert run.status == "completed"
    assert len(await site.store.call("KEYS", f"{keys.SEEN}*")) == 2
    assert await site.store.events.publish([cloud_event("order-1")]) == 0
