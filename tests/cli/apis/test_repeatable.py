"""`iogate api call --from-run` repeats only what the body of one call can give."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from iogate.cli.apis.api_commands import repeatable
from iogate.errors import Misused
from tests.cli.apis.test_examples import api

FILE = {"name": "scan", "reference": "iogate:file:" + "0" * 64}


def test_a_body_is_repeated() -> None:
    assert repeatable(api(), {"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    ("changes", "value", "reason"),
    [
        ({"input_from": "request"}, {"body": {}}, "its input is a whole request, not the body of one"),
        ({}, {"more": [FILE]}, "its input has files, which belong to that run alone"),
    ],
)
def test_another_input_is_refused(changes: dict[str, Any], value: Any, reason: str) -> None:
    with pytest.raises(Misused, match=reason):
        repeatable(msgspec.structs.replace(api(), **changes), value)
