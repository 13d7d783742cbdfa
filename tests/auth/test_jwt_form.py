"""The form `jwt` is read into the model, written back, and takes no key in clear."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from iogate.auth.jwt_form import JWT
from iogate.auth.model import EnvSecret, FileSecret, JwtAuth, Secret, secrets_of
from iogate.auth.reader import AUTH, SENDER_AUTH
from iogate.auth.stored import stored
from iogate.reconcile.document_form import auth_form
from iogate.value_types.faults import InvalidValue

FILE = FileSecret(path="k.pem")
FORMS: list[tuple[dict[str, Any], JwtAuth[Secret]]] = [
    ({"issuer": "https://a.test"}, JwtAuth(issuer="https://a.test")),
    ({"issuer": "https://a.test", "audience": "b"}, JwtAuth(issuer="https://a.test", audience=("b",))),
    (
        {"issuer": "a", "audience": ["b", "c", "b"], "jwks": "http://a.test:1/k?x=1"},
        JwtAuth(issuer="a", audience=("b", "c"), jwks="http://a.test:1/k?x=1"),
    ),
    ({"key": {"file": "k.pem"}}, JwtAuth(key=(FILE,))),
    ({"key": [{"file": "k.pem"}, {"env": "K"}]}, JwtAuth(key=(FILE, EnvSecret(name="K")))),
    (
        {
            "issuer": "a",
            "secret": {"env": "S"},
            "algorithms": ["HS512"],
            "claims": {"a": 1, "/b/c": ["x", True]},
            "scopes": ["s:w", "t"],
            "caller": "azp",
            "leeway": "5s",
        },
        JwtAuth(
            issuer="a",
            secret=(EnvSecret(name="S"),),
            algorithms=("HS512",),
            claims={"a": 1, "/b/c": ["x", True]},
            scopes=("s:w", "t"),
            caller="azp",
            leeway_s=5.0,
        ),
    ),
]


@pytest.mark.parametrize(("given", "form"), FORMS)
def test_the_form_is_read_and_written(given: dict[str, Any], form: JwtAuth[Secret]) -> None:
    auth = {"jwt": given}
    assert AUTH.read(auth) == SENDER_AUTH.read(auth) == form
    jsonschema_rs.validator_for(dict(AUTH.schema())).validate(auth)
    kept = stored(form, place="a/b")
    assert kept == form
    assert AUTH.read(auth_form(kept)) == form
    assert list(secrets_of(kept)) == [*form.key, *form.secret]


@pytest.mark.parametrize("key", ["key", "secret"])
@pytest.mark.parametrize("value", ["s3cret", {"hash": "sha256:" + "0" * 64}, ["s3cret", {"env": "A"}], 5, {}])
def test_no_key_stands_in_clear(key: str, value: Any) -> None:
    with pytest.raises(InvalidValue) as raised:
        JWT.read({key: value})
    assert "s3cret" not in str([fault.message for fault in raised.value.faults])
