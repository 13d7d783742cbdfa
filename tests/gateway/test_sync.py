"""`/sync` responds with the end of the run, or like `/async` if the run takes longer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.gateway.driver import World, api


async def test_sync_waits_for_the_end(world: World) -> None:
    await world.publish(api("a/b"))
    ends: list[tuple[str, dict[str, bytes], int, dict[str, Any]]] = [
        ("completed", {"output": b'{"ok":true}'}, 200, {"code": 0, "msg": "", "data": {"ok": True}}),
        ("completed", {}, 200, {"code": 0, "msg": "", "data": None}),
        (
            "faulted",
            {
                "error": b'{"type":"https://x/communication","status":502,"title":"Bad","detail":"It broke",'
                b'"process":{"code":1,"stderr":"hush"}}'
            },
            500,
            {
                "code": 502,
                "msg": "It broke",
                "data": None,
                "error": {
                    "type": "https://x/communication",
                    "status": 502,
                    "title": "Bad",
                    "detail": "It broke",
                    "code": "communication",
                    "message": "It broke",
                },
            },
        ),
    ]
    for status, more, http, expected in ends:
        asked = asyncio.create_task(world.ask("/v1/api/a/b/sync", "POST"))
        while not (found := await world.store.runs.list(statuses=["pending"])):
            await asyncio.sleep(0.01)
        await world.finish(found[0].uid, status, **more)
        reply = await asked
        assert reply.status == http
        assert reply.json == expected | {"uid": found[0].uid}
    counted = f'iogate_accept_seconds_count{{api="a/b"}} {len(ends)}.0'
    assert counted in (await world.ask("/metrics")).body.decode()


async def test_sync_of_a_cancelled_run_is_a_409(world: World) -> None:
    await world.publish(api("a/b"))
    asked = asyncio.create_task(world.ask("/v1/api/a/b/sync", "POST"))
    while not (found := await world.store.runs.list(statuses=["pending"])):
        await asyncio.sleep(0.01)
    await world.store.runs.cancel(found[0].uid, "no longer wanted")
    reply = await asked
    assert reply.status == 409
    assert reply.json["code"] == 409
    assert reply.json["data"] is None
    assert reply.json["msg"] == "The run was cancelled: no longer wanted"
    shown = (await world.ask(f"/v1/runs/{found[0].uid}")).json
    assert reply.json["error"] == shown["error"]
    assert (shown["error"]["code"], shown["error"]["detail"]) == ("cancelled", "no longer wanted")


async def test_sync_past_its_deadline_is_the_202_of_async(world: World) -> None:
    await world.publish(api("a/b"))
    for prefer in ("wait=0", "respond-async, wait=0", 'wait="0"'):
        reply = await world.ask("/v1/api/a/b/sync", "POST", {"prefer": prefer})
        assert reply.uid
        assert reply.headers["location"].startswith(f"/v1/runs/{reply.uid}?sig=")
        assert reply.headers["preference-applied"] == "wait=0"


async def test_a_wait_ends_when_its_caller_leaves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iogate.gateway.runs.caller_routes.WAIT_MOST_S", 300)
    await world.publish(api("a/b"))
    called = await world.ask("/v1/api/a/b/sync", "POST", {"prefer": "wait=300"}, leaves=True)
    reply = await world.ask(f"/v1/runs/{called.uid}?wait=300", leaves=True)
    assert (reply.status, reply.json["status"]) == (200, "pending")
    assert world.store.runs._waiters == {}


async def test_a_gateway_that_drains_ends_waits_for_runs(world: World) -> None:
    await world.publish(api("a/b"))
    asked = asyncio.create_task(world.ask("/v1/api/a/b/sync", "POST"))
    while not await world.store.runs.list(statuses=["pending"]):
        await asyncio.sleep(0.01)
    world.live.draining.set()
    assert (await asked).status == 202
