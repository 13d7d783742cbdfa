"""Large and costly requests are validated beside the event loop, in bounded time and memory."""

from __future__ import annotations

import asyncio
import errno
import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest

from iogate.auth.model import AnyAuth, EnvSecret, NoAuth, SignatureAuth, StoredSecret
from iogate.gateway.http.request import Receive, Request
from iogate.gateway.http.responses import HTTPError
from iogate.gateway.validation import schema_cost
from iogate.gateway.validation.call_input import Sent
from iogate.gateway.validation.fair_queue import Bound, FairQueue, Sharer, sharer_of
from iogate.gateway.validation.schema import CHECKS_ON_LOOP, Schema
from iogate.gateway.validation.validation_process import SCHEMAS
from tests.gateway.driver import World, api

LINES = {
    "type": "object",
    "properties": {"lines": {"type": "array", "items": {"type": "object", "required": ["sku"]}}},
}
PATHS = {"$defs": {"n": {"anyOf": [{"properties": {"a": {"$ref": "#/$defs/n"}}, "required": ["y"]}] * 2}}}
EXPONENTIAL = {**PATHS, "$ref": "#/$defs/n"}


async def test_a_large_body_is_validated_like_a_small_one(world: World) -> None:
    await world.publish(api("a/b", input_schema=LINES))
    lines = [{"sku": "A-1", "text": "x" * 1000}] * 500
    body = json.dumps({"lines": lines}).encode()
    uid = (await world.call("a/b", body)).uid
    assert world.live.validation.process_id is not None
    assert json.loads((await world.ask(f"/v1/runs/{uid}")).body)["response"]["input"] == {"lines": lines}
    keyed = await world.call("a/b", body, Idempotency_Key="k1")
    again = await world.call("a/b", json.dumps({"lines": lines}, indent=1).encode(), Idempotency_Key="k1")
    assert again.uid == keyed.uid
    assert again.headers["idempotent-replayed"] == "true"
    other = await world.call("a/b", json.dumps({"lines": lines[1:]}).encode(), Idempotency_Key="k1")
    assert other.status == 422


async def test_a_small_body_of_a_simple_schema_needs_no_process(world: World) -> None:
    await world.publish(api("a/b", input_schema=LINES))
    assert (await world.call("a/b", b'{"lines":[{"sku":"A-1"}]}')).status == 202
    assert (await world.call("a/b", b'{"lines":[{}]}')).status == 400
    assert world.live.validation.process_id is None


async def test_each_error_of_an_order_is_described_and_the_first_of_349_000(world: World) -> None:
    await world.publish(api("a/b", input_schema=LINES))
    text = "x" * 500
    body = json.dumps({"lines": [{"text": text}, {"sku": "A-1", "text": text}, {}]}).encode()
    assert (await world.call("a/b", body)).message == (
        'The input is invalid at /lines/0: "sku" is a required property; '
        'at /lines/2: "sku" is a required property'
    )
    wide = b'{"lines":[' + b",".join([b"{}"] * 349_000) + b"]}"
    assert (await world.call("a/b", wide)).message == (
        'The input is invalid at /lines/0: "sku" is a required property'
    )


async def test_a_value_that_takes_too_long_is_a_400_and_the_next_call_is_validated(
    world: World,
) -> None:
    await world.publish(api("a/b", input_schema=EXPONENTIAL))
    reply = await world.call("a/b", b'{"a":' * 40 + b"1" + b"}" * 40)
    assert (reply.status, reply.message) == (400, "The input takes too much time or memory to validate")
    assert (await world.call("a/b", b'{"y":1}')).status == 202
    assert (await world.call("a/b", b"{}")).message.startswith("The input is invalid at its root: ")


async def test_a_batch_of_events_is_validated_beside_the_loop(world: World) -> None:
    from tests.gateway.sending import BATCH, EVENT, open_to, send

    open_to(world, NoAuth())
    events = [EVENT | {"id": f"e{n}", "data": "x" * 500} for n in range(200)]
    reply = await send(world, events, BATCH)
    assert (reply.status, reply.json) == (202, {"events": 200})
    assert (await send(world, events, BATCH)).json == {"events": 0}
    assert world.live.validation.process_id is not None
    assert (await send(world, [*events, {"id": "x"}], BATCH)).message.startswith("The attribute")


