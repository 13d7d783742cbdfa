"""The stored form of `auth`: no literal secret, and equal files give equal bytes."""

from __future__ import annotations

import msgspec
import pytest

from iogate.auth.model import EnvSecret, LiteralSecret, NoAuth, StoredAuth, TokenAuth, UserAuth
from iogate.auth.reader import AUTH
from iogate.auth.stored import stored

GIVEN = {"any": ["none", {"token": [{"env": "T"}, "s3cret"]}, {"users": {"ann": "pa55"}}]}
BYTES = (
    b'{"type":"any","any":[{"type":"none"},{"type":"token","tokens":{"token":[{"type":"env","name":"T"},'
    b'{"type":"hash","value":"sha256:1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0"}]}},'
    b'{"type":"user","users":{"ann":[{"type":"hash","value":"$argon2id$v=19$m=19456,t=2,p=1$'
    b'FJW+/HXJlZbBJAhcCp5T6w$p3rd1EKpYESF7zzZyV9CMmWAuqvsJY/fZpCDYnuFVnI"}]}}]}'
)
"""Part of a published revision, which later releases have to load and to compile equally."""


def test_the_stored_form_has_hashes_and_is_stable() -> None:
    accepted = AUTH.read(GIVEN)
    assert accepted is not None
    encoded = msgspec.json.encode(stored(accepted, place="m/x"), order="deterministic")
    assert encoded == BYTES
    assert msgspec.json.decode(encoded, type=StoredAuth) == stored(accepted, place="m/x")
    assert stored(accepted, place="m/y") != stored(accepted, place="m/x"), "the salt follows from the place"


def test_references_stay_as_they_are() -> None:
    for auth in (NoAuth(), TokenAuth(tokens={"a": (EnvSecret(name="A"),)})):
        assert stored(auth, place="m/x") == auth


def test_a_literal_secret_cannot_be_loaded_from_a_revision() -> None:
    encoded = msgspec.json.encode(UserAuth(users={"ann": (LiteralSecret(text="p"),)}))
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(encoded, type=StoredAuth)
