"""Every form is in the table, and two forms of one API never share a caller."""

from __future__ import annotations

import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.auth import model
from iogate.auth.caller_names import CallerNames
from iogate.auth.model import (
    AnyAuth,
    EnvSecret,
    FileSecret,
    HashedSecret,
    JwtAuth,
    NoAuth,
    SignatureAuth,
    StoredAuth,
    StoredSecret,
    TokenAuth,
    UserAuth,
)
from iogate.gateway.authentication.authenticator import Authenticator
from iogate.gateway.authentication.forms.table import CARRIERS, FORMS, HEADERS
from iogate.security import secrets
from tests.gateway.authentication.tokens import ISSUER, SECRET, token
from tests.gateway.driver import World, api, request
from tests.gateway.webhooks import github

BODY = b'{"n": 1}'
JWT: JwtAuth[StoredSecret] = JwtAuth(secret=(EnvSecret(name="SECRET"),), issuer=ISSUER)
TOKENS = TokenAuth(tokens={"ada": (HashedSecret(value=secrets.hash_token("t0ken")),)})
USERS = UserAuth(
    users={name: (HashedSecret(value=secrets.hash_token("passw0rd")),) for name in ("ada", "github", "eve")}
)
SIGNATURE: SignatureAuth[StoredSecret] = SignatureAuth(
    scheme="github", secrets=(EnvSecret(name="SECRET"),), caller="github"
)
ALL: StoredAuth = AnyAuth(any=(SIGNATURE, USERS, JWT, TOKENS))


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", SECRET)


def sent_as(user: str) -> dict[str, str]:
    return {"user": user, "password": "passw0rd"}


def bearer() -> dict[str, str]:
    return {"authorization": f"Bearer {token('HS256')}"}


def test_each_form_of_the_model_is_in_the_table() -> None:
    structs = {typing.get_origin(each) or each for each in typing.get_args(model.Form)}
    assert set(FORMS) == structs
    assert {b"authorization", b"token", b"user", b"password"} == HEADERS
    assert len(CARRIERS) == 2


async def test_the_callers_of_two_forms_have_two_names_and_two_idempotency_keys(world: World) -> None:
    await world.publish(api("a/all", ALL))
    calls: dict[str, dict[str, str]] = {
        "ada": {"token": "t0ken"},
        "user:ada": sent_as("ada"),
        "eve": sent_as("eve"),
        "github": sent_as("github"),
        f"jwt:{ISSUER}#ada": bearer(),
        "signature:github": github(BODY, SECRET),
    }
    found: dict[str, str] = {}
    for _ in range(2):
        for caller, headers in calls.items():
            sent = {**headers, "idempotency-key": "one", "content-type": "application/json"}
            reply = await world.ask("/v1/api/a/all/async", "POST", sent, BODY)
            assert reply.status == 202, reply.body
            assert found.setdefault(caller, reply.uid) == reply.uid
            run = await world.store.runs.show(reply.uid)
            assert run is not None
            assert run.caller == caller
    assert len(set(found.values())) == len(calls)


@pytest.mark.parametrize(
    ("auth", "headers", "caller"),
    [
        (JWT, bearer, "ada"),
        (AnyAuth(any=(NoAuth(), JWT)), bearer, "ada"),
        (USERS, lambda: sent_as("ada"), "ada"),
        (AnyAuth(any=(USERS, TOKENS)), lambda: sent_as("ada"), "user:ada"),
        (AnyAuth(any=(USERS, TOKENS)), lambda: {"token": "t0ken"}, "ada"),
        (AnyAuth(any=(JWT, USERS)), lambda: sent_as("ada"), "ada"),
        (AnyAuth(any=(JWT, USERS)), bearer, f"jwt:{ISSUER}#ada"),
    ],
)
async def test_a_caller_has_its_plain_name_as_long_as_no_other_form_can_have_it(
    auth: StoredAuth, headers: Any, caller: str
) -> None:
    given_ = [(name.encode(), value.encode()) for name, value in headers().items()]
    assert await Authenticator(auth).authenticate(request(*given_)) == caller


async def test_a_name_does_not_depend_on_the_secrets_of_a_machine() -> None:
    elsewhere = TokenAuth(tokens={"ada": (EnvSecret(name="NOT_SET"),)})
    sent = request(*((name.encode(), value.encode()) for name, value in sent_as("ada").items()))
    assert await Authenticator(AnyAuth(any=(elsewhere, USERS))).authenticate(sent) == "user:ada"


_NAME = st.text(st.sampled_from("a#%:2"), min_size=1, max_size=6)


@given(st.tuples(_NAME, _NAME), st.tuples(_NAME, _NAME))
def test_no_issuer_can_name_the_caller_of_another_one(one: tuple[str, str], two: tuple[str, str]) -> None:
    forms: list[JwtAuth[StoredSecret]] = [JwtAuth(issuer=issuer) for issuer, _ in (one, two)]
    names = CallerNames(AnyAuth(any=tuple(forms)))
    found = [names.jwt_prefix(form) + name for form, (_, name) in zip(forms, (one, two), strict=True)]
    assert (found[0] == found[1]) == (one == two)


def test_issuers_without_a_name_are_told_apart_by_their_keys() -> None:
    forms: tuple[JwtAuth[StoredSecret], ...] = (
        JwtAuth(jwks="https://one.test/keys"),
        JwtAuth(key=(FileSecret(path="two.pem"), FileSecret(path="old.pem"))),
        JwtAuth(secret=(EnvSecret(name="THREE"),)),
    )
    names = CallerNames(AnyAuth(any=forms))
    assert [names.jwt_prefix(form) for form in forms] == [
        "jwt:https://one.test/keys#",
        "jwt:file two.pem#",
        "jwt:env THREE#",
    ]