@pytest.mark.parametrize(
    ("schema", "quick"),
    [
        ({"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(100)}}, True),
        ({"items": {"properties": {"a": {"pattern": "^[a-z]+$"}}}}, True),
        ({"$defs": {"a": {"type": "string"}}, "properties": {"x": {"$ref": "#/$defs/a"}}}, True),
        ({"enum": [f"choice {n}" for n in range(4000)]}, True),
        ({"uniqueItems": True}, True),
        (EXPONENTIAL, False),
        ({"$defs": {"n": {"items": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"}, False),
        ({"$ref": "#"}, False),
        ({"items": {"enum": [{"x": n} for n in range(5000)]}}, False),
        ({"items": {"pattern": "^(?=a)(a|aa)+$"}}, False),
        ({"pattern": "a{1,1000}"}, False),
        ({"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False}, False),
        ({"items": {"anyOf": [{"minimum": n} for n in range(200)]}}, False),
        ({"format": "regex"}, False),
        ({"properties": {"a": {"$id": "x", "$ref": "#/$defs/b"}}}, False),
    ],
)
def test_only_schemas_whose_work_is_bounded_are_used_on_the_loop(schema: Any, *, quick: bool) -> None:
    cost = schema_cost.estimate(schema)
    assert (cost is not None and cost.checks(1024) <= CHECKS_ON_LOOP) == quick


def test_the_work_grows_with_the_value() -> None:
    schema = Schema({"items": {"properties": {"a": {"type": "integer"}}}})
    assert 1024 <= schema.quick_size < 1024 * 1024


@pytest.mark.parametrize(("once", "each"), [(10, 3), (0, 1), (100, 7), (200, 1)])
def test_the_largest_quick_value_is_just_within_the_bound(once: int, each: int) -> None:
    cost = schema_cost.Cost(once=once, each=each, depth=1)
    size = cost.largest(100)
    assert size < 0 or cost.checks(size) <= 100
    assert cost.checks(size + 2) > 100


async def test_numbers_that_are_slow_to_decode_are_decoded_beside_the_loop(world: World) -> None:
    await world.publish(api("a/b"))
    few = b"[" + b",".join([b"1e-7", b"1.5e308"] * 30) + b',"%s"]' % (b"-ab1e234-" * 300)
    assert (await world.call("a/b", few)).status == 202
    assert world.live.validation.process_id is None
    for number in (b"1e308", b"1.7E308 ", b"9e-324", b"1e+0308\n"):
        await world.live.validation.close()
        assert (await world.call("a/b", b"[" + b",".join([number] * 100) + b"]")).status == 202
        assert world.live.validation.process_id is not None


@pytest.mark.parametrize("way", ["query", "form", "payload", "multipart", "query of a request"])
async def test_json_in_a_query_or_form_is_decoded_beside_the_loop_if_it_is_slow(
    world: World, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """That is, after its percent-encoding was decoded, by which it is unlike the JSON of a body."""
    schema: Any = {"type": "object", "properties": {"f": {"type": "object"}}}
    if way == "query of a request":
        request = {"type": "object", "properties": {"query": schema}}
        await world.publish(api("a/b", input_schema=request, input_from="request"))
    elif way == "payload":
        monkeypatch.setenv("GITHUB", "x" * 32)
        github: SignatureAuth[StoredSecret] = SignatureAuth(
            scheme="github", secrets=(EnvSecret(name="GITHUB"),), caller="github"
        )
        await world.publish(api("a/b", AnyAuth(any=(github, NoAuth()))))
    else:
        await world.publish(api("a/b", input_schema=schema))
    for number, is_quick in (("1.25", True), ("9e307", False), ("9e+307 ", False)):
        text = json.dumps({"a": [0] * 100}).replace("0", number)
        form = urlencode({"payload" if way == "payload" else "f": text}).encode()
        match way:
            case "query":
                reply = await world.ask(f"/v1/api/a/b/async?{form.decode()}")
            case "query of a request":
                reply = await world.ask(f"/v1/api/a/b/async?{form.decode()}", "POST")
            case "multipart":
                part = f'--x\r\ncontent-disposition: form-data; name="f"\r\n\r\n{text}\r\n--x--\r\n'
                label = "multipart/form-data; boundary=x"
                reply = await world.call("a/b", part.encode(), Content_Type=label)
            case _:
                label = "application/x-www-form-urlencoded"
                reply = await world.call("a/b", form, Content_Type=label)
        assert reply.status == 202, reply.body
        assert (world.live.validation.process_id is None) == is_quick, number
        await world.live.validation.close()


async def test_many_lists_and_maps_are_decoded_beside_the_loop(world: World) -> None:
    await world.publish(api("a/b"))
    some = b"[" + b",".join([b"[]", b"{}"] * 999) + b"]"
    assert (await world.call("a/b", some)).status == 202
    assert world.live.validation.process_id is None
    many = b"[" + b",".join([b"[]", b"{}"] * 1_000) + b"]"
    assert (await world.call("a/b", many)).status == 202
    assert world.live.validation.process_id is not None


async def test_more_slow_numbers_than_a_body_may_have_are_a_400(world: World) -> None:
    await world.publish(api("a/b"))
    body = b"[" + b",".join([b"1e308"] * 10_001) + b"]"
    assert (await world.call("a/b", body)).message == (
        "The body has more than 10000 numbers with an exponent of three digits"
    )


async def test_events_with_slow_numbers_are_decoded_beside_the_loop(world: World) -> None:
    from tests.gateway.sending import EVENT, open_to, send

    open_to(world, NoAuth())
    assert (await send(world, EVENT | {"data": [1e308] * 100})).status == 202
    assert world.live.validation.process_id is not None


@pytest.mark.parametrize(("divisor", "least"), [(2, 1_000), (0.01, 500), (1e-300, 50)])
def test_division_of_each_element_counts(divisor: float, least: int) -> None:
    plain = Schema({"items": {"type": "number"}}).quick_size
    divided = Schema({"items": {"type": "number", "multipleOf": divisor}}).quick_size
    assert least < divided < plain / 5


def test_many_members_that_are_divided_once_stay_on_the_loop() -> None:
    prices = {f"p{n}": {"type": "number", "multipleOf": 0.01} for n in range(200)}
    assert Schema({"properties": prices}).quick_size > 1024 * 1024


@pytest.mark.parametrize(
    "item", [{"a": 1, "password": "12345"}, [1] * 30, [1.0e308] * 30], ids=["objects", "numbers", "slow"]
)
async def test_a_large_input_is_redacted_beside_the_loop(world: World, item: Any) -> None:
    await world.publish(api("a/b"))
    lines = [item] * 300
    uid = (await world.call("a/b", json.dumps({"lines": lines, "token": "t0"}).encode())).uid
    await world.live.validation.close()
    shown = (await world.ask(f"/v1/runs/{uid}")).json["input"]
    if isinstance(item, dict):
        item = item | {"password": "[redacted]"}
    assert shown == {"lines": [item] * 300, "token": "[redacted]"}
    assert world.live.validation.process_id is not None


async def test_an_input_that_is_too_costly_to_redact_is_not_shown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from iogate.gateway.http.responses import ErrorResponse
    from iogate.gateway.validation.validation_process import TOO_COSTLY
    from iogate.gateway.validation.validator import Validation

    await world.publish(api("a/b"))
    uid = (await world.call("a/b", json.dumps(["x" * 5000]).encode())).uid

    async def perform(*_: object) -> None:
        raise HTTPError(ErrorResponse(*TOO_COSTLY))

    monkeypatch.setattr(Validation, "_perform", perform)
    assert (await world.ask(f"/v1/runs/{uid}")).json["input"] == "[too costly to show]"


async def test_short_strings_and_small_objects_are_within_the_memory_of_each_job(world: World) -> None:
    await world.publish(api("a/b"))
    for text in (b'"a"', b'"ab"', b"{}", b'"ab"', b'{"a":1}', b'"a"', b"[]"):
        body = b"[" + b",".join([text] * (1024 * 1024 // (len(text) + 1) - 1)) + b"]"
        reply = await world.call("a/b", body)
        assert reply.status == 202, (text, reply.body)


ONES = b"[" + b",".join([b"1"] * 10_000) + b"]"


async def _stays() -> Any:
    await asyncio.Event().wait()


def asking(address: str, receive: Receive = _stays) -> Request:
    """A request whose client waits for the response."""
    return Request(method="GET", address=address, receive=receive)


async def test_a_job_of_a_disconnected_caller_is_not_started(world: World) -> None:
    validation = world.live.validation

    async def leaves() -> Any:
        return {"type": "http.disconnect"}

    first = asyncio.create_task(validation.redacted(ONES, asking("10.0.0.1")))
    await asyncio.sleep(0)
    with pytest.raises(HTTPError) as failed:
        await validation.redacted(ONES, asking("10.0.0.2", leaves))
    assert (failed.value.response.status, failed.value.response.code) == (408, "requestError.timeout")
    assert not first.done()
    assert len(validation._queue) == 0
    cancelled = asyncio.create_task(validation.redacted(ONES, asking("10.0.0.2")))
    await asyncio.sleep(0)
    assert len(validation._queue) == 1
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    assert len(validation._queue) == 0
    assert await first == ONES


async def test_a_flood_of_one_address_gets_429s_and_delays_no_other_address(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.publish(api("a/b", input_schema=LINES))
    body = json.dumps({"lines": [{"sku": "A-1", "text": "x" * 1000}] * 44}).encode()
    uid = (await world.call("a/b", body)).uid
    queue = world.live.validation._queue
    pop, charge = queue.pop, queue.charge
    # The time of each job, not that of this machine, decides the order.
    monkeypatch.setattr(queue, "charge", lambda sharer, _, now_s: charge(sharer, 0.1, now_s))
    order: list[str] = []

    def recorded(now_s: float) -> tuple[Any, Sharer] | None:
        if (found := pop(now_s)) is not None:
            order.append(found[1][0])
        return found

    monkeypatch.setattr(queue, "pop", recorded)
    outcome_of, push, all_wait = world.live.validation._outcome, queue.push, asyncio.Event()

    async def held(*given: Any) -> Any:
        await all_wait.wait()
        return await outcome_of(*given)

    def noted(waiting: Any, sharer: Sharer, *given: Any) -> Any:
        waits.add(sharer[0])
        if {"10.0.0.2", "10.0.0.3"} <= waits:
            all_wait.set()
        return push(waiting, sharer, *given)

    waits: set[str] = set()
    monkeypatch.setattr(world.live.validation, "_outcome", held)
    monkeypatch.setattr(queue, "push", noted)
    world.client = ("10.0.0.1", 1)
    flood = [asyncio.create_task(world.call("a/b", body)) for _ in range(40)]
    await asyncio.sleep(0)
    others = []
    for world.client in (("10.0.0.2", 1), ("10.0.0.3", 1)):
        others.append(asyncio.create_task(world.call("a/b", body)))
        others.append(asyncio.create_task(world.ask(f"/v1/runs/{uid}")))
        await asyncio.sleep(0)
    assert [reply.status for reply in await asyncio.gather(*others)] == [202, 200, 202, 200]
    refused = [reply for reply in await asyncio.gather(*flood) if reply.status != 202]
    assert len(refused) == 8
    # 32 of the flood wait; most of them come after the calls of the others.
    assert order.count("10.0.0.1") == 32
    later = [max(i for i, each in enumerate(order) if each == other) for other in ("10.0.0.2", "10.0.0.3")]
    assert order[max(later) :].count("10.0.0.1") > 10
    for reply in refused:
        assert (reply.status, reply.code) == (429, "requestError.tooManyRequests")
        assert reply.message == (
            "Too many large requests from this address are being processed; send fewer at once; retry in 1 s"
        )
        assert reply.headers["retry-after"] == "1"


async def test_a_full_queue_is_a_503_for_the_networks_with_the_most_jobs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    validation = world.live.validation
    queue: FairQueue[Any] = FairQueue(total=Bound(2, 10**9))
    for host, seconds in ((2, 1.0), (4, 2.0)):
        queue.charge(sharer_of(f"10.0.0.{host}", "runs"), seconds, asyncio.get_running_loop().time())
    monkeypatch.setattr(validation, "_queue", queue)

    def redact(size: int, host: int) -> asyncio.Task[bytes]:
        stored = b'["' + b"x" * size + b'"]'
        return asyncio.create_task(validation.redacted(stored, asking(f"10.0.0.{host}")))

    served = redact(6000, 1)
    displaced = redact(5000, 2)
    displacing = redact(7000, 3)
    refused = redact(5000, 4)
    for job in (displaced, refused):
        with pytest.raises(HTTPError) as failed:
            await job
        assert (failed.value.response.status, failed.value.response.message) == (
            503,
            "Too many large requests are being processed; nothing was accepted: repeat the request later, or "
            "send at most 32 KiB, which seldom waits",
        )
    assert [len(shown) for shown in await asyncio.gather(served, displacing)] == [6004, 7004]


async def test_a_schema_that_the_process_has_dropped_is_sent_again(world: World) -> None:
    validation = world.live.validation
    sent = Sent(method="POST", query=b"", content_type=b"application/json", body=b'{"a": 1}')

    async def validate(number: int) -> None:
        schema = {"type": "object", "required": ["a"]}
        served = SimpleNamespace(id="a/b", input_schema=schema)
        route: Any = SimpleNamespace(digest=f"d{number}", pointers=(), attribute_pointers=(), api=served)
        found = await validation.input(route, sent, asking("10.0.0.1"), fingerprint=False)
        assert json.loads(found.json) == {"a": 1}

    await validate(0)
    process_id = validation.process_id
    for number in (*range(1, SCHEMAS + 1), 0):
        await validate(number)
    assert len(validation._known) <= SCHEMAS
    validation._known.update(f"d{number}" for number in range(SCHEMAS))
    await validate(1)
    assert validation._known == {"d1"}
    assert validation.process_id == process_id


async def test_a_process_that_cannot_be_started_is_a_503_until_it_can(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await world.publish(api("a/b", input_schema=LINES))
    body = json.dumps({"lines": [{"sku": "x" * 40_000}]}).encode()

    def spawn(*_: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    with monkeypatch.context() as patched:
        patched.setattr("iogate.gateway.child_process._spawn", spawn)
        reply = await world.call("a/b", body)
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "serverError.unavailable", "1")
    assert reply.message == (
        "The process that validates large requests cannot be started; nothing was accepted: repeat the "
        "request later"
    )
    assert (
        f"cannot start the validation process: [Errno {errno.EAGAIN}] Resource temporarily unavailable"
        in caplog.text
    )
    assert (await world.call("a/b", body)).status == 202
