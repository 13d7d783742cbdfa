"""`doctor` names the operators, and those that a gateway of this shell would shut out."""

from __future__ import annotations

import pytest

from iogate import settings
from iogate.cli.processes.operators_check import check_operators
from iogate.security.secrets import hash_token


def findings(**given: object) -> list[tuple[str, str, str]]:
    found = [*check_operators(settings.read(given))]
    assert {each.about for each in found} <= {"operators"}
    return [(each.verdict, each.message, each.hint) for each in found]


ADA = {"token": {"hash": hash_token("x" * 20)}, "role": "admin"}


def test_without_the_setting_there_is_nothing_to_say() -> None:
    assert findings() == []


def test_operators_and_missing_tokens_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BOB_TOKEN", raising=False)
    assert findings(operators={"bob": {"token": {"env": "BOB_TOKEN"}, "role": "read"}, "ada": ADA}) == [
        ("ok", "ada (admin), bob (read)", ""),
        (
            "warning",
            "bob: environment variable BOB_TOKEN is not set in this shell",
            "a gateway started from this shell shuts this operator out",
        ),
    ]
    rotated = {"token": [{"hash": hash_token("x" * 20)}, {"file": "/no/file"}], "role": "read"}
    assert findings(operators={"bob": rotated})[1:] == [
        (
            "warning",
            "bob: secret file /no/file does not exist",
            "the other token of this operator works",
        )
    ]


def test_tokens_that_travel_in_clear_are_a_warning() -> None:
    in_clear = (
        "warning",
        "the gateway listens on 0.0.0.0 without TLS, and operators send tokens to it",
        "set tls, or public_url to the https:// URL of the proxy before the gateway",
    )
    assert findings(operators={"ada": ADA}, host="0.0.0.0")[1:] == [in_clear]
    assert findings(operators={"ada": ADA}, host="0.0.0.0", public_url="http://h")[1:] == [in_clear]
    assert findings(operators={"ada": ADA}, host="0.0.0.0", public_url="https://h")[1:] == []
    assert findings(operators={"ada": ADA}, host="0.0.0.0", tls={"cert": "c", "key": "k"})[1:] == []
