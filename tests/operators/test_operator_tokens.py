"""Operators are found by their tokens; missing, shared and guessed ones shut out as few as possible."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from iogate.operators.operator_tokens import OperatorTokens
from iogate.operators.roles import Operator, Role, command_actor
from iogate.security.failure_limit import FAILURES, Busy
from iogate.security.secrets import generate_token, hash_token
from iogate.settings.operators import declared

ADA, BOB = "ada-token-ada-token", "bob-token-bob-token"
HERE, THERE = "192.0.2.1", "192.0.2.2"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def access(operators: dict[str, Any], root: Path | None = None, clock: Clock | None = None) -> OperatorTokens:
    return OperatorTokens(declared(operators), root=root, monotonic=clock or Clock())


def of(hashed: str, role: str = "read") -> dict[str, Any]:
    return {"token": {"hash": hash_token(hashed)}, "role": role}


def test_roles_are_ordered_and_each_covers_the_lower_ones() -> None:
    assert Role.READ < Role.OPERATE < Role.ADMIN
    assert [str(each) for each in Role] == ["read", "operate", "admin"]
    assert Role.of("operate") is Role.OPERATE
    assert command_actor("ann@host").role is Role.ADMIN


def test_a_token_finds_its_operator_and_no_other_text_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADA_TOKEN", ADA)
    found = access({"ada": {"token": {"env": "ADA_TOKEN"}, "role": "admin"}, "bob": of(BOB)})
    assert found.authenticate(ADA.encode(), HERE) == Operator(name="ada", role=Role.ADMIN)
    assert found.authenticate(BOB.encode(), HERE) == Operator(name="bob", role=Role.READ)
    for wrong in (b"", ADA.encode()[:-1], ADA.encode() + b"\n", hash_token(BOB).encode(), b"\xff" * 20):
        assert found.authenticate(wrong, HERE) is None
    assert found.operator("ada") == Operator(name="ada", role=Role.ADMIN)
    assert found.operator("eve") is None


def test_both_tokens_work_during_a_rotation(tmp_path: Path) -> None:
    (tmp_path / "old").write_text(ADA + "\n")
    (tmp_path / "new").write_text(BOB + "\n")
    found = access({"ada": {"token": [{"file": "old"}, {"file": "new"}], "role": "read"}}, tmp_path)
    assert [found.authenticate(each.encode(), HERE) is not None for each in (ADA, BOB)] == [True, True]


def test_a_replaced_file_counts_within_a_second(tmp_path: Path) -> None:
    clock = Clock()
    (tmp_path / "t").write_text(ADA)
    found = access({"ada": {"token": {"file": "t"}, "role": "read"}}, tmp_path, clock)
    before = found.generation("ada")
    (tmp_path / "t").write_text(BOB)
    assert not found.refresh(), "files are checked at most once a second"
    clock.now += 1.5
    assert found.refresh()
    assert found.authenticate(ADA.encode(), HERE) is None
    assert found.authenticate(BOB.encode(), HERE) is not None
    assert found.generation("ada") != before, "a session of the old token ends"
    clock.now += 1.5
    assert not found.refresh()


def test_a_missing_or_short_token_closes_only_its_operator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    monkeypatch.setenv("SHORT", "guess-me")
    found = access(
        {
            "ada": of(ADA),
            "bob": {"token": {"env": "NOT_SET"}, "role": "admin"},
            "cid": {"token": {"env": "SHORT"}, "role": "admin"},
            "dan": {"token": [{"hash": hash_token(BOB)}, {"file": "gone"}], "role": "read"},
        },
        tmp_path,
    )
    assert found.closed == {
        "bob": "environment variable NOT_SET is not set",
        "cid": "env SHORT has less than 16 characters; `iogate secret new` generates a token",
    }
    assert found.spare == {"dan": "secret file gone does not exist"}
    assert found.authenticate(ADA.encode(), HERE) is not None
    assert found.authenticate(BOB.encode(), HERE) is not None
    assert found.authenticate(b"guess-me", HERE) is None
    assert found.authenticate(b"", HERE) is None
    assert found.operator("bob") is None


def test_operators_with_the_same_token_are_both_closed() -> None:
    found = access({"ada": of(ADA), "bob": of(ADA, "admin"), "cid": of(BOB)})
    why = "operators ada and bob have the same token"
    assert found.closed == {"ada": why, "bob": why}
    assert found.authenticate(ADA.encode(), HERE) is None
    assert found.authenticate(BOB.encode(), HERE) is not None


def exhaust(found: OperatorTokens, address: str) -> None:
    for number in range(FAILURES):
        assert found.authenticate(b"wrong %d" % number, address) is None


def test_an_address_with_wrong_tokens_waits_even_for_a_right_one() -> None:
    clock = Clock()
    found = access({"ada": of(ADA), "bob": of(BOB)}, clock=clock)
    exhaust(found, HERE)
    for token in (b"wrong", ADA.encode()):
        with pytest.raises(Busy) as refused:
            found.authenticate(token, HERE)
        assert refused.value.retry_after_s == pytest.approx(1.0)
    assert found.recognize(ADA.encode(), HERE) is None, "another path tells nothing either"
    assert found.authenticate(ADA.encode(), THERE) is not None, "others are not affected"
    clock.now += 1.5
    assert found.authenticate(ADA.encode(), HERE) is not None


def test_guesses_do_not_shut_out_a_token_that_was_in_use_there() -> None:
    clock = Clock()
    found = access({"ada": of(ADA), "bob": of(BOB)}, clock=clock)
    assert found.authenticate(ADA.encode(), HERE) is not None
    exhaust(found, HERE)
    assert found.authenticate(ADA.encode(), HERE) is not None
    assert found.recognize(ADA.encode(), HERE) is not None
    with pytest.raises(Busy):
        found.authenticate(BOB.encode(), HERE)
    clock.now += 3601
    exhaust(found, HERE)
    with pytest.raises(Busy):
        found.authenticate(ADA.encode(), HERE)


def test_right_tokens_are_not_counted_however_many() -> None:
    found = access({"ada": of(ADA)})
    for number in range(3 * FAILURES):
        assert found.authenticate(ADA.encode(), f"192.0.2.{number}") is not None
        assert found.authenticate(ADA.encode(), HERE) is not None
    exhaust(found, THERE)


def test_credentials_of_callers_count_no_failure_until_they_fail_as_such() -> None:
    found = access({"ada": of(ADA)})
    for _ in range(3 * FAILURES):
        assert found.recognize(b"token of a caller", HERE) is None
    assert found.recognize(ADA.encode(), HERE) is not None
    for _ in range(FAILURES):
        found.count_failure(THERE)
    assert found.recognize(ADA.encode(), THERE) is None
    with pytest.raises(Busy):
        found.count_failure(THERE)


def test_no_token_is_in_a_representation_or_a_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    token = generate_token()
    (tmp_path / "t").write_text(token)
    with caplog.at_level(logging.DEBUG):
        found = access({"ada": {"token": {"file": "t"}, "role": "read"}}, tmp_path)
        found.authenticate(token.encode(), HERE)
    shown = f"{found!r} {found.closed} {found.spare} {found.operator('ada')!r} {found.generation('ada')}"
    assert token not in shown
    assert token not in caplog.text
