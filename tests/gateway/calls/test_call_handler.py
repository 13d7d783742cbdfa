"""A call is checked in the order of the contract, and gets a 202 after its run is stored."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from iogate.auth.model import EnvSecret, HashedSecret, TokenAuth
from iogate.compiler.revision import Coalesce, Concurrency, Idempotency, Limits
from iogate.gateway.calls.call_handler import Admitted, CallHandler
from iogate.gateway.http.responses import Response
from iogate.security import secrets
from iogate.store.runs.uids import UidSource
from iogate.store.store import Store
from tests.gateway.driver import TOKEN, USER, World, api, publish, request

SCHEMA = {
    "type": "object",
    "required": ["sku"],
    "properties": {"sku": {"type": "string"}, "qty": {"type": "integer"}, "tags": {"type": "array"}},
}


async def stored(world: World, uid: str) -> Any:
    run = await world.store.runs.show(uid)
    assert run is not None
    return json.loads(run.input)


async def test_calls_of_the_contract_get_its_exact_responses(world: World) -> None:
    await world.publish(
        api("iolinker/test"),
        api("admin/test", TOKEN),
        api("iolinker/login", USER),
        api("off/off", TOKEN, enabled=None),
    )
    form = {"content-type": "application/x-www-form-urlencoded"}

    async def body(path: str, method: str = "GET", sent: bytes = b"", /, **headers: str) -> str:
        return (await world.ask(f"/v1/api/{path}/async", method, headers | form, sent)).body.decode()

    def uid(text: str) -> bool:
        value = json.loads(text)["response"]["uid"]
        return text == f'{{"response":{{"uid":"{value}"}}}}' and value.isdigit() and len(value) <= 19

    assert uid(await body("iolinker/test", "POST", b"{}"))
    assert (
        await body("admin/test")
        == '{"response":{"error":{"code":"requestError.invalidParams","message":"Token is required"}}}'
    )
    assert uid(await body("admin/test", token="123456"))
    assert (
        await body("iolinker/login") == '{"response":{"error":{"code":"requestError.invalidParams",'
        '"message":"User/Password is required"}}}'
    )
    assert uid(await body("iolinker/login", user="iolinker", password="123456"))
    for headers in ({}, {"token": "123456"}, {"token": "wrong"}):
        assert (
            await body("off/off", **headers) == '{"response":{"error":{"code":"requestError.notEnabled",'
            '"message":"The API is not enabled"}}}'
        )


async def test_a_202_carries_a_link_the_revision_and_no_store(world: World) -> None:
    number = await world.publish(api("a/b"))
    reply = await world.call("a/b")
    assert reply.headers["location"].startswith(f"/v1/runs/{reply.uid}?sig=")
    assert reply.headers["x-iogate-revision"] == str(number)
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["content-type"] == "application/json"
    assert (await world.ask(reply.headers["location"])).json["uid"] == reply.uid


async def test_the_first_failed_check_determines_the_response(world: World) -> None:
    """Each call below breaks everything from its own check on."""
    limits = Limits(body=100, rate=0.001, burst=1)
    named = api("a/b", TOKEN, verbs=("POST",), limits=limits, input_schema=SCHEMA)
    await world.publish(named, api("off/x", TOKEN, verbs=("POST",), enabled=False, limits=limits))
    big, xml = b"<" + b"x" * 100, {"content-type": "text/xml"}

    async def code(
        path: str, method: str = "POST", headers: dict[str, str] | None = None, sent: bytes = big
    ) -> Any:
        reply = await world.ask(path, method, xml | (headers or {}), sent)
        return reply.status, reply.code

    right = {"token": "123456"}
    assert await code("/v1/api/none/none/async", "PUT") == (404, "requestError.notFound")
    assert await code("/v1/api/off/x/async", "PUT") == (403, "requestError.notEnabled")
    assert await code("/v1/api/a/b/async", "PUT") == (405, "requestError.methodNotAllowed")
    assert await code("/v1/api/a/b/async") == (401, "requestError.invalidParams")
    assert await code("/v1/api/a/b/async", headers={"token": "x"}) == (401, "requestError.unauthorized")
    assert await code("/v1/api/a/b/async", headers=right) == (413, "requestError.tooLarge")
    assert await code("/v1/api/a/b/async", headers=right, sent=b"<a/>") == (
        415,
        "requestError.unsupportedMediaType",
    )
    assert await code("/v1/api/a/b/async", headers=right, sent=b"{}") == (400, "requestError.invalidParams")
    assert (await world.call("a/b", b'{"sku":"1"}', **right)).uid
    assert await code("/v1/api/a/b/async", headers=right) == (429, "requestError.tooManyRequests")
    assert await code("/v1/api/a/b/async", headers={"token": "x"}) == (429, "requestError.tooManyRequests")


async def test_refusals_carry_the_headers_that_their_status_asks_for(world: World) -> None:
    await world.publish(
        api("t/t", TOKEN),
        api("u/u", USER),
        api("p/p", verbs=("POST",)),
        api("r/r", limits=Limits(rate=0.001, burst=1)),
    )
    assert (await world.ask("/v1/api/p/p/async", "GET")).headers["allow"] == "POST"
    assert (await world.ask("/v1/api/t/t/async", "DELETE")).headers["allow"] == "GET, POST"
    assert (await world.ask("/v1/api/t/t/async")).headers["www-authenticate"] == 'Bearer realm="iogate"'
    assert (await world.ask("/v1/api/u/u/async")).headers["www-authenticate"].startswith("Basic realm")
    assert (await world.call("r/r")).uid
    assert 900 <= int((await world.call("r/r")).headers["retry-after"]) <= 1000


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "TRACE", "PROPFIND", "get", "Post"])
async def test_other_verbs_start_nothing(world: World, method: str) -> None:
    await world.publish(api("a/b"))
    reply = await world.ask("/v1/api/a/b/async", method, body=b"{}")
    assert (reply.status, reply.code) == (405, "requestError.methodNotAllowed")
    assert sum((await world.store.runs.counts()).values()) == 0


async def test_options_names_the_verbs(world: World) -> None:
    await world.publish(api("a/b", TOKEN, verbs=("POST",)))
    reply = await world.ask("/v1/api/a/b/async", "OPTIONS")
    assert (reply.status, reply.headers["allow"], reply.body) == (204, "POST, OPTIONS", b"")


@pytest.mark.parametrize(
    "raw",
    [
        "/v1/api/a/b/async/",
        "/v1/api/a/b/",
        "/v1/api/a/b",
        "/v1/api/A/b/async",
        "/v1/api/a/b/ASYNC",
        "/V1/api/a/b/async",
        "/v1/api//a/b/async",
        "/v1/api/a//b/async",
        "//v1/api/a/b/async",
        "/v1/api/%61/b/async",
        "/v1/api/a%2fb/async",
        "/v1/api/a/b%00/async",
        "/v1/api/a/b/async%20",
        "/v1/api/a/./b/async",
        "/v1/api/a/../a/b/async",
        "/v1/api/a/b;x/async",
        "/v1/apis/a/b/async",
        "/v1/api",
        "/v1/api/",
        "/v1/api/ä/b/async",
    ],
)
async def test_only_the_exact_path_is_a_route(world: World, raw: str) -> None:
    from urllib.parse import unquote

    await world.publish(api("a/b"))
    reply = await world.ask(unquote(raw), "POST", body=b"{}", raw=raw.encode())
    assert (reply.status, reply.code) == (404, "requestError.notFound")


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("", {}),
        ("sku=1&qty=2", {"sku": "1", "qty": 2}),
        ("sku=%C3%A4+b&tags=x", {"sku": "ä b", "tags": ["x"]}),
        ("sku=&tags=x&tags=y", {"sku": "", "tags": ["x", "y"]}),
    ],
)
async def test_a_query_string_is_the_input_of_a_get(world: World, query: str, value: Any) -> None:
    schema = SCHEMA if "sku" in value else None
    await world.publish(api("a/b", input_schema=schema))
    reply = await world.ask(f"/v1/api/a/b/async?{query}")
    assert await stored(world, reply.uid) == value


async def test_an_invalid_get_names_the_place_of_the_error(world: World) -> None:
    await world.publish(api("a/b", input_schema=SCHEMA))
    reply = await world.ask("/v1/api/a/b/async?sku=1&qty=many")
    assert reply.status == 400
    assert reply.message == 'The input is invalid at /qty: "many" is not of type "integer"'
    reply = await world.ask("/v1/api/a/b/async?sku=%ff")
    assert (reply.status, reply.message) == (400, "The query string is not UTF-8")


async def test_a_form_is_read_by_the_schema_and_json_is_not(world: World) -> None:
    await world.publish(api("a/b", input_schema=SCHEMA))
    form = "application/x-www-form-urlencoded"
    reply = await world.call("a/b", b"sku=1&qty=2", content_type=form)
    assert await stored(world, reply.uid) == {"sku": "1", "qty": 2}
    reply = await world.call("a/b", b'{"sku":"1","qty":"2"}', content_type=form)
    assert (reply.status, reply.message) == (
        400,
        'The input is invalid at /qty: "2" is not of type "integer"',
    )


async def test_an_empty_post_is_an_empty_object(world: World) -> None:
    await world.publish(api("a/b"))
    assert await stored(world, (await world.call("a/b", b"")).uid) == {}


async def test_a_whole_request_is_the_input_without_credentials(world: World) -> None:
    schema = {
        "properties": {"query": {"properties": {"n": {"type": "integer"}}}, "body": {"required": ["a"]}}
    }
    await world.publish(api("a/b", TOKEN, input_from="request", input_schema=schema))
    headers = [
        ("token", "123456"),
        ("authorization", "Bearer 123456"),
        ("cookie", "s=1"),
        ("x-event", "push"),
        ("x-event", "two"),
        ("content-type", "application/json"),
    ]
    reply = await world.ask("/v1/api/a/b/async?n=3&m=x", "POST", headers, b'{"a":1}')
    assert await stored(world, reply.uid) == {
        "method": "POST",
        "headers": {"x-event": "push, two", "content-type": "application/json"},
        "query": {"n": 3, "m": "x"},
        "body": {"a": 1},
    }
    reply = await world.ask("/v1/api/a/b/async", "POST", headers, b"{}")
    assert reply.message == 'The input is invalid at /body: "a" is a required property'


async def test_a_body_is_limited_in_bytes_whether_or_not_it_says_its_length(world: World) -> None:
    await world.publish(api("a/b", limits=Limits(body=10)))
    assert (await world.call("a/b", b'"12345678"', content_type="application/json")).uid
    chunks = [b'"1234', b'5678"']
    assert (await world.ask("/v1/api/a/b/async", "POST", body=chunks)).uid
    for headers, sent in (
        ({}, b'"123456789"'),
        ({"content-length": "11"}, b""),
        ({}, [b"12345678", b"9012"]),
    ):
        reply = await world.ask("/v1/api/a/b/async", "POST", headers, sent)
        assert (reply.status, reply.code) == (413, "requestError.tooLarge")
        assert reply.message == "The body is larger than 10 bytes"


async def test_a_compressed_body_is_refused(world: World) -> None:
    await world.publish(api("a/b"))
    reply = await world.call("a/b", content_encoding="gzip")
    assert (reply.status, reply.message) == (415, "The content encoding gzip is not supported; expected none")


async def test_large_headers_are_refused(world: World) -> None:
    await world.publish(api("a/b"))
    reply = await world.call("a/b", x="y" * 40_000)
    assert (reply.status, reply.code) == (431, "requestError.headersTooLarge")


async def test_an_idempotency_key_gives_one_run(world: World) -> None:
    await world.publish(api("a/b"), api("a/c"), api("r/r", input_from="request"))
    first = await world.call("a/b", b'{"a":1,"b":2}', idempotency_key="k")
    again = await world.call("a/b", b'{"b":2, "a":1}', idempotency_key="k")
    assert again.uid == first.uid
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    other = await world.call("a/b", b'{"a":2}', idempotency_key="k")
    assert (other.status, other.code) == (422, "requestError.idempotencyMismatch")
    assert other.message == "The Idempotency-Key was used for a request with another input"
    assert (await world.call("a/c", b'{"a":1,"b":2}', idempotency_key="k")).uid != first.uid
    whole = await world.call("r/r", idempotency_key="k", traceparent="1")
    assert (await world.call("r/r", idempotency_key="k", traceparent="2")).uid == whole.uid


async def test_an_idempotency_key_is_one_header_of_1_to_255_characters(world: World) -> None:
    await world.publish(api("a/b"), api("o/o", idempotency=Idempotency(header="X-Once")))
    for keys, message in (
        ([""], "The header idempotency-key has 0 characters; expected 1 to 255"),
        (["x" * 256], "The header idempotency-key has 256 characters; expected 1 to 255"),
        (["a", "a"], "The header idempotency-key is given more than once"),
    ):
        reply = await world.ask("/v1/api/a/b/async", "POST", [("idempotency-key", key) for key in keys])
        assert (reply.status, reply.message) == (400, message)
    first = await world.call("o/o", x_once="k")
    assert (await world.call("o/o", x_once="k")).uid == first.uid
    assert (await world.call("o/o", idempotency_key="k")).uid != first.uid


async def test_an_idempotency_key_in_the_input_gives_one_run(world: World) -> None:
    await world.publish(
        api("a/b", idempotency=Idempotency(header=None, pointer="/order/id")),
        api("r/r", input_from="request", idempotency=Idempotency(header=None, pointer="/headers/x-delivery")),
        api("x/y", idempotency=Idempotency(pointer="/id")),
    )
    first = await world.call("a/b", b'{"order":{"id":7},"n":1}', idempotency_key="ignored-1")
    again = await world.call("a/b", b'{"n":1,"order":{"id":7}}', idempotency_key="ignored-2")
    assert (again.uid, again.headers["idempotent-replayed"]) == (first.uid, "true")
    other = await world.call("a/b", b'{"order":{"id":7},"n":2}')
    assert (other.status, other.message) == (
        422,
        "The idempotency key at /order/id was used for a request with another input",
    )
    for body in (b"{}", b'{"order":[1]}', b'{"order":{"id":null}}'):
        assert (await world.call("a/b", body)).uid != (await world.call("a/b", body)).uid

    one = await world.call("r/r", x_delivery="d1")
    assert (await world.call("r/r", x_delivery="d1")).uid == one.uid
    assert (await world.call("r/r", x_delivery="d2")).uid != one.uid

    # A key in the header has precedence.
    given = await world.call("x/y", b'{"id":"a"}', idempotency_key="k1")
    assert (await world.call("x/y", b'{"id":"a"}', idempotency_key="k1")).uid == given.uid
    assert (await world.call("x/y", b'{"id":"a"}', idempotency_key="k2")).uid != given.uid
    by_pointer = await world.call("x/y", b'{"id":"a"}')
    assert (await world.call("x/y", b'{"id":"a"}')).uid == by_pointer.uid != given.uid


@pytest.mark.parametrize(
    ("rules", "body", "message"),
    [
        (
            Idempotency(required=True),
            b"{}",
            "The header Idempotency-Key must have the idempotency key of the call",
        ),
        (
            Idempotency(header=None, pointer="/id", required=True),
            b"{}",
            "The input at /id must have the idempotency key of the call",
        ),
        (
            Idempotency(pointer="/id", required=True),
            b'{"id":null}',
            "The header Idempotency-Key or the input at /id must have the idempotency key of the call",
        ),
        (
            Idempotency(pointer="/id"),
            b'{"id":{"a":1}}',
            "The type at /id of the input is object; expected string or number",
        ),
        (
            Idempotency(pointer="/id"),
            b'{"id":true}',
            "The type at /id of the input is boolean; expected string or number",
        ),
        (
            Idempotency(pointer="/id"),
            b'{"id":""}',
            "The text at /id of the input has 0 characters; expected 1 to 255",
        ),
        (
            Idempotency(pointer="/id"),
            b'{"id":"%b"}' % (b"x" * 40_000),  # validated in the process
            "The text at /id of the input has 40000 characters; expected 1 to 255",
        ),
    ],
)
async def test_a_call_without_a_valid_key_is_a_400_that_names_its_place(
    world: World, rules: Idempotency, body: bytes, message: str
) -> None:
    await world.publish(api("a/b", idempotency=rules))
    reply = await world.call("a/b", body)
    assert (reply.status, reply.code, reply.message) == (400, "requestError.invalidParams", message)
    if rules.is_required:
        assert (await world.call("a/b", b'{"id":"1"}', idempotency_key="k")).status == 202


async def test_a_large_input_has_a_key_too(world: World) -> None:
    await world.publish(api("a/b", idempotency=Idempotency(header=None, pointer="/id")))
    body = b'{"id":9,"text":"%b"}' % (b"x" * 40_000)
    assert (await world.call("a/b", body)).uid == (await world.call("a/b", body)).uid


async def test_concurrent_duplicates_give_one_run(world: World) -> None:
    await world.publish(api("a/b"))
    replies = await asyncio.gather(*(world.call("a/b", idempotency_key="k") for _ in range(50)))
    assert len({reply.uid for reply in replies}) == 1
    assert sum("idempotent-replayed" in reply.headers for reply in replies) == 49


async def test_a_rate_per_address_or_caller_is_a_429_for_that_one_only(world: World) -> None:
    two = TokenAuth(
        tokens={name: (HashedSecret(value=secrets.hash_token(name)),) for name in ("ada-token", "bob-token")}
    )
    await world.publish(
        api("by/address", limits=Limits(rate=0.01, per="address")),
        api("by/caller", two, limits=Limits(rate=0.01, per="caller")),
    )
    assert (await world.call("by/address")).status == 202
    for _ in range(2):  # by the store, then by this gateway
        reply = await world.call("by/address")
        assert reply.status == 429
        assert reply.message.startswith("The API is called too often from this address; retry in")
        assert 60 <= int(reply.headers["retry-after"]) <= 101
    world.client = ("127.0.0.9", 50_000)
    assert (await world.call("by/address")).status == 202

    assert (await world.call("by/caller", token="ada-token")).status == 202
    for _ in range(2):
        reply = await world.call("by/caller", token="ada-token")
        assert reply.status == 429
        assert reply.message.startswith("This caller calls the API too often; retry in")
    assert (await world.call("by/caller", token="bob-token")).status == 202


async def test_coalesced_calls_have_one_uid_and_say_so(world: World) -> None:
    await world.publish(api("a/b", coalesce=Coalesce(key="/sku", window_s=60.0, max_s=60.0)))
    first = await world.call("a/b", b'{"sku":"A","n":1}')
    second = await world.call("a/b", b'{"sku":"A","n":2}')
    assert second.uid == first.uid
    assert "x-iogate-coalesced" not in first.headers
    assert second.headers["x-iogate-coalesced"] == "true"
    assert (await world.call("a/b", b'{"sku":"B"}')).uid != first.uid
    assert (await world.call("a/b", b"{}")).uid != (await world.call("a/b", b"{}")).uid
    shown = (await world.ask(f"/v1/runs/{first.uid}")).json
    assert (shown["status"], shown["input"]) == ("pending", {"sku": "A", "n": 2})
    assert shown["waitingFor"]["kind"] == "coalesce"
    assert shown["waitingFor"]["until"].endswith("Z")
    assert world.live.counts["a/b"].coalesced == 1


async def test_after_a_change_of_the_coalescing_key_a_call_replaces_no_input_of_an_earlier_run(
    world: World,
) -> None:
    await world.publish(api("a/b", coalesce=Coalesce(key="/sku", window_s=60.0, max_s=60.0)))
    first = await world.call("a/b", b'{"sku":"A-1"}')
    await world.publish(api("a/b", coalesce=Coalesce(key="/order", window_s=60.0, max_s=60.0)))
    second = await world.call("a/b", b'{"order":"A-1"}')
    assert second.uid != first.uid
    assert (await world.call("a/b", b'{"order":"A-1"}')).uid == second.uid
    assert (await world.ask(f"/v1/runs/{first.uid}")).json["input"] == {"sku": "A-1"}


async def test_runs_of_one_key_wait_for_each_other(world: World) -> None:
    rules = Limits(concurrency=Concurrency(key="/customer"))
    await world.publish(api("a/b", limits=rules, idempotency=Idempotency(pointer="/id")))
    first = await world.call("a/b", b'{"id":1,"customer":7}')
    second = await world.call("a/b", b'{"id":2,"customer":"7"}')
    other = await world.call("a/b", b'{"id":3,"customer":8}')
    waiting = (await world.ask(f"/v1/runs/{second.uid}")).json["waitingFor"]
    assert waiting == {"kind": "key", "task": None, "until": None}
    assert (await world.ask(f"/v1/runs/{other.uid}")).json["waitingFor"]["kind"] == "queue"
    await world.finish(first.uid)
    assert (await world.ask(f"/v1/runs/{second.uid}")).json["waitingFor"]["kind"] == "queue"


async def test_a_full_queue_is_a_429(world: World) -> None:
    await world.publish(api("a/b", limits=Limits(queued=2)))
    replies = [await world.call("a/b") for _ in range(3)]
    assert [reply.status for reply in replies] == [202, 202, 429]
    assert replies[2].message.startswith("Too many runs of the API are waiting; retry in")
    assert 1 <= int(replies[2].headers["retry-after"]) <= 3


async def test_a_call_of_a_stale_revision_is_validated_again_by_the_live_one(world: World) -> None:
    await world.publish(api("a/b"), api("gone/x"))
    await publish(world.store, api("a/b", TOKEN))
    reply = await world.call("a/b")
    assert (reply.status, reply.message) == (401, "Token is required")
    assert (await world.call("gone/x")).status == 404


async def test_a_call_that_publications_overtake_is_stored_by_the_last_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.publish(api("a/b"))
    await publish(world.store, api("a/b", timeout_s=61.0))
    left = [62.0, 63.0]
    reload = world.refresher.reload

    async def overtaken() -> None:
        await reload()
        if left:
            await publish(world.store, api("a/b", timeout_s=left.pop()))

    monkeypatch.setattr(world.refresher, "reload", overtaken)
    reply = await world.call("a/b")
    assert (reply.status, reply.headers["x-iogate-revision"]) == (202, "4")


RIGHT = {"token": "123456"}
CHECKED: list[tuple[dict[str, Any], dict[str, str], bytes, int, str]] = [
    # Changes of the API, headers and body of the call, response: each call breaks all checks from its own on.
    (
        {"verbs": ("GET",), "limits": Limits(body=10), "input_schema": SCHEMA},
        {"token": "123"},
        b'{"sku":12345}',
        405,
        "requestError.methodNotAllowed",
    ),
    (
        {"limits": Limits(body=10), "input_schema": SCHEMA},
        {"token": "123"},
        b'{"sku":12345}',
        401,
        "requestError.unauthorized",
    ),
    (
        {"limits": Limits(body=10), "input_schema": SCHEMA},
        RIGHT,
        b'{"sku":12345}',
        413,
        "requestError.tooLarge",
    ),
    ({"input_schema": SCHEMA}, RIGHT, b'{"sku":12345}', 400, "requestError.invalidParams"),
]


@pytest.mark.parametrize(("changed", "headers", "sent", "status", "code"), CHECKED)
async def test_the_checks_by_a_newer_revision_have_the_same_order(
    world: World, changed: dict[str, Any], headers: dict[str, str], sent: bytes, status: int, code: str
) -> None:
    before = await world.publish(api("a/b"))
    await publish(world.store, api("a/b", TOKEN, **changed))
    reply = await world.call("a/b", sent, **headers)
    assert (reply.status, reply.code) == (status, code)
    assert world.live.table is not None
    assert world.live.table.number > before
    # A call that finds the new revision loaded gets the same response.
    again = await world.call("a/b", sent, **headers)
    assert (again.status, again.code) == (status, code)
    assert world.live.counts["a/b"].refused == {code: 2}
    assert sum((await world.store.runs.counts()).values()) == 0


async def test_a_call_that_is_checked_twice_counts_once_towards_the_rate(world: World) -> None:
    limits = Limits(rate=0.001, burst=2)
    await world.publish(api("a/b", limits=limits))
    await publish(world.store, api("a/b", TOKEN, limits=limits))
    replies = [await world.call("a/b", **RIGHT) for _ in range(3)]
    assert [reply.status for reply in replies] == [202, 202, 429]
    counts = world.live.counts["a/b"]
    assert (counts.accepted, counts.refused) == (2, {"requestError.tooManyRequests": 1})


async def test_admission_takes_nothing_from_the_rate(world: World) -> None:
    await world.publish(api("a/b", TOKEN, limits=Limits(rate=0.001, burst=1)))
    handler, table = CallHandler(world.live, world.refresher, UidSource()), world.live.table
    assert table is not None
    asked = request((b"token", b"123456"), path="/v1/api/a/b/async")
    for _ in range(3):
        admitted = await handler.admit(asked, table)
        assert isinstance(admitted, Admitted)
        assert (admitted.table, admitted.route.api.id, admitted.caller, admitted.sync) == (
            table,
            "a/b",
            "token",
            False,
        )
    assert (await world.call("a/b", **RIGHT)).status == 202
    refused = await handler.admit(asked, table)
    assert isinstance(refused, Response)
    assert refused.status == 429


async def test_a_call_is_accepted_by_the_newer_revision_that_it_was_checked_by(world: World) -> None:
    await world.publish(api("a/b"))
    number = await publish(world.store, api("a/b", TOKEN, input_schema=SCHEMA))
    reply = await world.call("a/b", b'{"sku":"1"}', **RIGHT)
    assert reply.headers["x-iogate-revision"] == str(number)
    run = await world.store.runs.show(reply.uid)
    assert run is not None
    assert (run.caller, json.loads(run.input)) == ("token", {"sku": "1"})
    assert world.live.bodies.held == 0


async def test_a_gateway_that_is_behind_does_not_accept_calls_of_a_deleted_api(world: World) -> None:
    await world.publish(api("a/b"), api("gone/x"))
    await publish(world.store, api("a/b"))
    assert (await world.call("gone/x")).status in (403, 404)


async def test_enabling_and_disabling_take_effect_before_the_gateway_is_notified(world: World) -> None:
    await world.publish(api("a/b", enabled=None))
    assert (await world.call("a/b")).status == 403
    await world.store.gates.set_enabled(["a/b"], True, author="me")
    assert (await world.call("a/b")).status == 202
    await world.store.gates.set_enabled(["a/b"], False, author="me")
    assert (await world.call("a/b")).status == 403


async def test_an_api_without_its_secret_is_a_503_and_others_work(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORDERS_TOKEN", raising=False)
    lacking = TokenAuth(tokens={"token": (EnvSecret(name="ORDERS_TOKEN"),)})
    await world.publish(api("a/b", lacking), api("a/c"))
    reply = await world.call("a/b", token="x")
    assert (reply.status, reply.code) == (503, "serverError.unavailable")
    assert "ORDERS_TOKEN" not in reply.message
    assert (await world.call("a/c")).uid


async def test_without_a_revision_every_call_is_a_503(world: World) -> None:
    reply = await world.call("a/b")
    assert (reply.status, reply.message) == (503, "No revision is loaded yet")


async def test_without_the_store_a_call_is_a_503(world: World, store: Store) -> None:
    await world.publish(api("a/b"))
    assert world.live.intake is not None
    await world.live.intake.close()
    world.live.intake = None
    reply = await world.call("a/b")
    assert (reply.status, reply.code) == (503, "serverError.unavailable")
    assert reply.message == "The store is out of reach; nothing was accepted"
