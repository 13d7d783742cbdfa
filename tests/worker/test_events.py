"""Events and child runs through real workers: who listens is woken, who waits for a child goes on."""

from __future__ import annotations

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

    await until(waits, what="a run that listens")


async def test_published_event_wakes_who_listens_and_is_its_output(site: Site) -> None:
    await site.publish(workflow("hears", {"paid": listen()}))
    await site.worker()
    uid = await site.call("hears")
    await listening(site, uid)
    assert await site.store.events.publish([cloud_event(1, data={"amount": 7})]) == 1
    run = await site.ended(uid, 5)
    assert (run.status, decoded(run.output)) == ("completed", [{"amount": 7}]), run.error


async def test_emitted_event_wakes_who_listens(site: Site) -> None:
    await site.publish(
        workflow("hears", {"paid": listen()}), workflow("says", {"pays": emit(data={"amount": 8})})
    )
    await site.worker()
    uid = await site.call("hears")
    await listening(site, uid)
    assert (await site.ended(await site.call("says"), 5)).status == "completed"
    run = await site.ended(uid, 5)
    assert decoded(run.output) == [{"amount": 8}], run.error


async def test_run_does_not_hear_what_it_emitted_before_it_listens(site: Site) -> None:
    """Nor where nothing but the engine's own steps lies between the two."""
    await site.publish(workflow("pays", {"pays": emit(data=1)}, {"paid": listen()}))
    await site.worker()
    uid = await site.call("pays")
    await listening(site, uid)
    await site.store.events.publish([cloud_event(1, data=2)])
    run = await site.ended(uid, 5)
    assert decoded(run.output) == [2], run.error


async def test_parent_goes_on_with_the_output_of_its_child(site: Site) -> None:
    await site.publish(
        workflow("parent", {"asks": run_workflow("child", input={"n": 20})}),
        workflow("child", {"adds": {"set": {"n": "${ .n + 1 }"}}}),
    )
    await site.worker()
    run = await site.ended(await site.call("parent"), 5)
    assert (run.status, decoded(run.output)) == ("completed", {"n": 21}), run.error


async def test_event_for_a_run_that_a_worker_holds_is_heard_at_once(site: Site) -> None:
    """One branch calls out for long, the other listens meanwhile."""
    branches = [
        {"sleeps": {"run": {"shell": {"command": "sleep 3; echo slept"}}}},
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

    await until(subscribed, what="a subscription")
    await site.store.events.publish([cloud_event(1)])
    assert (await site.ended(hears, 1.5)).status == "completed"
    assert (await site.view(forks)).status == "running"
    assert (await site.ended(forks, 8)).status == "completed"


async def test_only_ids_that_may_come_again_are_remembered(site: Site) -> None:
    """An author's own, and one that a sink may send back; an id of ours is published by one commit."""
    ours, own, back = emit(), emit(id="order-1"), emit("test.back")
    await site.publish(workflow("says", {"a": ours}, {"b": own}, {"c": back}))
    url = "http://127.0.0.1:9/events"
    await site.worker(events={"sinks": {"audit": {"url": url, "headers": {}, "types": [r"test\.back"]}}})
    run = await site.ended(await site.call("says"))
    assert run.status == "completed"
    assert len(await site.store.call("KEYS", f"{keys.SEEN}*")) == 2
    assert await site.store.events.publish([cloud_event("order-1")]) == 0
