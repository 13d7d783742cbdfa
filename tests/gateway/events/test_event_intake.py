"""`POST /v1/events`: CloudEvents in every mode, and the errors of invalid ones."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.auth.model import NoAuth
from iogate.store import keys
from tests.gateway.driver import World
from tests.gateway.sending import BATCH, BINARY, EVENT, STRUCTURED, open_to, send, stored


@pytest.fixture(autouse=True)
async def listener(world: World) -> None:
    """Somebody wants every event: the store keeps none that nobody can want."""
    await world.store.call("HSET", keys.WANTS, "1:1", b"[]")


@pytest.fixture
def opened(world: World) -> World:
    return open_to(world, NoAuth())


async def test_a_structured_event_is_stored_before_the_response(opened: World) -> None:
    event = EVENT | {
        "data": {"sku": "A-1", "n": 12345678901234567890},
        "time": "2026-01-01T00:00:00Z",
        "sequence": 7,
    }
    reply = await send(opened, event)
    assert (reply.status, reply.json) == (202, {"events": 1})
    assert reply.headers["cache-control"] == "no-store"
    assert await stored(opened.store) == [event]


async def test_a_batch_is_stored_in_its_order(opened: World) -> None:
    events = [EVENT | {"id": f"e{number}"} for number in range(5)]
    reply = await send(opened, events, {"content-type": "application/cloudevents-batch+json; charset=utf-8"})
    assert (reply.status, reply.json) == (202, {"events": 5})
    assert [event["id"] for event in await stored(opened.store)] == ["e0", "e1", "e2", "e3", "e4"]


async def test_an_empty_batch_is_accepted(opened: World) -> None:
    assert (await send(opened, [], BATCH)).json == {"events": 0}


async def test_a_binary_event_has_its_attributes_in_headers(opened: World) -> None:
    headers = BINARY | {
        "content-type": "application/json",
        "ce-subject": "Euro%20%E2%82%AC",
        "ce-tenant": '"a \\"b\\""',
    }
    reply = await send(opened, {"sku": "A-1"}, headers)
    assert (reply.status, reply.json) == (202, {"events": 1})
    assert await stored(opened.store) == [
        EVENT
        | {
            "subject": "Euro €",
            "tenant": 'a "b"',
            "datacontenttype": "application/json",
            "data": {"sku": "A-1"},
        }
    ]


@pytest.mark.parametrize(
    ("label", "body", "members"),
    [
        ("application/json", b"[1]", {"datacontenttype": "application/json", "data": [1]}),
        ("application/vnd.a+json", b"null", {"datacontenttype": "application/vnd.a+json", "data": None}),
        ("", b'"x"', {"datacontenttype": "application/json", "data": "x"}),
        (
            "application/x-www-form-urlencoded",
            b'{"a":1}',
            {"datacontenttype": "application/json", "data": {"a": 1}},
        ),
        ("text/plain", b"hi", {"datacontenttype": "text/plain", "data": "hi"}),
        (
            "application/atom+xml; charset=utf-8",
            "<ä/>".encode(),
            {"datacontenttype": "application/atom+xml; charset=utf-8", "data": "<ä/>"},
        ),
        (
            "text/plain; charset=latin-1",
            b"\xe4",
            {"datacontenttype": "text/plain; charset=latin-1", "data_base64": "5A=="},
        ),
        ("text/plain", b"\xe4", {"datacontenttype": "text/plain", "data_base64": "5A=="}),
        (
            "application/octet-stream",
            b"\xff\0",
            {"datacontenttype": "application/octet-stream", "data_base64": "/wA="},
        ),
        ("text/plain", b"", {}),
    ],
)
async def test_data_is_read_by_its_content_type(
    opened: World, label: str, body: bytes, members: dict[str, Any]
) -> None:
    reply = await send(opened, body=body, headers=(BINARY | ({"content-type": label} if label else {})))
    assert reply.json == {"events": 1}
    assert await stored(opened.store) == [EVENT | members]


async def test_a_repeated_source_and_id_is_accepted_but_not_stored_again(opened: World) -> None:
    assert (await send(opened, EVENT)).json == {"events": 1}
    assert (await send(opened, EVENT)).json == {"events": 0}
    assert (await send(opened, headers=BINARY)).json == {"events": 0}
    other = EVENT | {"source": "/other"}
    assert (await send(opened, [EVENT, other, other], BATCH)).json == {"events": 1}
    assert [event["source"] for event in await stored(opened.store)] == ["/shop", "/other"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": None}, "The attribute id of the event is missing"),
        ({"id": ""}, "The attribute id of the event is empty"),
        ({"source": None}, "The attribute source of the event is missing"),
        ({"type": None}, "The attribute type of the event is missing"),
        ({"type": 7}, "The attribute type of the event is not text"),
        ({"specversion": None}, "The attribute specversion of the event is missing"),
        ({"specversion": "0.3"}, 'The event has the specversion "0.3"; expected 1.0'),
        ({"source": "a b"}, "The attribute source of the event is not a URI reference"),
        ({"time": "yesterday"}, "The attribute time of the event is not a timestamp of RFC 3339"),
        ({"time": "2026-02-31T00:00:00Z"}, "The attribute time of the event is not a timestamp of RFC 3339"),
        ({"subject": ""}, "The attribute subject of the event is empty"),
        ({"dataschema": "relative"}, "The attribute dataschema of the event is not an absolute URI"),
        ({"datacontenttype": "json"}, "The attribute datacontenttype of the event is not a media type"),
        (
            {"my_ext": "x"},
            'The event has the attribute "my_ext"; names consist of lower-case letters and digits',
        ),
        (
            {"myExt": "x"},
            'The event has the attribute "myExt"; names consist of lower-case letters and digits',
        ),
        ({"ext": {}}, "The attribute ext of the event is not text, true, false or an integer of 32 bits"),
        ({"ext": 2**31}, "The attribute ext of the event is not text, true, false or an integer of 32 bits"),
        ({"ext": "a\nb"}, "The attribute ext of the event is not printable"),
        ({"ext": "x" * 3000}, "The attribute ext of the event is longer than 2048 characters"),
        ({"data": 1, "data_base64": "aGk="}, "The event has both data and data_base64; expected one of them"),
        ({"data_base64": "?"}, "The member data_base64 of the event is not base64 text"),
    ],
)
async def test_the_error_of_an_invalid_event_names_the_attribute(
    opened: World, change: dict[str, Any], message: str
) -> None:
    event = {name: value for name, value in (EVENT | change).items() if value is not None}
    reply = await send(opened, event)
    assert (reply.status, reply.code, reply.message) == (400, "requestError.invalidParams", message)
    in_batch = await send(opened, [EVENT, event], BATCH)
    place = message.replace("The event", "Event 1 of the batch").replace("the event", "event 1 of the batch")
    assert (in_batch.status, in_batch.message) == (400, place)
    assert await stored(opened.store) == [], "a batch is stored as a whole or not at all"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ce-id": None}, "The header ce-id is missing"),
        ({"ce-type": ""}, "The header ce-type is empty"),
        ({"ce-specversion": "2.0"}, 'The event has the specversion "2.0"; expected 1.0'),
        (
            {"ce-my-ext": "x"},
            'The header "ce-my-ext" does not name an attribute; names consist of letters and digits',
        ),
        (
            {"ce-data": "x"},
            'The header "ce-data" does not name an attribute; names consist of letters and digits',
        ),
        ({"ce-subject": "%FF"}, "The header ce-subject is not UTF-8 once its percent-encoding is undone"),
        (
            {"ce-datacontenttype": "text/plain"},
            "The header ce-datacontenttype is not allowed; Content-Type says it",
        ),
        ({"content-type": "text"}, "The header Content-Type is not a media type"),
    ],
)
async def test_the_error_of_an_invalid_binary_event_names_the_header(
    opened: World, change: dict[str, str | None], message: str
) -> None:
    headers = {name: text for name, text in (BINARY | change).items() if text is not None}
    reply = await send(opened, body=b"x" if "content-type" in change else b"", headers=headers)
    assert (reply.status, reply.message) == (400, message)


async def test_an_attribute_given_twice_is_refused(opened: World) -> None:
    reply = await opened.ask("/v1/events", "POST", [*BINARY.items(), ("ce-id", "e2")])
    assert (reply.status, reply.message) == (400, "The header ce-id is given more than once")


@pytest.mark.parametrize("label", ["application/json", "application/x-www-form-urlencoded", ""])
async def test_the_error_of_a_request_without_an_event_names_the_formats(opened: World, label: str) -> None:
    reply = await send(opened, EVENT, ({"content-type": label} if label else {"x": "y"}))
    assert (reply.status, reply.code) == (415, "requestError.unsupportedMediaType")
    assert reply.message == (
        "The request is not an event: expected the content type application/cloudevents+json, "
        "application/cloudevents-batch+json, or the headers ce-id, ce-source, ce-type and ce-specversion"
    )


async def test_the_error_of_an_unknown_event_format_names_the_formats(opened: World) -> None:
    reply = await send(opened, body=b"<e/>", headers={"content-type": "application/cloudevents+xml"})
    assert reply.status == 415
    assert reply.message.startswith("Events as application/cloudevents+xml are not supported; expected ")
    reply = await send(opened, EVENT, (STRUCTURED | {"content-encoding": "gzip"}))
    assert (reply.status, reply.message) == (415, "The content encoding gzip is not supported; expected none")


async def test_a_body_is_at_most_a_mebibyte_and_a_batch_a_thousand_events(opened: World) -> None:
    large = await send(opened, EVENT | {"data": "x" * 1_048_576})
    assert (large.status, large.message) == (413, "The body is larger than 1048576 bytes")
    many = await send(opened, [EVENT | {"id": str(number)} for number in range(1001)], BATCH)
    assert (many.status, many.message) == (400, "The batch has 1001 events; expected at most 1000")
    full = await send(opened, [EVENT | {"id": str(number)} for number in range(1000)], BATCH)
    assert full.json == {"events": 1000}


async def test_other_verbs_are_refused_and_the_one_is_named(opened: World) -> None:
    reply = await send(opened, method="GET")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    options = await send(opened, method="OPTIONS")
    assert (options.status, options.headers["allow"]) == (204, "POST, OPTIONS")


HOSTILE = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"7",
    b'"text"',
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"id":"1","id":"2"}',
    b'{"specversion":NaN}',
    b'{"specversion":"1.0","id":"\\ud800","source":"/","type":"t"}',
    b'{"specversion":"1.0","id":"a","source":"/","type":"t","data_base64":7}',
    b'{"specversion":"1.0","id":"a","source":"/","type":"t","data_base64":"\xc3\xa9"}',
    b'{"specversion":"1.0","id":["a"],"source":{},"type":null}',
    b'{"specversion":1.0,"id":1,"source":1,"type":1}',
    b'{"specversion":"1.0","id":"a","source":"/","type":"t","":1}',
    b'{"specversion":"1.0","id":"a","source":"/","type":"t","e":1e400}',
    b'{"specversion":"1.0","id":"a","source":"/","type":"t","time":"0000-00-00T00:00:00Z"}',
    b'{"specversion":"1.0","id":"a","source":"/","type":"t","data":' + b"1" * 5_000 + b"}",
    b'[{"specversion":"1.0"},null,[],{}]',
    b"<xml/>",
    b"a=1&b=2",
    b"\x00" * 1000,
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
async def test_no_body_causes_a_5xx(opened: World, body: bytes) -> None:
    for headers in (STRUCTURED, BATCH, BINARY, BINARY | {"content-type": "application/json"}):
        reply = await send(opened, body=body, headers=headers)
        assert reply.status in (202, 400, 415), reply.body
    for event in await stored(opened.store):
        assert {"specversion", "id", "source", "type"} <= event.keys()


@pytest.mark.parametrize(
    "headers",
    [
        {"ce-": "x"},
        {"ce-id": "%"},
        {"ce-id": "%zz%"},
        {"ce-id": '"'},
        {"ce-id": '"\\"'},
        {"ce-id": "é"},
        {"ce-time": "%00"},
        {"ce-source": "%0a"},
        {f"ce-{'x' * 200}": "1"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": ";;;"},
        {"content-type": "application/cloudevents"},
        {"content-type": "application/cloudevents+json; charset=latin-1"},
    ],
    ids=lambda headers: next(iter(headers))[:12],
)
async def test_no_header_causes_a_5xx(opened: World, headers: dict[str, str]) -> None:
    assert (await send(opened, body=b"{}", headers=(BINARY | headers))).status in (202, 400, 415)
