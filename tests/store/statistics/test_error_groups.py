"""Groups of errors: equal but for values, of different tasks or kinds apart, short and without secrets."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.store.statistics.error_groups import SHOWN, about_decoder, generalize, group_of

RUNTIME = "https://serverlessworkflow.io/spec/1.0.0/errors/runtime"


def stored(**members: Any) -> bytes:
    described = {"type": RUNTIME, "status": 500, "detail": "no", "instance": "/do/0/a"}
    return json.dumps(described | members).encode()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("order 17 was refused", "order … was refused"),
        ('customer "Ada" has no card', "customer … has no card"),
        ("customer 'Ada' has no card", "customer … has no card"),
        ("it doesn't fit and can't be sent", "it doesn't fit and can't be sent"),
        ("order A-17/b of 2026-01-31T09:30:00Z", "order … of …"),
        ("id 5f6c2f0e-8f5c-4d0e-9d84-111111111111.", "id …."),
        ("ask ada@example.com again", "ask … again"),
        (
            'task "charge" (iteration 3): 500 from https://ada:pw@pay.example.com/v1/orders/17?key=K#x: down',
            "… from https://pay.example.com/…/orders/… down",
        ),
        ('function "f": task "b": the endpoint is empty', "the endpoint is empty"),
        ("two\n  lines", "two lines"),
        ("password=hunter2", "password=[redacted]"),
        ("", ""),
    ],
)
def test_values_are_left_out_of_a_message(message: str, expected: str) -> None:
    assert generalize(message) == expected


def test_errors_that_differ_in_values_only_are_in_one_group() -> None:
    assert group_of(stored(detail="order 17")) == group_of(stored(detail="order 18"))
    assert group_of(stored(detail="order 17", process={"stderr": "x"})) == group_of(stored(detail="order 1"))


@pytest.mark.parametrize(
    "other", [{"detail": "other"}, {"status": 404}, {"type": "about:blank"}, {"instance": "/do/1/b"}]
)
def test_errors_of_other_tasks_and_kinds_are_in_other_groups(other: dict[str, Any]) -> None:
    assert group_of(stored())[0] != group_of(stored(**other))[0]


def test_the_title_stands_for_a_missing_detail() -> None:
    about = about_decoder.decode(group_of(stored(detail=None, title="Order refused"))[1])
    assert about.message == "Order refused"


@given(error=st.binary(max_size=60) | st.text(max_size=400).map(lambda text: stored(detail=text, type=text)))
def test_every_error_has_a_short_description(error: bytes) -> None:
    identity, about = group_of(error)
    assert len(identity) == 16
    described = about_decoder.decode(about)
    assert all(
        len(value) <= SHOWN for value in msgspec.structs.asdict(described).values() if isinstance(value, str)
    )
