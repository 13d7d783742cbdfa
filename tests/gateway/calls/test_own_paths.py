"""An API answers at its own path as at the others."""

from __future__ import annotations

import asyncio
import json
import logging

import msgspec
import pytest

from iogate.gateway.calls.routing_table import Release, Table
from iogate.store.runs.leases import Commit
from tests.gateway.driver import TOKEN, World, api, publish

HOOK = api("shop/hook", TOKEN, verbs=("POST",), path="/hooks/a")
OLD = api("shop/old", verbs=("GET", "POST"), path="/v1/api/shop/orders/submit", mode="sync")
AUTH = {"token": "123456"}


async def test_a_call_is_stored_and_shown_as_at_the_path_of_the_id(world: World) -> None:
    await world.publish(HOOK)
    reply = await world.ask("/hooks/a", "POST", AUTH, b"{}")
    shown = await world.ask(reply.headers["location"])
    assert shown.json["api"] == "shop/hook"
    assert shown.json["uid"] == reply.uid
    assert (await world.ask(f"/v1/runs/{reply.uid}", headers=AUTH)).status == 200
    assert (await world.ask(f"/v1/runs/{reply.uid}")).status == 404


async def test_it_makes_the_same_checks(world: World) -> None:
    await world.publish(HOOK)
    assert (await world.ask("/hooks/a", "POST", {}, b"{}")).status == 401
    assert (await world.ask("/hooks/a", "POST", {"token": "x"}, b"{}")).status == 401
    assert (await world.ask("/hooks/a", "POST", AUTH, b"[")).status == 400
    refused = await world.ask("/hooks/a", "GET", AUTH)
    assert (refused.status, refused.headers["allow"]) == (405, "POST")
    options = await world.ask("/hooks/a", "OPTIONS")
    assert (options.status, options.headers["allow"]) == (204, "POST, OPTIONS")
    await world.store.gates.set_enabled(["shop/hook"], False, author="ann")
    await world.refresher.reload()
    assert (await world.ask("/hooks/a", "POST", AUTH, b"{}")).code == "requestError.notEnabled"


@pytest.mark.parametrize(
    "path", ["/hooks/a/", "/hooks/A", "/hooks//a", "/hooks/%61", "/hooks", "/hooks/a/async", "/hooks/a/sync"]
)
async def test_a_path_is_exact(world: World, path: str) -> None:
    await world.publish(HOOK)
    assert (await world.ask(path, "POST", AUTH, b"{}")).status == 404


async def test_sync_waits_for_the_result(world: World) -> None:
    await world.publish(OLD)
    waiting = asyncio.create_task(world.ask("/v1/api/shop/orders/submit?a=1", headers={"prefer": "wait=120"}))
    async with asyncio.timeout(60):
        while not (taken := (await world.store.leases.take("w1", 100)).claims):
            await asyncio.sleep(0.01)
    (claim,) = taken
    assert json.loads(claim.input) == {"a": "1"}
    await world.store.leases.commit(
        [
            Commit(
                uid=claim.uid,
                token=claim.token,
                seq=claim.seq + 1,
                move="end",
                status="completed",
                output=b"7",
            )
        ]
    )
    reply = await waiting
    assert (reply.status, reply.json["data"]) == (200, 7)


async def test_keys_are_those_of_the_api_at_each_url(world: World) -> None:
    await world.publish(HOOK)
    headers = AUTH | {"idempotency-key": "k"}
    first = await world.ask("/hooks/a", "POST", headers, b"{}")
    again = await world.ask("/v1/api/shop/hook/async", "POST", headers, b"{}")
    assert again.uid == first.uid
    assert again.headers["idempotent-replayed"] == "true"


async def test_metrics_and_the_access_log_name_the_api(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.publish(HOOK)
    await world.ask("/hooks/a", "POST", AUTH, b"{}")
    with caplog.at_level(logging.INFO, "iogate.gateway.http.access_log"):
        await world.ask("/hooks/a", "POST", {"token": "x"}, b"{}")
    (record,) = [each for each in caplog.records if each.message.startswith("POST /hooks/a 401")]
    assert vars(record)["api"] == "shop/hook"
    metrics = (await world.ask("/metrics")).body.decode()
    assert 'iogate_calls_accepted_total{api="shop/hook"} 1.0' in metrics
    assert 'iogate_calls_refused_total{api="shop/hook",code="requestError.unauthorized"} 1.0' in metrics


async def test_a_path_that_moves_is_moved_at_once(world: World) -> None:
    await world.publish(HOOK)
    await world.publish(msgspec.structs.replace(HOOK, path="/hooks/b"))
    assert (await world.ask("/hooks/a", "POST", AUTH, b"{}")).status == 404
    assert (await world.ask("/hooks/b", "POST", AUTH, b"{}")).status == 202


async def test_a_path_removed_meanwhile_is_not_found(world: World) -> None:
    """The gateway has the old revision, and the store refuses its call as stale."""
    await world.publish(HOOK)
    await publish(world.store, msgspec.structs.replace(HOOK, path=msgspec.UNSET))
    assert (await world.ask("/hooks/a", "POST", AUTH, b"{}")).status == 404


async def test_no_revision_takes_a_path_of_iogate(world: World) -> None:
    await world.publish(HOOK, api("x/y", path="/health/live"), api("x/z", path="/v1/api/shop/hook/async"))
    assert (await world.ask("/health/live")).json == {"status": "live"}
    assert (await world.ask("/v1/api/shop/hook/async", "POST", AUTH, b"{}")).status == 202


async def test_the_oldest_release_keeps_a_path(world: World) -> None:
    await world.publish(HOOK)
    assert world.live.table is not None
    (first,) = world.live.table.releases.values()
    second = Release("other", 9, "d", first.revision, [*first.routes.values()])
    table = Table([second, first])
    assert table.paths[b"/hooks/a"][2] is first
    assert table.own_paths == {b"/hooks/a"}
