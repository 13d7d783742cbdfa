"""Digest authentication: the examples of the standard, and challenges as servers write them."""

from __future__ import annotations

import asyncio
import re

import pytest
from aiohttp import web

from iogate.effects import Effects
from iogate.effects.authentication.digest import Session, is_stale, open_session, parse_challenges
from iogate.effects.authentication.policies import Digest
from iogate.engine.commands import Authentication
from tests.effects.conftest import Site, do, get

MUFASA = Digest(username="Mufasa", password="Circle of Life")


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_example_of_rfc_7616_is_reproduced(algorithm: str, response: str) -> None:
    made = Session(
        policy=MUFASA,
        realm="http-auth@example.org",
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
        algorithm=algorithm,
        qop=True,
        userhash=False,
        cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    assert made.authorize("GET", "/dir/index.html") == (
        'Digest username="Mufasa", realm="http-auth@example.org", '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", uri="/dir/index.html", '
        f'response="{response}", algorithm={algorithm}, '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", '
        'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, nc=00000001'
    )
    assert "nc=00000002" in made.authorize("GET", "/dir/index.html")


@pytest.mark.parametrize(
    ("headers", "read"),
    [
        (['Basic realm="a"'], [("basic", {"realm": "a"})]),
        (["Negotiate"], [("negotiate", {})]),
        (["Negotiate abc=="], [("negotiate", {})]),
        (
            ['Negotiate, Digest realm="a, b",nonce=n , Basic realm="\\"x\\""'],
            [
                ("negotiate", {}),
                ("digest", {"realm": "a, b", "nonce": "n"}),
                ("basic", {"realm": '"x"'}),
            ],
        ),
        (["Bearer", 'digest NONCE="n"'], [("bearer", {}), ("digest", {"nonce": "n"})]),
        (['realm="no scheme"', "", ",,"], []),
        (['Digest realm="broken'], [("digest", {})]),
    ],
)
def test_joined_challenges_are_parsed(headers: list[str], read: list[tuple[str, dict[str, str]]]) -> None:
    found = [(each.scheme, each.parameters) for each in parse_challenges(headers)]
    if "broken" in str(headers):
        assert found[0][0] == "digest"
        assert open_session(MUFASA, parse_challenges(headers)) is None
    else:
        assert found == read


@pytest.mark.parametrize(
    ("header", "algorithm"),
    [
        ('Digest realm="r", nonce="n"', ""),
        ('Digest realm="r", nonce="n", algorithm=SHA-256-sess, qop="auth-int, auth"', "SHA-256-sess"),
        (
            'Digest realm="r", nonce="n", algorithm=SHA-512-256, Digest realm="r", nonce="n", algorithm=MD5',
            "MD5",
        ),
        (
            'Digest realm="r", nonce="n", algorithm=SHA-256, Digest realm="r", nonce="n", algorithm=MD5',
            "SHA-256",
        ),
    ],
)
def test_the_first_supported_challenge_is_used(header: str, algorithm: str) -> None:
    made = open_session(MUFASA, parse_challenges([header]))
    assert made is not None
    assert made.algorithm == algorithm


@pytest.mark.parametrize(
    "header",
    [
        'Digest realm="r"',
        'Digest nonce="n"',
        'Digest realm="r", nonce="n", qop="auth-int"',
        'Digest realm="r", nonce="n", algorithm=SHA3',
        'Basic realm="r", nonce="n"',
    ],
)
def test_an_unsupported_challenge_is_ignored(header: str) -> None:
    assert open_session(MUFASA, parse_challenges([header])) is None


def test_only_a_stale_nonce_is_retried() -> None:
    assert is_stale(parse_challenges(['Digest realm="r", nonce="n", stale=TRUE']))
    assert not is_stale(parse_challenges(['Digest realm="r", nonce="n", stale=false', 'Basic stale="true"']))


def test_user_names_are_encoded_as_in_the_standard() -> None:
    def username(policy: Digest, more: str = "") -> str:
        made = open_session(policy, parse_challenges(['Digest realm="r", nonce="n", qop="auth"' + more]))
        assert made is not None
        found = re.search(r"username\*?=[^,]+", made.authorize("GET", "/"))
        assert found is not None
        return found[0]

    assert username(Digest(username='a "b" \\', password="p")) == r'username="a \"b\" \\"'
    assert username(Digest(username="Jäsøn Doe", password="p")) == "username*=UTF-8''J%C3%A4s%C3%B8n%20Doe"
    hidden = username(Digest(username="ada", password="p"), ", userhash=true, algorithm=SHA-256")
    assert re.fullmatch(r'username="[0-9a-f]{64}"', hidden)


def test_no_representation_contains_a_password() -> None:
    made = open_session(MUFASA, parse_challenges(['Digest realm="r", nonce="n"']))
    assert "Circle" not in repr(made)


class StrictServer:
    """A server that requires each use of a nonce exactly once, and in order."""

    def __init__(self) -> None:
        self.issued = 0
        self.used: dict[str, int] = {}
        self.requests = 0

    async def respond(self, request: web.Request) -> web.Response:
        self.requests += 1
        given = request.headers.get("Authorization", "")
        nonce, count = re.search(r'nonce="(\w+)"', given), re.search(r"nc=(\w+)", given)
        if nonce and count and int(count[1], 16) == self.used[nonce[1]] + 1:
            self.used[nonce[1]] += 1
            await asyncio.sleep(0.001 * (self.requests % 5))
            return web.json_response(True)
        self.issued += 1
        self.used[f"n{self.issued}"] = 0
        asks = f'Digest realm="r", nonce="n{self.issued}", qop="auth"' + (", stale=true" if given else "")
        return web.Response(status=401, headers={"WWW-Authenticate": asks})


async def test_concurrent_calls_do_not_share_a_nonce(site: Site, effects: Effects) -> None:
    strict = StrictServer()
    site.handlers["/a"] = strict.respond
    authentication = Authentication(scheme="digest", parameters={"username": "ada", "password": "p"})
    for _ in range(3):
        calls = (do(effects, get(site.url + "/a", authentication=authentication)) for _ in range(20))
        assert [performed.error for performed in await asyncio.gather(*calls)] == [None] * 20
    assert strict.issued <= 20
    assert strict.requests == 60 + strict.issued
