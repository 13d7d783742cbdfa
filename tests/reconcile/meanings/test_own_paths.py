"""A plan says who loses a URL."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from iogate.reconcile.meanings import apis
from iogate.reconcile.plan_facts import NO_FACTS, Facts
from iogate.store.revisions.own_paths import Taken
from tests.gateway.driver import api

FACTS = Facts(taken_paths={"a/b": Taken("a/b", "/new", "pay/hook", "billing")})


@pytest.mark.parametrize(
    ("before", "after", "facts", "meanings"),
    [
        ({"path": "/old"}, {}, NO_FACTS, [("path.removed", "path /old removed: its callers get a 404")]),
        (
            {"path": "/old"},
            {"path": "/new"},
            NO_FACTS,
            [("path.moved", "path moved (/old → /new): callers of the old one get a 404")],
        ),
        (
            {"path": "/old"},
            {"path": "/old", "mode": "sync"},
            NO_FACTS,
            [("path.mode", "mode of path /old changed (async → sync)")],
        ),
        (
            {},
            {"path": "/new"},
            FACTS,
            [("path.foreign", "path /new is that of pay/hook of project billing: the apply is refused")],
        ),
        (
            {"path": "/old"},
            {"path": "/new", "mode": "sync"},
            FACTS,
            [
                ("path.moved", "path moved (/old → /new): callers of the old one get a 404"),
                ("path.foreign", "path /new is that of pay/hook of project billing: the apply is refused"),
                ("path.mode", "mode of path /new changed (async → sync)"),
            ],
        ),
    ],
)
def test_changes_of_a_path(
    before: dict[str, Any], after: dict[str, Any], facts: Facts, meanings: list[tuple[str, str]]
) -> None:
    plain = api("a/b")
    found = apis.changed(
        msgspec.structs.replace(plain, **before), msgspec.structs.replace(plain, **after), facts
    )
    assert [(each.kind, each.text) for each in found] == meanings
    assert all(each.severity == "breaking" for each in apis.changed(plain, plain, facts))
