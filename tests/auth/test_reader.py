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
    SignatureAuth,
    SignatureFormat,
    TokenAuth,
    UserAuth,
)
from iogate.auth.reader import AUTH, SENDER_AUTH, literals
from iogate.auth.stored import stored
from iogate.documents.yaml.masking import hides, mask_by_shape, room_below
from iogate.security import secrets
from iogate.value_types.faults import InvalidValue

HASH = "sha256:" + "0" * 64
JWT = {"jwt": {"issuer": "https://example.com", "audience": "orders"}}
SIGNATURE = {"signature": {"scheme": "github", "secret": {"env": "S"}}}
HMAC = {"scheme": "hmac", "secret": {"env": "S"}, "header": "X-Sig"}

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
    assert AUTH.read(given) == SENDER_AUTH.read(given) == auth
    jsonschema_rs.validator_for(dict(AUTH.schema())).validate(given)


SIGNATURES: list[tuple[Any, SignatureAuth[Secret]]] = [
    (
        SIGNATURE["signature"],
        SignatureAuth(scheme="github", secrets=(EnvSecret(name="S"),), caller="github"),
    ),
    (
        {
            "scheme": "stripe",
            "secret": [{"env": "S"}, {"file": "s"}],
            "tolerance": "1m",
            "caller": "payments",
        },
        SignatureAuth(
            scheme="stripe",
            secrets=(EnvSecret(name="S"), FileSecret(path="s")),
            caller="payments",
            tolerance_s=60.0,
        ),
    ),
    (
        {"scheme": "meta", "secret": {"env": "S"}, "verify_token": "clear"},
        SignatureAuth(
            scheme="meta",
            secrets=(EnvSecret(name="S"),),
            caller="meta",
            verify_token=(LiteralSecret(text="clear"),),
        ),
    ),
    (
        {
            **HMAC,
            "prefix": "h1=",
            "algorithm": "sha512",
            "encoding": "base64",
            "signed": "{timestamp}:{body}",
            "timestamp": {"header": "X-Sig", "prefix": "ts=", "unit": "ms"},
            "id": "X-Id",
        },
        SignatureAuth(
            scheme="hmac",
            secrets=(EnvSecret(name="S"),),
            caller="hmac",
            declared=SignatureFormat(
                header="X-Sig",
                prefix="h1=",
                algorithm="sha512",
                encoding="base64",
                signed="{timestamp}:{body}",
                timestamp="X-Sig",
                timestamp_prefix="ts=",
                unit="ms",
                id="X-Id",
            ),
        ),
    ),
]


@pytest.mark.parametrize(("given", "form"), SIGNATURES)
def test_every_scheme_is_read_into_the_model(given: Any, form: SignatureAuth[Secret]) -> None:
    assert AUTH.read({"signature": given}) == form
    jsonschema_rs.validator_for(dict(AUTH.schema())).validate({"signature": given})
    if form.verify_token:
        assert "clear" not in repr(stored(form, place="m/x"))
    else:
        assert stored(form, place="m/x") == form


@pytest.mark.parametrize(
    ("given", "path", "message"),
    [
        (
            {"scheme": "github", "secret": "clear"},
            ("secret",),
            "a signature is checked with the secret itself, and no revision contains a secret in clear",
        ),
        (
            {"scheme": "github", "secret": [{"env": "S"}, "clear"]},
            ("secret", 1),
            "a signature is checked with the secret itself, and no revision contains a secret in clear",
        ),
        (
            {"scheme": "github", "secret": {"env": "S"}, "header": "X-Sig"},
            ("header",),
            'the scheme github determines "header"',
        ),
        (
            {"scheme": "github", "secret": {"env": "S"}, "tolerance": "5m"},
            ("tolerance",),
            "the scheme github signs no time, so that tolerance has no effect",
        ),
        ({"scheme": "meta", "secret": {"env": "S"}}, (), 'the scheme meta needs "verify_token"'),
        (
            {"scheme": "slack", "secret": {"env": "S"}, "verify_token": {"env": "V"}},
            ("verify_token",),
            '"verify_token" belongs to the scheme meta',
        ),
        ({"scheme": "hmac", "secret": {"env": "S"}}, (), 'the scheme hmac needs "header"'),
        (
            {**HMAC, "signed": "{time}.{body}"},
            ("signed",),
            'unknown part "time": expected {body}, {timestamp}, {id}, {method}, {path}, {url}',
        ),
        (
            {**HMAC, "signed": "{body"},
            ("signed",),
            'unknown part "{body": expected {body}, {timestamp}, {id}, {method}, {path}, {url}',
        ),
        (
            {**HMAC, "signed": "{id}.{timestamp}"},
            ("signed",),
            "the signed text has no {body}: anyone could change the body",
        ),
        (
            {**HMAC, "signed": "{timestamp}.{body}"},
            ("signed",),
            'the signed text has {timestamp}, and "timestamp" is not declared',
        ),
        (
            {**HMAC, "signed": "{id}.{body}"},
            ("signed",),
            'the signed text has {id}, and "id" is not declared',
        ),
        (
            {**HMAC, "timestamp": {"header": "X-Time"}},
            ("timestamp",),
            "the signed text has no {timestamp}: anyone could change the time",
        ),
    ],
)
def test_keys_of_a_signature_that_contradict_each_other_are_an_error(
    given: Any, path: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(InvalidValue) as raised:
        AUTH.read({"signature": given})
    (fault,) = raised.value.faults
    assert (fault.path, fault.message) == (("signature", *path), message)


def test_senders_of_events_sign_by_schemes_for_any_content() -> None:
    for given, path in (
        (SIGNATURE, ("signature", "scheme")),
        ({"any": [{"token": "t"}, SIGNATURE]}, ("any", 1, "signature", "scheme")),
    ):
        with pytest.raises(InvalidValue) as raised:
            SENDER_AUTH.read(given)
        (fault,) = raised.value.faults
        assert (fault.path, fault.message) == (
            path,
            "the scheme github signs deliveries that are no CloudEvents; events can have standard-webhooks "
            "or hmac",
        )
    for signed in (
        {"scheme": "standard-webhooks", "secret": {"env": "S"}},
        {"scheme": "hmac", "secret": {"env": "S"}, "header": "X-S"},
    ):
        assert SENDER_AUTH.read({"signature": signed}) == AUTH.read({"signature": signed})


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
        assert AUTH.read({"token": {"hash": given}}) == TokenAuth(
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
