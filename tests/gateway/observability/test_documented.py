"""Each response of the gateway is one that its OpenAPI document names."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from iogate.auth.model import AnyAuth
from iogate.compiler.revision import Limits
from tests.gateway.driver import TOKEN, USER, Reply, World, api
from tests.gateway.observability.documented import undocumented

SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
APIS = (
    api("a/token", TOKEN, input_schema=SCHEMA, path="/hooks/a", limits=Limits(body=1000)),
    api("a/both", AnyAuth(any=(TOKEN, USER)), input_from="request", path="/b", mode="sync"),
    api("a/slow", verbs=("POST",), limits=Limits(rate=0.001, burst=1)),
    api("a/open", verbs=("GET",)),
)
GOOD = {"token": "123456"}
REQUESTS: list[tuple[dict[str, str], bytes]] = [
    (GOOD, b'{"n": 1}'),
    (GOOD, b""),
    (GOOD, b"["),
    (GOOD, b'{"n": "x"}'),
    (GOOD, b'{"n": 1' + b" " * 2000 + b"}"),
    (GOOD | {"content-type": "text/csv"}, b"a,b"),
    (GOOD | {"content-encoding": "gzip"}, b"\x1f\x8b"),
    (GOOD | {"content-type": "application/x-www-form-urlencoded"}, b"n=1"),
    (GOOD | {"idempotency-key": "k"}, b'{"n": 1}'),
    (GOOD | {"idempotency-key": "k"}, b'{"n": 2}'),
    (GOOD | {"idempotency-key": ""}, b'{"n": 2}'),
    (GOOD | {"x": "y" * 40_000}, b"{}"),
    (GOOD | {"host": "evil.example"}, b"{}"),
    (GOOD | {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, b"{}"),
    ({"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, b"{}"),
    ({}, b"{}"),
    ({"token": "wrong"}, b"{}"),
    ({"user": "iolinker", "password": "no"}, b"{}"),
    ({"authorization": "Basic !"}, b"{}"),
    (GOOD | {"authorization": "Bearer other"}, b"{}"),
]


async def described(world: World) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((await world.ask("/openapi.json")).body)
    return document


def check(document: dict[str, Any], path: str, verb: str, reply: Reply, template: str = "") -> None:
    assert not undocumented(document, template or path, verb, reply.status, reply.headers, reply.body)


async def test_responses_to_calls_are_documented(world: World) -> None:
    await world.publish(*APIS)
    document = await described(world)
    seen: set[int] = set()
    for path, item in document["paths"].items():
        if path.startswith(("/v1/runs", "/v1/links")):
            continue
        for verb in item:
            for headers, body in REQUESTS:
                sent = {**headers, "prefer": "wait=0"}
                reply = await world.ask(path, verb.upper(), sent, body if verb == "post" else b"")
                check(document, path, verb, reply)
                seen.add(reply.status)
    assert seen >= {202, 400, 401, 403, 413, 415, 421, 422, 429, 431}


@pytest.mark.parametrize(
    ("end", "status"),
    [("completed", 200), ("faulted", 500), ("cancelled", 409)],
)
async def test_results_are_documented(world: World, end: str, status: int) -> None:
    await world.publish(*APIS)
    document = await described(world)
    path = "/v1/api/a/open/sync"
    waiting = asyncio.create_task(world.ask(path))
    async with asyncio.timeout(60):
        while not (runs := (await world.store.runs.search(limit=5)).runs):
            await asyncio.sleep(0.01)
    uid = runs[0].uid
    if end == "cancelled":
        await world.store.runs.cancel(uid, "a test")
    else:
        more = {"error": b'{"type": "about:blank", "status": 400, "title": "x"}'} if end == "faulted" else {}
        await world.finish(uid, end, **({"output": b'{"a": 1}'} if end == "completed" else more))
    reply = await waiting
    assert reply.status == status
    check(document, path, "get", reply)


async def test_responses_about_runs_are_documented(world: World) -> None:
    await world.publish(*APIS)
    document = await described(world)
    reply = await world.ask("/v1/api/a/token/async", "POST", GOOD, b'{"n": 1}')
    run = f"/v1/runs/{reply.uid}"
    seen = set()
    for path, headers in (
        (run, GOOD),
        (run, {}),
        (f"{run}?sig=x", {}),
        (f"{run}?wait=x", GOOD),
        ("/v1/runs/7", GOOD),
        (run, GOOD | {"host": "evil.example"}),
        (reply.headers["location"], {}),
    ):
        shown = await world.ask(path, headers=headers)
        check(document, path, "get", shown, "/v1/runs/{uid}")
        seen.add(shown.status)
    for headers in ({}, GOOD, GOOD):
        cancelled = await world.ask(f"{run}/cancel", "POST", headers)
        check(document, run, "post", cancelled, "/v1/runs/{uid}/cancel")
        seen.add(cancelled.status)
    read_only = await world.ask(reply.headers["location"].replace("?", "/cancel?"), "POST")
    check(document, run, "post", read_only, "/v1/runs/{uid}/cancel")
    assert seen == {200, 202, 400, 401, 404, 421}
    assert read_only.status == 403


async def test_an_unreachable_store_is_documented(world: World) -> None:
    await world.publish(*APIS)
    document = await described(world)
    store, intake = world.live.store, world.live.intake
    world.live.store = world.live.intake = None
    try:
        reply = await world.ask("/v1/api/a/open/async")
        check(document, "/v1/api/a/open/async", "get", reply)
        shown = await world.ask("/v1/runs/1", headers=GOOD)
        check(document, "/v1/runs/1", "get", shown, "/v1/runs/{uid}")
        assert (reply.status, shown.status) == (503, 503)
    finally:
        world.live.store, world.live.intake = store, intake
