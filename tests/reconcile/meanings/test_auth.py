"""Several forms of authentication of one kind: each counts, and no weakening is taken for another order."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.auth.model import HashedSecret, JwtAuth, StoredAuth
from iogate.auth.reader import AUTH
from iogate.auth.stored import stored
from iogate.reconcile.meanings import auth


def jwt(**changes: Any) -> dict[str, Any]:
    return {"jwt": {"issuer": "https://a.test", **changes}}


def stripe(secret: str, tolerance: str = "2m", **changes: Any) -> dict[str, Any]:
    return {"signature": {"scheme": "stripe", "secret": {"env": secret}, "tolerance": tolerance, **changes}}


def tokens(**callers: str) -> dict[str, Any]:
    return {"tokens": {name: {"env": variable} for name, variable in callers.items()}}


USER = {"user": "u", "password": {"env": "U"}}
X, Y = jwt(audience="x", scopes=["admin"]), jwt(audience="y", scopes=["admin"])


def read(forms: list[dict[str, Any]]) -> StoredAuth:
    return stored(AUTH.read(forms[0] if len(forms) == 1 else {"any": forms}), place="a/b")


def found(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(each.kind, each.text) for each in auth.meanings(read(before), read(after))}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([X, Y], [jwt(audience="x"), Y], {("jwt.widened", "scope admin of jwt not required any more")}),
        ([Y], [jwt(), Y],
         {("jwt.widened", "tokens of https://a.test accepted by another form of jwt"),
          ("jwt.caller", "callers with a JWT get another name (NAME → jwt:https://a.test#NAME)")}),
        ([jwt(), Y], [Y],
         {("jwt.narrowed", "tokens of https://a.test not accepted any more by a form of jwt"),
          ("jwt.caller", "callers with a JWT get another name (jwt:https://a.test#NAME → NAME)")}),
        ([X, Y], [jwt(audience="x"), jwt(audience="y")],
         {("jwt.widened", "tokens of https://a.test accepted by another form of jwt"),
          ("jwt.narrowed", "tokens of https://a.test not accepted any more by a form of jwt")}),
        ([stripe("A"), stripe("B")], [stripe("A", "1d"), stripe("B")],
         {("auth.weakened", 'auth weakened (tolerance of sender "stripe" 2m → 1d)')}),
        ([stripe("A"), stripe("B")], [stripe("A"), stripe("C")],
         {("caller.secret", 'secret of sender "stripe" changed (env B → env C)')}),
        ([stripe("A")], [stripe("A"), stripe("B", "1d")],
         {("auth.weakened",
           'auth weakened (another signature of sender "stripe" accepted, tolerance 1d)')}),
        ([stripe("A"), stripe("B", "1d")], [stripe("A")],
         {("auth.strengthened",
           'auth strengthened (a signature of sender "stripe" not accepted any more, tolerance 1d)')}),
        ([stripe("A", caller="a"), stripe("B", caller="b")],
         [stripe("A", caller="a"), stripe("B", caller="c")],
         {("caller.added", 'sender "c" added'), ("caller.removed", 'sender "b" removed')}),
        ([tokens(a="A"), tokens(a="B")], [tokens(a="EVE"), tokens(a="B")],
         {("caller.secret", 'secret of caller "a" changed (env A and env B → env EVE and env B)')}),
        ([jwt(claims={"admin": 1})], [jwt(claims={"admin": True})],
         {("jwt.widened", 'claim "admin" of jwt may have other values'),
          ("jwt.narrowed", 'claim "admin" of jwt must have other values')}),
    ],
)  # fmt: skip
def test_each_of_several_forms_of_a_kind_counts(
    before: list[dict[str, Any]], after: list[dict[str, Any]], expected: set[tuple[str, str]]
) -> None:
    assert found(before, after) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([tokens(a="A"), USER], [tokens(a="A", evil="E")],
         {("auth.strengthened", "auth strengthened (token or user → token)"),
          ("caller.added", 'caller "evil" added')}),
        ([stripe("A"), USER], [stripe("A", "1d")],
         {("auth.strengthened", "auth strengthened (signature stripe or user → signature stripe)"),
          ("auth.weakened", 'auth weakened (tolerance of sender "stripe" 2m → 1d)')}),
        ([X, USER], [jwt(audience="x"), tokens(a="A")],
         {("auth.changed", "auth changed (jwt or user → jwt or token)"),
          ("jwt.widened", "scope admin of jwt not required any more")}),
    ],
)  # fmt: skip
def test_another_set_of_kinds_hides_no_change_of_the_kinds_that_stay(
    before: list[dict[str, Any]], after: list[dict[str, Any]], expected: set[tuple[str, str]]
) -> None:
    assert found(before, after) == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([X, Y], [Y, X]),
        ([stripe("A"), stripe("B", "1d")], [stripe("B", "1d"), stripe("A")]),
        ([tokens(a="A"), tokens(a="B", b="C")], [tokens(a="B", b="C"), tokens(a="A")]),
        ([jwt(audience=["x", "y"])], [jwt(audience=["y", "x"])]),
        ([jwt(claims={"t": [1, 2], "u": 1})], [jwt(claims={"u": [1], "t": [2, 1]})]),
    ],
)
def test_another_order_is_neutral(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    (meaning,) = auth.meanings(read(before), read(after))
    assert (meaning.kind, meaning.severity) == ("api.changed", "neutral")
    assert meaning.text == "order of the forms of auth changed"


def test_a_changed_jwt_without_a_named_difference_is_no_other_order() -> None:
    old, new = (JwtAuth(secret=(HashedSecret(value=f"sha256:{digit}"),)) for digit in "ab")
    assert [each.kind for each in auth.meanings(old, new)] == ["auth.changed"]
