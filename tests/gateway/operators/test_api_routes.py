"""Routes of APIs: contract, switch with If-Match, and debug cases with real runs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from iogate.compiler.revision import Example, Idempotency
from iogate.gateway.validation.schema import Schema
from iogate.store.revisions.origin import Origin
from iogate.store.revisions.revisions import Revisions
from tests.gateway.driver import TOKEN, Reply, World, api, until
from tests.gateway.operators.conftest import bearer, refusal
from tests.store.builders import bundle

HAPPY = Example(name="happy path", verb="POST", body={"sku": "A-1"}, output={"sku": "A-1"})
SCHEMA = {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string"}}}


async def send(world: World, path: str, method: str, role: str = "operate", **more: Any) -> Reply:
    """One change; `headers` beside the token, all else in the body or, of a DELETE, in the query."""
    headers = bearer(role, **more.pop("headers", {"if_match": "*"}))
    given = {"reason": "the shop is down"} | more
    if method == "DELETE":
        query = "&".join(f"{name}={value}" for name, value in given.items()).replace(" ", "+")
        return await world.ask(f"{path}?{query}", method, headers)
    headers["content-type"] = "application/json"
    return await world.ask(path, method, headers, json.dumps(given).encode())


async def read(world: World, path: str) -> Reply:
    reply = await world.ask(path, headers=bearer("read"))
    assert reply.status == 200, reply.body
    return reply


async def test_apis_are_listed_and_shown_without_secrets(operated: World) -> None:
    await operated.publish(api("shop/buy", TOKEN, examples=(HAPPY,)), api("shop/sell", enabled=False))
    listed = (await read(operated, "/v1/apis")).json
    assert [(row["api"], row["auth"], row["enabled"]) for row in listed["apis"]] == [
        ("shop/buy", "token", True),
        ("shop/sell", "none", False),
    ]
    reply = await read(operated, "/v1/apis/shop/buy")
    shown = reply.json
    assert (shown["api"], shown["revision"], shown["enabledInGit"]) == ("shop/buy", 1, True)
    assert shown["document"]["auth"] == {"token": {"hash": "[redacted]"}}
    assert shown["debugCases"] == [
        {"name": "happy path", "verb": "POST", "body": {"sku": "A-1"}, "output": {"sku": "A-1"}}
    ]
    assert "sha256:" not in reply.body.decode().replace(shown["program"], "")
    assert refusal(await operated.ask("/v1/apis/shop/bye", headers=bearer("read"))) == (
        404,
        "requestError.notFound",
        'no live API shop/bye; did you mean "shop/buy"?; list them with "iogate api list", publish new ones '
        'with "iogate apply"',
    )


async def test_the_live_revision_is_read_from_the_store_only_if_the_gateway_does_not_serve_it(
    operated: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[int] = []
    load = Revisions.load

    async def noted(self: Revisions, number: int, *, project: str | None = None) -> Any:
        loaded.append(number)
        return await load(self, number, project=project)

    await operated.publish(api("shop/buy"))
    monkeypatch.setattr(Revisions, "load", noted)
    assert [row["api"] for row in (await read(operated, "/v1/apis")).json["apis"]] == ["shop/buy"]
    await read(operated, "/v1/apis/shop/buy")
    assert loaded == []
    await operated.store.revisions.publish(bundle(api("shop/sell")))
    listed = (await read(operated, "/v1/apis")).json
    assert (listed["revision"], [row["api"] for row in listed["apis"]]) == (2, ["shop/sell"])
    assert loaded[0] == 2


async def test_an_override_takes_effect_is_shown_and_ends(operated: World) -> None:
    await operated.publish(api("shop/buy"))
    before = (await read(operated, "/v1/apis/shop/buy")).headers["etag"]
    path = "/v1/apis/shop/buy/override"
    changed = await send(operated, path, "PUT", enabled=False, ttl="2h", headers={"if_match": before})
    assert changed.status == 200, changed.body
    assert changed.json["override"]["author"] == "operateer"
    assert changed.json["override"]["reason"] == "the shop is down"
    assert changed.json["override"]["expiresAt"] is not None
    assert (changed.json["change"]["before"], changed.json["change"]["after"]) == ("enabled", "disabled")
    assert (await operated.call("shop/buy")).status == 403
    after = (await read(operated, "/v1/apis/shop/buy")).headers["etag"]
    assert changed.headers["etag"] == after != before
    ended = await send(operated, path, "DELETE", headers={"if_match": after})
    assert (ended.status, ended.json["override"], ended.json["enabled"]) == (200, None, True)
    assert (await operated.call("shop/buy")).status == 202
    entries = (await read(operated, "/v1/activity?target=shop/buy")).json["activity"]
    assert [(e["action"], e["outcome"], e["message"]) for e in entries] == [
        ("apis.restore", "done", None),
        ("apis.override", "done", "enabled → disabled"),
    ]


async def test_a_stale_version_replaces_nothing(operated: World) -> None:
    await operated.publish(api("shop/buy"))
    read_by_both = (await read(operated, "/v1/apis/shop/buy")).headers["etag"]
    path = "/v1/apis/shop/buy/override"
    first = await send(operated, path, "PUT", enabled=False, headers={"if_match": read_by_both})
    assert first.status == 200
    for method, given in (("PUT", {"enabled": True}), ("DELETE", {})):
        late = await send(operated, path, method, "admin", headers={"if_match": read_by_both}, **given)
        assert refusal(late) == (
            412,
            "requestError.preconditionFailed",
            "shop/buy was switched by operateer since you have read it: it is disabled; read it again, and "
            "repeat the change if it is still right",
        )
    assert (await read(operated, "/v1/apis/shop/buy")).json["enabled"] is False
    missing = await send(operated, path, "PUT", enabled=True, headers={})
    assert refusal(missing) == (
        428,
        "requestError.preconditionRequired",
        'If-Match is required: the ETag of the object that you have read, such as "42", or * for any version',
    )
    for body in (b"{", b"[]", b" " * 70_000):
        reply = await operated.ask(path, "PUT", bearer("operate", content_type="text/plain"), body)
        assert reply.status == 428, "before the body and its parameters"
    for wrong in ("42", '"1", "2"', 'W/"1"'):
        reply = await send(operated, path, "PUT", enabled=True, headers={"if_match": wrong})
        assert refusal(reply)[2] == 'The header If-Match must be one ETag in quotes, such as "42", or *'


async def test_of_two_overrides_with_one_version_one_is_made(operated: World) -> None:
    await operated.publish(api("shop/buy"))
    tag = (await read(operated, "/v1/apis/shop/buy")).headers["etag"]
    path = "/v1/apis/shop/buy/override"
    replies = await asyncio.gather(
        *(send(operated, path, "PUT", enabled=False, headers={"if_match": tag}) for _ in range(5))
    )
    assert sorted(reply.status for reply in replies) == [200, 412, 412, 412, 412]


async def test_a_hold_keeps_runs_until_it_is_released(operated: World) -> None:
    await operated.publish(api("shop/buy"))
    path = "/v1/apis/shop/buy/override"
    held = await send(operated, path, "PUT", enabled=False, hold=True)
    assert (held.json["change"]["after"], held.json["enabled"]) == ("held", True)
    for _ in range(3):
        assert (await operated.call("shop/buy")).status == 202
    released = await send(operated, path, "PUT", enabled=True, rate="1/m")
    assert (released.json["change"]["heldBefore"], released.json["releasePerS"]) == (3, 0.016667)
    both = await send(operated, path, "PUT", enabled=True, hold=True, rate="1/m")
    assert refusal(both)[::2] == (400, "a hold has no rate: a rate releases the runs on hold")
    wrong = await send(operated, path, "PUT", enabled=True, rate="fast", ttl=5)
    assert refusal(wrong)[2].startswith(
        "The member rate of the body must be a rate such as 50/s, 100/m or 1000/h; The member ttl of the body"
    )


async def test_a_debug_case_starts_a_run_and_compares_its_output(operated: World) -> None:
    await operated.publish(api("shop/buy", TOKEN, input_schema=SCHEMA, examples=(HAPPY,)))
    path = "/v1/apis/shop/buy/debug/happy%20path"
    running = asyncio.create_task(send(operated, path, "POST", wait="20s"))

    async def queued() -> list[str]:
        return [run.uid for run in await operated.store.runs.list(limit=5)]

    (uid,) = await until(queued)
    await operated.finish(uid, output=b'{"sku":"A-1","more":1,"password":"canary"}')
    reply = await running
    assert reply.status == 200, reply.body
    found = reply.json
    assert (found["passed"], found["uid"], found["http"], found["status"]) == (True, uid, 202, "completed")
    assert found["expect"] == {"output": {"sku": "A-1"}}
    assert b"canary" not in reply.body
    run = await operated.store.runs.show(uid)
    assert run is not None
    assert (run.caller, json.loads(run.input or b"")) == ("operator:operateer", {"sku": "A-1"})
    (entry,) = (await read(operated, "/v1/activity")).json["activity"]
    assert entry["message"] == f"case 'happy path' passed, run {uid}"


async def test_a_debug_case_fails_with_its_differences(operated: World) -> None:
    narrow = {"type": "object", "required": ["order"]}
    other = Example(name="über:sell", verb="GET", query={"sku": "A-1"}, output={"sku": 2})
    await operated.publish(
        api("shop/buy", input_schema=narrow, examples=(HAPPY,)), api("shop/sell", examples=(other,))
    )
    refused = (await send(operated, "/v1/apis/shop/buy/debug/happy%20path", "POST")).json
    assert (refused["passed"], refused["http"], refused["uid"]) == (False, 400, None)
    assert refused["failures"][0].startswith("http: the request was refused with 400: ")
    path = "/v1/apis/shop/sell/debug/%C3%BCber:sell"
    open_ = (await send(operated, path, "POST", wait=0)).json
    assert (open_["passed"], open_["status"]) == (None, "pending")
    running = asyncio.create_task(send(operated, path, "POST", wait=20))

    async def queued() -> list[str]:
        runs = await operated.store.runs.list(limit=5)
        return [run.uid for run in runs if run.uid != open_["uid"]]

    (uid,) = await until(queued)
    await operated.finish(uid, output=b'{"sku":"A-1"}')
    failed = (await running).json
    assert (failed["passed"], failed["failures"]) == (False, ['output.sku: expected 2, got "A-1"'])


async def test_a_debug_case_is_validated_in_the_validation_process_too(operated: World) -> None:
    recursive = {"$ref": "#/$defs/part", "$defs": {"part": {"properties": {"sku": {"$ref": "#/$defs/part"}}}}}
    assert Schema(recursive).quick_size < 0, "no size of a body is validated on the event loop"
    await operated.publish(api("shop/buy", input_schema=recursive, examples=(HAPPY,)))
    found = (await send(operated, "/v1/apis/shop/buy/debug/happy%20path", "POST", wait=0)).json
    assert (found["http"], found["status"], found["failures"]) == (202, "pending", [])
    assert operated.live.validation.process_id is not None


async def test_a_repeated_debug_request_starts_one_run(operated: World) -> None:
    required = api("shop/buy", idempotency=Idempotency(required=True), examples=(HAPPY,))
    await operated.publish(required)
    path = "/v1/apis/shop/buy/debug/happy%20path"
    headers = {"idempotency_key": "k1"}
    first, again = [await send(operated, path, "POST", wait=0, headers=headers) for _ in range(2)]
    assert first.json["uid"] == again.json["uid"]
    assert again.headers["idempotent-replayed"] == "true"
    assert (await send(operated, path, "POST", wait=0)).json["uid"] != first.json["uid"]


async def test_unknown_cases_and_closed_apis_are_refused(operated: World) -> None:
    await operated.publish(api("shop/buy", examples=(HAPPY,)), api("shop/sell", enabled=False))
    unknown = await send(operated, "/v1/apis/shop/buy/debug/happy%20pat", "POST")
    assert refusal(unknown) == (
        404,
        "requestError.notFound",
        'the live revision keeps no debug case "happy pat" of shop/buy; did you mean "happy path"?; '
        'it keeps "happy path"',
    )
    none = await send(operated, "/v1/apis/shop/sell/debug/x", "POST")
    assert refusal(none)[2].endswith('no debug case "x" of shop/sell; it keeps none of this API')
    await operated.publish(api("shop/sell", enabled=False, examples=(HAPPY,)))
    closed = await send(operated, "/v1/apis/shop/sell/debug/happy%20path", "POST")
    assert refusal(closed)[:2] == (409, "requestError.conflict")
    assert refusal(closed)[2].startswith("shop/sell is disabled; ")
    for path in ("a%2fb", "%00", "a%", "a%2", "%zz", "a/b", ""):
        reply = await send(operated, f"/v1/apis/shop/buy/debug/{path}", "POST")
        assert reply.status == 404, path


async def test_each_project_has_its_own_apis(operated: World) -> None:
    await operated.publish(api("shop/buy"))
    from iogate.compiler.revision import Bundle, Revision, Workflow

    other = operated.store.of_project("bank")
    revision = Revision(apis={"bank/pay": api("bank/pay")}, workflows={"test/echo:1": Workflow(program="p1")})
    await other.revisions.publish(Bundle(revision=revision, programs={"p1": b"{}"}), origin=Origin())
    listed = (await read(operated, "/v1/apis?project=bank")).json
    assert [row["api"] for row in listed["apis"]] == ["bank/pay"]
    assert [row["api"] for row in (await read(operated, "/v1/apis")).json["apis"]] == ["shop/buy"]
    foreign = await send(operated, "/v1/apis/bank/pay/override", "PUT", enabled=False)
    assert refusal(foreign)[::2] == (
        409,
        "bank/pay belongs to project bank: nothing was changed by project default; run the command in the "
        "folder of that project",
    )
    done = await send(operated, "/v1/apis/bank/pay/override", "PUT", enabled=False, project="bank")
    assert done.status == 200
    unknown = await operated.ask("/v1/apis?project=bnak", headers=bearer("read"))
    assert refusal(unknown) == (
        404,
        "requestError.notFound",
        'no project "bnak" has a live revision; did you mean "bank"?; "iogate status" lists the projects',
    )
