"""The setting `operators`: valid values, and errors about invalid ones."""

from __future__ import annotations

from typing import Any

import pytest

from iogate import settings
from iogate.auth.model import EnvSecret, FileSecret, HashedSecret
from iogate.errors import InvalidFiles
from iogate.settings.operators import DeclaredOperator, declared

HASH = "sha256:" + "0" * 64
ARGON = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA"


def fault(operators: Any) -> str:
    with pytest.raises(InvalidFiles) as raised:
        settings.read({"operators": operators}, place_of=lambda _: "iogate.yaml:3")
    assert raised.value.code == "IOG191"
    return raised.value.message.removeprefix("iogate.yaml:3: operators")


def test_every_source_of_a_token_is_accepted_unchanged() -> None:
    given = {
        "ada": {"token": {"env": "ADA"}, "role": "admin"},
        "on-call": {"token": [{"file": "old"}, {"hash": HASH}], "role": "operate"},
        "eve@example.com": {"token": {"hash": HASH}, "role": "read"},
    }
    read = settings.read({"operators": given}).operators
    assert read == given
    assert settings.read({"operators": read}).operators == given, "a child reads what its parent had"
    assert declared(read) == {
        "ada": DeclaredOperator(tokens=(EnvSecret(name="ADA"),), role="admin"),
        "on-call": DeclaredOperator(
            tokens=(FileSecret(path="old"), HashedSecret(value=HASH)), role="operate"
        ),
        "eve@example.com": DeclaredOperator(tokens=(HashedSecret(value=HASH),), role="read"),
    }


CLEAR = (
    "a token in clear is visible to everyone who can read this file; "
    "give {env: NAME}, {file: PATH}, or {hash: …} from `iogate secret new`"
)


@pytest.mark.parametrize(
    ("operators", "message"),
    [
        ([], ": expected a map of name to {token: SECRET, role: ROLE}, got a list"),
        ({"ada": {"role": "read"}}, '.ada: missing key "token"'),
        ({"ada": {"token": {"env": "A"}}}, '.ada: missing key "role"'),
        (
            {"ada": {"token": {"env": "A"}, "role": "owner"}},
            ".ada.role: expected one of read, operate, admin, got a value of 5 characters",
        ),
        ({"ada": {"token": "hunter2-hunter2-hunter2", "role": "read"}}, f".ada.token: {CLEAR}"),
        (
            {"ada": {"token": [{"env": "A"}, "hunter2"], "role": "read"}},
            f".ada.token[1]: {CLEAR}",
        ),
        (
            {"ada": {"token": {"hash": ARGON}, "role": "read"}},
            ".ada.token: a token is hashed with SHA-256, a password with Argon2; "
            "give {hash: …} from `iogate secret new`",
        ),
        (
            {"ada": {"token": [{"env": "A"}], "role": "read"}},
            ".ada.token: a list of secrets holds two: the old one and the new one",
        ),
        (
            {"ada": {"token": {"env": "A"}, "role": "read", "tokens": 1}},
            '.ada: unknown key "tokens"; did you mean "token"?',
        ),
        (
            {"a b": {"token": {"env": "A"}, "role": "read"}},
            ": expected each name to be up to 64 letters, digits, dots, dashes, underscores and @",
        ),
    ],
)
def test_a_fault_names_place_and_expectation_and_no_secret(operators: Any, message: str) -> None:
    found = fault(operators)
    assert found == message
    assert "hunter2" not in found


def test_no_representation_shows_the_setting() -> None:
    read = settings.read({"operators": {"ada": {"token": {"env": "ADA_TOKEN"}, "role": "admin"}}})
    assert "ADA_TOKEN" not in repr(read)
