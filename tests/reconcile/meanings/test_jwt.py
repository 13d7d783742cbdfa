"""More tokens are a weakening, fewer break callers; other keys and callers are named."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.auth.model import StoredAuth
from iogate.auth.reader import AUTH
from iogate.auth.stored import stored
from iogate.reconcile.meanings import auth

BASE = {"issuer": "https://a.test", "audience": "x", "scopes": ["s"], "claims": {"tenant": ["t", "u"]}}


def form(changes: dict[str, Any]) -> StoredAuth:
    given = {name: value for name, value in (BASE | changes).items() if value is not None}
    return stored(AUTH.read({"jwt": given}), place="a/b")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, []),
        ({}, {"audience": None}, [("jwt.widened", "audience of jwt not checked any more (was x)")]),
        ({}, {"audience": ["x", "y"]}, [("jwt.widened", "audience of jwt may be y, too")]),
        ({"audience": None}, {}, [("jwt.narrowed", "audience of jwt must be x")]),
        ({"audience": ["x", "y"]}, {}, [("jwt.narrowed", "audience of jwt may not be y any more")]),
        ({}, {"scopes": None}, [("jwt.widened", "scope s of jwt not required any more")]),
        ({}, {"scopes": ["s", "t"]}, [("jwt.narrowed", "scope t of jwt required")]),
        ({}, {"claims": None}, [("jwt.widened", 'claim "tenant" of jwt not required any more')]),
        ({"claims": None}, {}, [("jwt.narrowed", 'claim "tenant" of jwt required')]),
        ({}, {"claims": {"tenant": "t"}}, [("jwt.narrowed", 'claim "tenant" of jwt must have other values')]),
        (
            {},
            {"claims": {"tenant": ["t", "u", "v"]}},
            [("jwt.widened", 'claim "tenant" of jwt may have other values')],
        ),
        ({"algorithms": ["RS256"]}, {}, [("jwt.widened", "algorithms of jwt may be ")]),
        ({}, {"algorithms": ["RS256"]}, [("jwt.narrowed", "algorithms of jwt may not be ")]),
        ({}, {"leeway": "5m"}, [("jwt.widened", "leeway of jwt changed (1m → 5m)")]),
        ({}, {"leeway": "1s"}, [("jwt.narrowed", "leeway of jwt changed (1m → 1s)")]),
        ({}, {"caller": "azp"}, [("jwt.caller", "caller of jwt comes from another claim (sub → azp)")]),
        (
            {},
            {"issuer": "https://b.test"},
            [("jwt.issuer", "issuer of jwt changed (https://a.test → https://b.test)")],
        ),
        (
            {"key": {"file": "k"}},
            {"issuer": None, "key": {"file": "k"}},
            [("jwt.widened", "jwt accepts every issuer (was https://a.test)")],
        ),
        (
            {},
            {"jwks": "https://a.test/keys"},
            [("jwt.keys", "keys of jwt changed (OpenID configuration → https://a.test/keys)")],
        ),
        (
            {"key": {"file": "k"}},
            {"key": [{"file": "k"}, {"env": "K"}]},
            [("jwt.keys", "keys of jwt changed (key file k → key file k and env K)")],
        ),
    ],
)
def test_a_change_of_a_jwt_is_named(
    before: dict[str, Any], after: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    found = [(each.kind, each.text) for each in auth.meanings(form(before), form(after))]
    assert len(found) == len(expected)
    for (kind, text), (wanted, start) in zip(found, expected, strict=True):
        assert kind == wanted
        assert text.startswith(start)


def test_another_issuer_is_an_addition() -> None:
    one = {"jwt": BASE}
    two = {"any": [one, {"jwt": {"issuer": "https://b.test"}}]}
    first, second = (stored(AUTH.read(each), place="a/b") for each in (one, two))
    assert [(each.kind, each.text) for each in auth.meanings(first, second)] == [
        ("jwt.widened", "tokens of https://b.test accepted"),
        ("jwt.caller", "callers with a JWT get another name (NAME → jwt:https://a.test#NAME)"),
    ]
    assert [(each.kind, each.text) for each in auth.meanings(second, first)] == [
        ("jwt.narrowed", "tokens of https://b.test not accepted any more"),
        ("jwt.caller", "callers with a JWT get another name (jwt:https://a.test#NAME → NAME)"),
    ]
    token = stored(AUTH.read({"token": {"env": "T"}}), place="a/b")
    assert [each.text for each in auth.meanings(token, first)] == ["auth changed (token → jwt)"]
    both = stored(AUTH.read({"any": [one, {"token": {"env": "T"}}]}), place="a/b")
    assert [(each.kind, each.text) for each in auth.meanings(first, both)] == [
        ("auth.weakened", "auth weakened (jwt → jwt or token)"),
        ("jwt.caller", "callers with a JWT get another name (NAME → jwt:https://a.test#NAME)"),
    ]
    assert list(auth.meanings(both, both)) == []
