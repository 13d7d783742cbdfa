"""A wider list of addresses is a weakening, a narrower one breaks callers, the same one is neither."""

from __future__ import annotations

import msgspec
import pytest

from iogate.auth.allow_ips import ALLOW_IPS, AllowedAddresses
from iogate.reconcile.meanings import allow_ips


def allowed(*given: object) -> AllowedAddresses | msgspec.UnsetType:
    return ALLOW_IPS.read(list(given)) if given else msgspec.UNSET


@pytest.mark.parametrize(
    ("before", "after", "meanings"),
    [
        (["10.0.0.0/8"], [], [("addresses.widened", "allow_ips removed: every address may call")]),
        ([], ["10.0.0.0/8"], [("addresses.narrowed", "allow_ips added: only 10.0.0.0/8 may call")]),
        (["10.0.0.0/16"], ["10.0.0.0/8"], [("addresses.widened", "allow_ips widened: 10.0.0.0/8 may call")]),
        (
            ["10.0.0.0/8"],
            ["10.0.0.0/16"],
            [("addresses.narrowed", "allow_ips narrowed: 10.0.0.0/8 may not call any more")],
        ),
        (
            ["10.0.0.0/8", {"file": "a"}],
            ["::1", "10.0.0.0/8", {"file": "b"}],
            [
                ("addresses.widened", "allow_ips widened: ::1 and file b may call"),
                ("addresses.narrowed", "allow_ips narrowed: file a may not call any more"),
            ],
        ),
        (
            ["10.0.0.0/9", "10.128.0.0/9", "10.1.1.1"],
            ["10.0.0.0/8"],
            [("api.changed", "allow_ips has the same addresses in another form")],
        ),
        (
            ["10.0.0.0/32"],
            [f"10.0.0.{number}" for number in range(9)],
            [
                (
                    "addresses.widened",
                    "allow_ips widened: 10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5 and 3 more may call",
                )
            ],
        ),
        (["::ffff:10.0.0.1", "10.0.0.2"], ["10.0.0.2", "10.0.0.1", "10.0.0.1"], []),
    ],
)
def test_a_change_of_addresses_is_named(
    before: list[object], after: list[object], meanings: list[tuple[str, str]]
) -> None:
    found = list(allow_ips.meanings(allowed(*before), allowed(*after)))
    assert [(each.kind, each.text) for each in found] == meanings
    assert {each.pointer for each in found} <= {"/allow_ips"}
