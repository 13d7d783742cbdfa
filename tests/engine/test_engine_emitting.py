"""What an emitted event may be: what travels in headers is as short as what is sent in may be."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.engine.emitting import LONGEST, envelope
from iogate.errors import WorkflowError
from iogate.gateway import cloudevents


def made(**given: Any) -> dict[str, Any]:
    return envelope({"type": "test.said", **given}, id_="1", source="/tests", now_ms=0)


@pytest.mark.parametrize("name", ["id", "source", "type", "subject", "dataschema", "region"])
def test_an_attribute_that_no_header_could_carry_is_refused(name: str) -> None:
    assert made(**{name: "x" * LONGEST})[name] == "x" * LONGEST
    with pytest.raises(WorkflowError, match=f'attribute "{name}" of the event must have at most 2048 char'):
        made(**{name: "x" * (LONGEST + 1)})


def test_data_may_be_as_long_as_it_likes() -> None:
    assert len(made(data="x" * 100_000)["data"]) == 100_000
    assert len(made(data_base64="A" * 100_000)["data_base64"]) == 100_000


def test_what_is_emitted_and_what_is_sent_in_have_one_bound() -> None:
    assert LONGEST == cloudevents._LONGEST  # the gateway does not know the engine
