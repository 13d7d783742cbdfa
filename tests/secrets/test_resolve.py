"""Resolution of secrets, and generation of hashes and tokens."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iogate.security import secrets


def test_a_secret_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_TOKEN", "s3cret")
    assert secrets.resolve("env", "ORDERS_TOKEN") == "s3cret"


def test_only_the_last_line_break_of_a_file_is_removed(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("two\nlines \r\n", encoding="utf-8", newline="")
    assert secrets.resolve("file", "token", root=tmp_path) == "two\nlines "


def test_a_hash_is_returned_unchanged() -> None:
    assert secrets.resolve("hash", "sha256:ab") == "sha256:ab"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "environment variable ORDERS_TOKEN is not set"),
        ("", "environment variable ORDERS_TOKEN is empty"),
    ],
)
def test_an_absent_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, value: str | None, message: str
) -> None:
    monkeypatch.delenv("ORDERS_TOKEN", raising=False)
    if value is not None:
        monkeypatch.setenv("ORDERS_TOKEN", value)
    with pytest.raises(secrets.Unset) as caught:
        secrets.resolve("env", "ORDERS_TOKEN")
    assert caught.value.message == message
    assert caught.value.hint == "set ORDERS_TOKEN in the environment of the process that needs it"
    assert (caught.value.kind, caught.value.name) == ("env", "ORDERS_TOKEN")


def test_an_absent_empty_or_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * (secrets.MAX_FILE + 1))
    os.mkfifo(tmp_path / "pipe")
    for name, why in (
        ("absent", "does not exist"),
        ("empty", "is empty"),
        ("binary", "is not UTF-8 text"),
        (".", "cannot be read: Is a directory"),
        ("large", "is larger than 65536 bytes"),
        ("pipe", "is not a regular file"),
    ):
        with pytest.raises(secrets.Unset) as caught:
            secrets.resolve("file", name, root=tmp_path)
        assert caught.value.message == f"secret file {name} {why}"
        assert caught.value.hint == f"write the secret to {name}, readable by the process that needs it"


def test_equal_passwords_with_one_salt_hash_equally_and_with_none_differently() -> None:
    salted = [secrets.hash_password("123456", salt=b"s" * 16) for _ in range(2)]
    assert salted[0] == salted[1]
    assert secrets.hash_password("123456") != secrets.hash_password("123456")


def test_argon2_uses_the_recommended_parameters() -> None:
    assert secrets.hash_password("x", salt=b"s" * 16).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_tokens_are_new_each_time_recognised_and_checked() -> None:
    tokens = {secrets.generate_token() for _ in range(50)}
    assert len(tokens) == 50
    for token in tokens:
        assert token.startswith("iog_")
        assert token.isascii()
        assert secrets.is_token(token)
        assert not secrets.is_token(token[:-1] + ("0" if token[-1] != "0" else "1"))
    assert not secrets.is_token("iog_é" * 8)
