"""Changes of callbacks and fault handlers say who is told, and what callers may name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from iogate.auth.model import EnvSecret, NoAuth
from iogate.compiler.revision import Api, Callback, FaultHandler
from iogate.reconcile.meanings import run_ends
from iogate.reconcile.shown_values import shown

PLAIN = Api(id="a/b", workflow="n/w:1.0.0", program="p", auth=NoAuth())
SECRET = EnvSecret(name="CB")
FIXED = Callback(url="https://h.example/secret-path", secret=SECRET)
NAMED = Callback(allow=("*.example", "one.test"), secret=SECRET)
HANDLER = FaultHandler(workflow="ops/notify:1.0.0", program="q")


def found(before: Api, after: Api) -> list[tuple[str, str]]:
    return [(each.kind, each.text) for each in run_ends.meanings(before, after)]


def with_(**members: Any) -> Api:
    return msgspec.structs.replace(PLAIN, **members)


def test_a_plan_shows_the_path_of_a_callback_and_no_credentials() -> None:
    url = "https://h.example/hooks/orders?token=abc123&v=2"
    ((_, text),) = found(PLAIN, with_(callback=Callback(url=url, secret=SECRET)))
    assert text.endswith("is sent to https://h.example/hooks/orders?token=[redacted]&v=2")
    form = shown(("callback",), {"url": url, "secret": {"env": "CB"}})
    assert form == {"url": "https://h.example/hooks/orders?token=[redacted]&v=2", "secret": {"env": "CB"}}
    assert shown(("callback", "secret", "env"), "CB") == "CB"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            PLAIN,
            with_(callback=FIXED),
            [
                (
                    "callback.added",
                    "callback added: the output of new runs is sent to https://h.example/secret-path",
                )
            ],
        ),
        (
            with_(callback=NAMED),
            PLAIN,
            [
                (
                    "callback.removed",
                    "callback removed: the ends of new runs are no longer sent to a URL that the caller "
                    "names on *.example or one.test",
                )
            ],
        ),
        (
            with_(callback=FIXED),
            with_(callback=msgspec.structs.replace(FIXED, url="https://i.example/")),
            [
                (
                    "callback.changed",
                    "callback of new runs goes to https://i.example/, no longer to "
                    "https://h.example/secret-path",
                )
            ],
        ),
        (
            with_(callback=NAMED),
            with_(callback=msgspec.structs.replace(NAMED, allow=("*", "one.test"))),
            [
                ("callback.narrowed", "callers may no longer name *.example in Callback-Url"),
                ("callback.widened", "callers may also name *, which then gets the output of their runs"),
            ],
        ),
        (
            with_(callback=FIXED),
            with_(callback=msgspec.structs.replace(FIXED, secret=EnvSecret(name="CC"), on=("faulted",))),
            [
                (
                    "callback.secret",
                    "secret of the callback has another source: receivers need its value",
                ),
                ("callback.narrowed", "the callback no longer tells cancelled or completed runs"),
            ],
        ),
        (
            PLAIN,
            with_(on_fault=HANDLER),
            [("on_fault.added", "a fault of a new run starts ops/notify:1.0.0")],
        ),
        (
            with_(on_fault=HANDLER),
            with_(on_fault=msgspec.structs.replace(HANDLER, workflow="ops/other:1.0.0")),
            [
                (
                    "on_fault.changed",
                    "a fault of a new run starts ops/other:1.0.0, no longer ops/notify:1.0.0",
                )
            ],
        ),
        (
            with_(on_fault=HANDLER),
            PLAIN,
            [("on_fault.removed", "a fault of a new run no longer starts ops/notify:1.0.0")],
        ),
        (with_(on_fault=HANDLER), with_(on_fault=msgspec.structs.replace(HANDLER, program="r")), []),
    ],
)
def test_a_change_has_its_meanings(before: Api, after: Api, expected: list[tuple[str, str]]) -> None:
    assert found(before, after) == expected
