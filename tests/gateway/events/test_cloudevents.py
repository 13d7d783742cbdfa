"""Generated requests with events become valid events or a 4xx."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iogate.gateway.events import cloudevents
from iogate.gateway.http.responses import HTTPError
from tests.examples import examples

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
VALUES = st.recursive(
    SCALARS, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3)
)
NAMES = st.sampled_from(
    ["id", "source", "type", "specversion", "time", "subject", "datacontenttype", "dataschema", "data"]
) | st.text(max_size=6)
WHOLE = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
LABELS = st.sampled_from(
    [
        b"",
        b"application/json",
        b"text/plain",
        b"application/x-www-form-urlencoded",
        b"a/b; c=d",
        b"x",
        b"\xff",
    ]
)


def read(headers: dict[bytes, bytes], body: bytes) -> list[dict[str, Any]]:
    """The events; none where the request is refused."""
    status = 202
    found: list[bytes] = []
    try:
        found = cloudevents.read(headers, frozenset(), body)
    except HTTPError as failed:
        status = failed.response.status
    assert status in (202, 400, 415)
    return [json.loads(event) for event in found]


def check(event: dict[str, Any]) -> None:
    assert event["specversion"] == "1.0"
    assert all(event[name] and isinstance(event[name], str) for name in ("id", "source", "type"))
    assert not {"data", "data_base64"} <= event.keys()
    for name, value in event.items():
        if name not in ("data", "data_base64"):
            assert name.isascii()
            assert name.isalnum()
            assert isinstance(value, str | bool | int)


@pytest.mark.parametrize("offset", ["Z", "z", "+00:00", "-08:00", "+05:30"])
@pytest.mark.parametrize("second", ["59", "60", "60.123456789"])
def test_a_leap_second_is_a_time_with_any_offset(second: str, offset: str) -> None:
    event = WHOLE | {"time": f"1990-12-31T23:59:{second}{offset}"}
    body = json.dumps(event).encode()
    assert read({b"content-type": b"application/cloudevents+json"}, body) == [event]


@settings(max_examples=examples(300))
@given(st.dictionaries(NAMES, VALUES, max_size=6), st.booleans())
def test_a_structured_event_is_whole_or_refused(change: dict[str, Any], whole: bool) -> None:  # noqa: FBT001
    body = json.dumps((WHOLE if whole else {}) | change).encode()
    for event in read({b"content-type": b"application/cloudevents+json"}, body):
        check(event)
        assert (
            event.items()
            <= {k: v for k, v in (WHOLE | change).items() if v is not None or k == "data"}.items()
        )


@settings(max_examples=examples(300))
@given(
    st.dictionaries(
        st.binary(max_size=6) | st.sampled_from([b"time", b"ext", b"subject"]),
        st.binary(max_size=12),
        max_size=4,
    ),
    LABELS,
    st.binary(max_size=30) | SCALARS.map(lambda value: json.dumps(value).encode()),
)
def test_a_binary_event_is_whole_or_refused(
    attributes: dict[bytes, bytes], label: bytes, body: bytes
) -> None:
    headers = {b"ce-" + name.encode(): text.encode() for name, text in WHOLE.items()}
    headers |= {b"ce-" + name: value for name, value in attributes.items()}
    for event in read(headers | ({b"content-type": label} if label else {}), body):
        check(event)


@settings(max_examples=examples(100))
@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=3), max_size=4))
def test_a_batch_is_taken_as_a_whole_or_not_at_all(changes: list[dict[str, Any]]) -> None:
    body = json.dumps([WHOLE | change for change in changes]).encode()
    found = read({b"content-type": b"application/cloudevents-batch+json"}, body)
    assert len(found) in (0, len(changes))
    for event in found:
        check(event)
