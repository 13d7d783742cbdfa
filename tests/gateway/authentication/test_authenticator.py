"""Credentials: accepted, missing, wrong and contradictory ones."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from iogate.auth.model import (
    AnyAuth,
    EnvSecret,
    FileSecret,
    HashedSecret,
    NoAuth,
    StoredAuth,
    TokenAuth,
    UserAuth,
)
from iogate.gateway.authentication.authenticator import Authenticator
from iogate.gateway.authentication.forms.form import InvalidCredentials, MissingCredentials
from iogate.gateway.http.responses import HTTPError
from iogate.security import secrets
from iogate.security.failure_limit import FAILURES
from tests.gateway.driver import USER, World, api, request

TOKEN = HashedSecret(value=secrets.hash_token("123456"))
ARGON = HashedSecret(value=secrets.hash_password("123456", salt=b"0123456789abcdef"))
TOKENS = TokenAuth(tokens={"token": (TOKEN,)})
USERS = UserAuth(users={"iolinker": (ARGON,), "other": (HashedSecret(value=secrets.hash_token("abc")),)})
EITHER = AnyAuth(any=(TOKENS, USERS))


def basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


async def authenticate(how: StoredAuth, *headers: tuple[bytes, bytes]) -> str:
    return await Authenticator(how).authenticate(request(*headers))


@pytest.mark.parametrize(
    ("how", "headers", "caller"),
    [
        (NoAuth(), [], ""),
        (NoAuth(), [(b"token", b"x"), (b"token", b"y")], ""),
        (TOKENS, [(b"token", b"123456")], "token"),
        (TOKENS, [(b"authorization", b"Bearer 123456")], "token"),
        (TOKENS, [(b"authorization", b"bEARER   123456")], "token"),
        (TOKENS, [(b"token", b"123456"), (b"authorization", b"Bearer 123456")], "token"),
        (TOKENS, [(b"token", b"123456"), (b"authorization", b"Basic eA==")], "token"),
        (TOKENS, [(b"token", b"123456"), (b"user", b"a"), (b"password", b"b")], "token"),
        (USERS, [(b"user", b"iolinker"), (b"password", b"123456")], "iolinker"),
        (USERS, [(b"authorization", basic("iolinker:123456"))], "iolinker"),
        (USERS, [(b"user", b"other"), (b"password", b"abc")], "other"),
        (EITHER, [(b"token", b"123456")], "token"),
        (EITHER, [(b"user", b"other"), (b"password", b"abc")], "other"),
        (AnyAuth(any=(NoAuth(), TOKENS)), [], ""),
        (AnyAuth(any=(NoAuth(), TOKENS)), [(b"token", b"123456")], "token"),
        (AnyAuth(any=(NoAuth(), TOKENS)), [(b"token", b"nope")], ""),
        (
            TokenAuth(tokens={"a": (TOKEN,), "b": (HashedSecret(value=secrets.hash_token("b")),)}),
            [(b"token", b"b")],
            "b",
        ),
    ],
)
async def test_right_credentials_name_their_caller(
    how: StoredAuth, headers: list[tuple[bytes, bytes]], caller: str
) -> None:
    assert await authenticate(how, *headers) == caller


@pytest.mark.parametrize(
    ("how", "headers", "message"),
    [
        (TOKENS, [], "Token is required"),
        (TOKENS, [(b"token", b"")], "Token is required"),
        (TOKENS, [(b"authorization", b"Bearer ")], "Token is required"),
        (TOKENS, [(b"authorization", b"123456")], "Token is required"),
        (TOKENS, [(b"authorization", basic("token:123456"))], "Token is required"),
        (TOKENS, [(b"cookie", b"token=123456")], "Token is required"),
        (USERS, [], "User/Password is required"),
        (USERS, [(b"user", b"iolinker")], "User/Password is required"),
        (USERS, [(b"password", b"123456")], "User/Password is required"),
        (USERS, [(b"user", b"iolinker"), (b"password", b"")], "User/Password is required"),
        (USERS, [(b"authorization", b"Bearer 123456")], "User/Password is required"),
        (EITHER, [], "Token or User/Password is required"),
    ],
)
async def test_missing_credentials_are_a_401_with_a_challenge(
    how: StoredAuth, headers: list[tuple[bytes, bytes]], message: str
) -> None:
    with pytest.raises(MissingCredentials) as caught:
        await authenticate(how, *headers)
    response = caught.value.response
    assert (response.status, response.code, response.message) == (401, "requestError.invalidParams", message)
    assert any(name == b"www-authenticate" for name, _ in response.headers)


@pytest.mark.parametrize(
    ("how", "headers", "message"),
    [
        (TOKENS, [(b"token", b"1234567")], "Token is invalid"),
        (TOKENS, [(b"token", TOKEN.value.encode())], "Token is invalid"),
        (TOKENS, [(b"token", b"123456 ")], "Token is invalid"),
        (TOKENS, [(b"token", b"\xff\xfe")], "Token is invalid"),
        (USERS, [(b"user", b"iolinker"), (b"password", b"1")], "User/Password is invalid"),
        (USERS, [(b"user", b"nobody"), (b"password", b"123456")], "User/Password is invalid"),
        (USERS, [(b"user", b"Iolinker"), (b"password", b"123456")], "User/Password is invalid"),
        (USERS, [(b"user", b"other"), (b"password", b"123456")], "User/Password is invalid"),
        (USERS, [(b"user", b"iolinker"), (b"password", ARGON.value.encode())], "User/Password is invalid"),
        (USERS, [(b"authorization", b"Basic !!!")], "User/Password is invalid"),
        (USERS, [(b"authorization", b"Basic eA==")], "User/Password is invalid"),
        (EITHER, [(b"token", b"x")], "Token is invalid"),
    ],
)
async def test_wrong_credentials_are_a_401(
    how: StoredAuth, headers: list[tuple[bytes, bytes]], message: str
) -> None:
    with pytest.raises(InvalidCredentials) as caught:
        await authenticate(how, *headers)
    response = caught.value.response
    assert (response.status, response.code, response.message) == (401, "requestError.unauthorized", message)


@pytest.mark.parametrize(
    ("how", "headers", "message"),
    [
        (TOKENS, [(b"token", b"123456"), (b"token", b"123456")], "The header token is given more than once"),
        (
            TOKENS,
            [(b"authorization", b"Bearer 123456"), (b"authorization", b"Bearer x")],
            "The header authorization is given more than once",
        ),
        (
            TOKENS,
            [(b"token", b"123456"), (b"authorization", b"Bearer x")],
            "The headers token and Authorization name different tokens",
        ),
        (
            USERS,
            [(b"user", b"iolinker"), (b"password", b"123456"), (b"authorization", basic("other:abc"))],
            "The headers user and password contradict Authorization",
        ),
        (
            EITHER,
            [(b"token", b"123456"), (b"user", b"other"), (b"password", b"abc")],
            "Credentials are given as a token and as user and password; send one of them",
        ),
    ],
)
async def test_credentials_that_contradict_are_an_error(
    how: StoredAuth, headers: list[tuple[bytes, bytes]], message: str
) -> None:
    with pytest.raises(HTTPError) as caught:
        await authenticate(how, *headers)
    assert (caught.value.response.status, caught.value.response.message) == (400, message)


async def test_an_unset_secret_closes_its_api_to_its_own_caller_without_naming_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ORDERS_TOKEN", raising=False)
    authenticator = Authenticator(TokenAuth(tokens={"a": (TOKEN,), "b": (EnvSecret(name="ORDERS_TOKEN"),)}))
    assert await authenticator.authenticate(request((b"token", b"123456"))) == "a"
    for headers in ([(b"token", b"of b, perhaps")], []):
        with pytest.raises(HTTPError) as caught:
            await authenticator.authenticate(request(*headers))
        assert caught.value.response.status == 503
        assert b"ORDERS" not in caught.value.response.content
    assert authenticator.unset == ("environment variable ORDERS_TOKEN is not set",)
    alone = Authenticator(TokenAuth(tokens={"b": (EnvSecret(name="ORDERS_TOKEN"),)}))
    either = Authenticator(
        AnyAuth(any=(NoAuth(), TokenAuth(tokens={"b": (EnvSecret(name="ORDERS_TOKEN"),)})))
    )
    for authenticator in (alone, either):
        with pytest.raises(HTTPError) as caught:
            await authenticator.authenticate(request())
        assert caught.value.response.status == 503


async def test_only_the_form_none_opens_an_api_to_all() -> None:
    """An authentication without any secret is not open, whatever its form."""
    with pytest.raises(HTTPError) as refused:
        await Authenticator(TokenAuth(tokens={})).authenticate(request())
    assert refused.value.response.status == 503
    assert await Authenticator(NoAuth()).authenticate(request()) == ""


async def test_one_usable_secret_of_a_caller_is_enough(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("s3cret\n")
    authenticator = Authenticator(
        TokenAuth(tokens={"token": (FileSecret(path="old"), FileSecret(path="new"))}), root=tmp_path
    )
    assert await authenticator.authenticate(request((b"token", b"s3cret"))) == "token"
    with pytest.raises(InvalidCredentials):
        await authenticator.authenticate(request((b"token", b"wrong")))
    assert (authenticator.unset, authenticator.spare) == ((), ("secret file new does not exist",))


async def test_secrets_come_from_the_environment_and_from_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ORDERS_TOKEN", "from env")
    (tmp_path / "token").write_text("from file\n")
    how: StoredAuth = TokenAuth(tokens={"a": (EnvSecret(name="ORDERS_TOKEN"), FileSecret(path="token"))})
    authenticator = Authenticator(how, root=tmp_path)
    for token in (b"from env", b"from file"):
        assert await authenticator.authenticate(request((b"token", token))) == "a"


def test_headers_with_credentials_never_reach_a_run() -> None:
    assert Authenticator(NoAuth()).stripped == {b"authorization", b"proxy-authorization", b"cookie"}
    assert b"token" in Authenticator(TOKENS).stripped
    assert {b"user", b"password"} <= Authenticator(USERS).stripped


async def test_a_burst_of_a_right_password_is_accepted(world: World) -> None:
    await world.publish(api("u/u", USER))
    burst = (world.call("u/u", user="iolinker", password="123456") for _ in range(3 * FAILURES))
    assert [reply.status for reply in await asyncio.gather(*burst)] == [202] * 3 * FAILURES


async def test_passwords_from_the_environment_cannot_be_guessed_without_limit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANN_PASSWORD", "secret")
    await world.publish(api("u/u", UserAuth(users={"ann": (EnvSecret(name="ANN_PASSWORD"),)})))
    replies = [await world.call("u/u", user="ann", password=f"guess {n}") for n in range(FAILURES + 1)]
    assert [reply.status for reply in replies] == [401] * FAILURES + [429]
    assert (await world.call("u/u", user="ann", password="secret")).status == 429
    world.client = ("192.0.2.9", 50_000)
    assert (await world.call("u/u", user="ann", password="secret")).status == 202


async def test_300_wrong_logins_get_429s_and_delay_no_right_one(world: World) -> None:
    await world.publish(api("u/u", USER))
    wrong = {"user": "iolinker", "password": "wrong"}
    floods = [asyncio.create_task(world.call("u/u", **wrong)) for _ in range(300)]
    await asyncio.sleep(0)
    replies = await asyncio.gather(*floods)
    assert {reply.status for reply in replies} == {401, 429}
    assert sum(reply.status == 401 for reply in replies) <= 2 * FAILURES
    refused = next(reply for reply in replies if reply.status == 429)
    assert (refused.code, refused.headers["retry-after"]) == ("requestError.tooManyRequests", "1")
    assert refused.message == "Too many wrong credentials; retry in 1 s"
    world.client = ("192.0.2.9", 50_000)
    assert (await world.call("u/u", user="iolinker", password="123456")).status == 202
