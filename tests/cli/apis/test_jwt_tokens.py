"""`debug` and `api call` send JWTs that the API accepts, or say how to give one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from iogate.auth.description import describe
from iogate.auth.model import StoredAuth
from iogate.auth.reader import AUTH
from iogate.auth.stored import stored
from iogate.cli.apis import credentials, jwt_tokens
from iogate.cli.apis.signing import Outgoing
from iogate.errors import Misused
from iogate.gateway.authentication.authenticator import Authenticator
from iogate.security.secrets import Unset
from tests.gateway.authentication.tokens import SECRET, private_key, private_pem, public_pem
from tests.gateway.driver import request

REQUEST = Outgoing(verb="POST", path="/v1/api/m/x/async", body=b"{}", url="http://h:1", headers={})
DEMANDING: dict[str, Any] = {
    "issuer": "https://a.test",
    "audience": ["x", "y"],
    "scopes": ["s:w", "t"],
    "claims": {"/realm/roles": ["ops", "dev"], "tenant": "acme", "admin": True},
}


@pytest.fixture(autouse=True)
def _folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.delenv("OLD", raising=False)


def form(given: dict[str, Any]) -> StoredAuth:
    return stored(AUTH.read({"jwt": given}), place="m/x")


def caller(auth: StoredAuth, headers: dict[str, str]) -> str:
    """The caller that a gateway sees."""
    sent = request(*((name.encode(), value.encode()) for name, value in headers.items()))
    return asyncio.run(Authenticator(auth).authenticate(sent))


@pytest.mark.parametrize("more", [{}, {"algorithms": ["HS512"]}, {"caller": "/act/sub"}, DEMANDING])
def test_a_shared_secret_signs_a_token_that_the_gateway_accepts(more: dict[str, Any]) -> None:
    auth = form({"secret": [{"env": "OLD"}, {"env": "SECRET"}]} | more)
    assert caller(auth, credentials.headers(auth, REQUEST, api="m/x")) == "iogate-debug"


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384", "p521", "ed25519"])
@pytest.mark.parametrize("jwk", [False, True])
def test_a_private_key_signs_a_token_that_the_gateway_accepts(
    kind: str, tmp_path: Path, *, jwk: bool
) -> None:
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

    (tmp_path / "public.pem").write_text(public_pem(kind))
    of: Any = {"rsa": RSAAlgorithm, "ed25519": OKPAlgorithm}.get(kind, ECAlgorithm)
    text = of.to_jwk(private_key(kind)) if jwk else private_pem(kind)
    (tmp_path / "private").write_text(text)
    auth = form({"key": {"file": "public.pem"}} | DEMANDING)
    assert caller(auth, jwt_tokens.header_of_key(auth, tmp_path / "private", api="m/x")) == "iogate-debug"


def test_without_a_key_the_error_says_how_to_give_a_token() -> None:
    with pytest.raises(Misused) as raised:
        credentials.headers(form({"issuer": "https://a.test"}), REQUEST, api="m/x")
    assert raised.value.message == (
        "m/x: its JWTs are signed with a private key, which the project does not have"
    )
    assert raised.value.hint == (
        'pass a token with --header "Authorization: Bearer TOKEN", or sign one with --jwt-key FILE'
    )
    with pytest.raises(Unset, match="environment variable OLD is not set"):
        credentials.headers(form({"secret": {"env": "OLD"}}), REQUEST, api="m/x")


def test_each_key_that_cannot_sign_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    auth, file = form({"issuer": "https://a.test", "algorithms": ["RS256"]}), tmp_path / "k"

    def message(content: str | None, given: StoredAuth = auth) -> str:
        if content is not None:
            file.write_text(content)
        with pytest.raises(Misused) as raised:
            jwt_tokens.header_of_key(given, file, api="m/x")
        assert "s3cret" not in f"{raised.value.message} {raised.value.hint}"
        return raised.value.message

    assert message(None) == f"--jwt-key: {file} cannot be read: No such file or directory"
    for wrong in ("s3cret", '{"kty": "EC", "d": "s3cret"}', public_pem("rsa"), json.dumps({"kty": "oct"})):
        assert message(wrong) == f"--jwt-key: {file} has no private key in PEM or as a JWK"
    assert message(private_pem("p256")) == f"{file} has no key for the algorithms of m/x"
    assert message(private_pem("p256"), stored(AUTH.read("none"), place="m/x")) == (
        "m/x takes no JWT that is signed with a private key"
    )
    monkeypatch.setenv("SECRET", "s3cret")
    with pytest.raises(Misused, match="m/x: the secret of jwt is shorter than 32 bytes"):
        credentials.headers(form({"secret": {"env": "SECRET"}}), REQUEST, api="m/x")
    monkeypatch.setitem(__import__("sys").modules, "jwt", None)
    assert message(private_pem("rsa")) == 'JWTs need the extra jwt of iogate: pip install "iogate[jwt]"'


def test_lists_name_the_form_and_its_unset_keys() -> None:
    auth = form({"issuer": "a", "secret": {"env": "OLD"}})
    assert describe(auth) == "jwt"
    assert [each.message for each in credentials.unset_secrets(auth)] == [
        "environment variable OLD is not set"
    ]
