"""Every form of `auth` is read into the model; positions of errors and of literal secrets."""

from __future__ import annotations

import dataclasses
from typing import Any

import jsonschema_rs
import pytest

from iogate.auth.forms import FORMS, NAMED_SECRETS, SECRETS
from iogate.auth.model import (
    AnyAuth,
    Auth,
    EnvSecret,
    FileSecret,
    HashedSecret,
    LiteralSecret,
    NoAuth,
    Secret,
    TokenAuth,
    UserAuth,
)
from iogate.auth.reader import AUTH, EXECUTED_AUTH, DeclaredAuth, literals
from iogate.documents.yaml.masking import hides, mask_by_shape, room_below
from iogate.security import secrets
from iogate.value_types.faults import InvalidValue

HASH = "sha256:" + "0" * 64
SIGNATURE = {"signature": {"scheme": "github", "secret": {"env": "S"}}}

VALID: list[tuple[Any, Auth[Secret]]] = [
    ("none", NoAuth()),
    ({"token": {"env": "T"}}, TokenAuth(tokens={"token": (EnvSecret(name="T"),)})),
    (
        {"token": [{"file": "old"}, "new"]},
        TokenAuth(tokens={"token": (FileSecret(path="old"), LiteralSecret(text="new"))}),
    ),
    (
        {"tokens": {"ci": {"hash": HASH}, "shop": "x"}},
        TokenAuth(tokens={"ci": (HashedSecret(value=HASH),), "shop": (LiteralSecret(text="x"),)}),
    ),
    ({"user": "ann", "password": "p"}, UserAuth(users={"ann": (LiteralSecret(text="p"),)})),
    ({"users": {"ann": {"env": "P"}}}, UserAuth(users={"ann": (EnvSecret(name="P"),)})),
    (
        {"any": ["none", {"token": {"env": "T"}}]},
        AnyAuth(any=(NoAuth(), TokenAuth(tokens={"token": (EnvSecret(name="T"),)}))),
    ),
]


@pytest.mark.parametrize(("given", "auth"), VALID)
def test_every_form_is_read_into_the_model(given: Any, auth: Auth[Secret]) -> None:
    assert AUTH.read(given) == EXECUTED_AUTH.read(given) == DeclaredAuth(accepted=auth)
    jsonschema_rs.validator_for(dict(AUTH.schema())).validate(given)


def test_forms_that_are_not_executed_keep_their_position() -> None:
    declared = AUTH.read({"any": [{"token": "t"}, SIGNATURE]})
    assert declared.accepted == AnyAuth(any=(TokenAuth(tokens={"token": (LiteralSecret(text="t"),)}),))
    ((path, why),) = declared.refused
    assert (path, why.code) == (("any", 1, "signature"), "IOG401")
    assert AUTH.read(SIGNATURE).accepted is None
    with pytest.raises(InvalidValue) as raised:
        EXECUTED_AUTH.read({"any": [{"token": "t"}, SIGNATURE]})
    (fault,) = raised.value.faults
    assert fault.path == path
    assert fault.message == "authentication by signature is not executed by this release"


def test_all_errors_are_reported_each_with_its_path() -> None:
    given = {"any": [{"tokens": {"a b": 5, "ci": {"vault": "x"}}}, {"user": "ann", "pasword": "x"}, 7]}
    with pytest.raises(InvalidValue) as raised:
        AUTH.read(given)
    found = {(fault.path, fault.kind) for fault in raised.value.faults}
    assert found == {
        (("any", 0, "tokens", "a b"), "format"),
        (("any", 0, "tokens", "a b"), "rule"),
        (("any", 0, "tokens", "ci"), "rule"),
        (("any", 1, "password"), "missing"),
        (("any", 1, "pasword"), "unknown"),
        (("any", 2), "type"),
    }


def test_no_error_contains_a_secret() -> None:
    for given in ({"token": {"vault": "hunter2"}}, {"tokn": "hunter2"}, {"token": ["hunter2"] * 3}):
        with pytest.raises(InvalidValue) as raised:
            AUTH.read(given)
        assert "hunter2" not in str([dataclasses.asdict(fault) for fault in raised.value.faults])
    assert "hunter2" not in repr(AUTH.read({"token": "hunter2"}))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("none", []),
        ({"token": {"env": "T"}}, []),
        ({"token": ["a", {"env": "T"}]}, [("token", 0)]),
        ({"tokens": {"ci": "a", "cd": {"hash": HASH}}}, [("tokens", "ci")]),
        ({"user": "ann", "password": "p"}, [("password",)]),
        ({"jwt": {"secret": "s", "issuer": "i"}}, [("jwt", "secret")]),
        ({"any": ["none", {"users": {"ann": ["p", "q"]}}]}, [("any", 1, "users", "ann", n) for n in (0, 1)]),
        ({"user": 5, "pass": "p"}, [("pass",)]),
        ([], []),
    ],
)
def test_literal_secrets_are_found_even_in_an_invalid_auth(given: Any, found: list[Any]) -> None:
    assert list(literals(given)) == found


def test_hashes_that_iogate_prints_are_valid() -> None:
    for given in (secrets.hash_token("x"), secrets.hash_password("x")):
        assert AUTH.read({"token": {"hash": given}}).accepted == TokenAuth(
            tokens={"token": (HashedSecret(value=given),)}
        )


def test_no_snippet_shows_a_secret_of_any_form() -> None:
    """Add the key of a new form to `masking` if this fails."""
    for form in FORMS.values():
        for name, key in form.keys.items():
            room = room_below("auth", name)
            if key.type is SECRETS:
                assert hides(room, "hunter2"), name
                lines = [f"{name}: hunter2"]
            elif key.type is NAMED_SECRETS:
                assert hides(room_below(room, "ann"), "hunter2"), name
                lines = [f"{name}:", "  ann: hunter2"]
            else:
                continue
            assert "hunter2" not in mask_by_shape(lines, len(lines) - 1), name
