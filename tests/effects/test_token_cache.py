"""Access tokens: cache lifetime, shared requests, and redaction."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from iogate.effects import Effects
from iogate.effects.authentication import policies
from iogate.effects.authentication.token_cache import TokenCache
from iogate.effects.http.failures import CallFailed
from iogate.effects.http.transport import Transport
from iogate.engine.commands import Authentication, Performed
from iogate.settings import Settings
from tests.effects.conftest import Site, do, failure, get, until

CLIENT = {"id": "me", "secret": "swordfish"}


@dataclass
class Time:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Issuer:
    """A token endpoint that issues `t1`, `t2`, … in turn."""

    site: Site
    response: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    requests: list[dict[str, list[str]]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()
        self.site.handlers["/oauth2/token"] = self.give

    async def give(self, request: web.Request) -> web.Response:
        self.requests.append(parse_qs(await request.text()))
        await self.gate.wait()
        token = {"access_token": f"t{len(self.requests)}", **self.response}
        return web.json_response(token, status=self.status)

    def policy(self, **more: Any) -> policies.OAuth:
        members = {"authority": self.site.url, "grant": "client_credentials", "client": CLIENT, **more}
        read = policies.parse_policy(Authentication(scheme="oauth2", parameters=members))
        assert isinstance(read, policies.OAuth)
        return read

    def authentication(self, **more: Any) -> Authentication:
        members = {"authority": self.site.url, "grant": "client_credentials", "client": CLIENT, **more}
        return Authentication(scheme="oauth2", parameters=members)


@pytest.fixture
async def issuer(site: Site) -> Issuer:
    return Issuer(site)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def tokens(time: Time) -> AsyncIterator[TokenCache]:
    transport = Transport()
    yield TokenCache(transport, clock=time)
    await transport.close()


async def values(tokens: TokenCache, policy: policies.OAuth) -> str:
    return (await tokens.get(policy))[0].value


@pytest.mark.parametrize(
    ("life", "kept_s"), [(3600, 3570), ("3600", 3570), (100, 90), (0, 0), (None, 270), (True, 270)]
)
async def test_a_token_is_renewed_shortly_before_it_expires(
    issuer: Issuer, tokens: TokenCache, time: Time, life: Any, kept_s: int
) -> None:
    issuer.response = {} if life is None else {"expires_in": life}
    assert await values(tokens, issuer.policy()) == "t1"
    time.now += kept_s - 1
    if kept_s:
        assert await values(tokens, issuer.policy()) == "t1"
    time.now += 1
    assert await values(tokens, issuer.policy()) == "t2"


async def test_different_policies_have_different_tokens(issuer: Issuer, tokens: TokenCache) -> None:
    assert await values(tokens, issuer.policy(scopes=["a"])) == "t1"
    assert await values(tokens, issuer.policy(scopes=["b"])) == "t2"
    assert await values(tokens, issuer.policy(scopes=["a"])) == "t1"


async def test_concurrent_callers_share_one_token_request(issuer: Issuer, tokens: TokenCache) -> None:
    issuer.gate.clear()
    waiting = [asyncio.create_task(tokens.get(issuer.policy())) for _ in range(20)]
    await until(lambda: issuer.requests)
    issuer.gate.set()
    got = await asyncio.gather(*waiting)
    assert {(token.value, kept) for token, kept in got} == {("t1", False)}
    assert len(issuer.requests) == 1


async def test_a_cancelled_caller_keeps_the_request_of_others(issuer: Issuer, tokens: TokenCache) -> None:
    issuer.gate.clear()
    first, second = (asyncio.create_task(tokens.get(issuer.policy())) for _ in range(2))
    await until(lambda: issuer.requests)
    first.cancel()
    await asyncio.wait([first])
    issuer.gate.set()
    assert (await second)[0].value == "t1"
    assert len(issuer.requests) == 1


async def test_the_request_is_cancelled_with_its_last_caller(issuer: Issuer, tokens: TokenCache) -> None:
    issuer.gate.clear()
    task = asyncio.create_task(tokens.get(issuer.policy()))
    await until(lambda: issuer.requests)
    task.cancel()
    await asyncio.wait([task])
    await until(lambda: issuer.site.left == 1)
    issuer.gate.set()
    assert await values(tokens, issuer.policy()) == "t2"


async def test_a_failure_is_not_cached(issuer: Issuer, tokens: TokenCache) -> None:
    issuer.status = 500
    with pytest.raises(CallFailed):
        await tokens.get(issuer.policy())
    issuer.status = 200
    assert await values(tokens, issuer.policy()) == "t2"


async def test_a_discarded_token_is_not_reused_and_its_successor_is_kept(
    issuer: Issuer, tokens: TokenCache
) -> None:
    policy = issuer.policy()
    old, _ = await tokens.get(policy)
    tokens.discard(policy, old)
    new, kept = await tokens.get(policy)
    assert (new.value, kept) == ("t2", False)
    tokens.discard(policy, old)  # another call that was under way with the old one
    assert (await tokens.get(policy))[1]


async def test_a_discarded_token_keeps_its_refresh_token(issuer: Issuer, tokens: TokenCache) -> None:
    issuer.response = {"refresh_token": "r1"}
    policy = issuer.policy()
    token, _ = await tokens.get(policy)
    tokens.discard(policy, token)
    await tokens.get(policy)
    assert issuer.requests[1] == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["r1"],
        "client_id": ["me"],
        "client_secret": ["swordfish"],
    }


async def test_a_client_can_sign_with_its_secret(issuer: Issuer, tokens: TokenCache) -> None:
    client = {**CLIENT, "authentication": "client_secret_jwt"}
    await tokens.get(issuer.policy(client=client))
    (requests,) = issuer.requests
    assert requests["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
    assert "client_secret" not in requests
    head, claims, signature = requests["client_assertion"][0].split(".")
    expected = hmac.new(b"swordfish", f"{head}.{claims}".encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(signature + "=") == expected
    assert json.loads(base64.urlsafe_b64decode(head + "===")) == {"alg": "HS256", "typ": "JWT"}
    assertion = json.loads(base64.urlsafe_b64decode(claims + "==="))
    assert (assertion["iss"], assertion["sub"], assertion["aud"]) == (
        "me",
        "me",
        issuer.site.url + "/oauth2/token",
    )
    assert assertion["exp"] - assertion["iat"] == 60
    assert len(assertion["jti"]) >= 16


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (
            {"grant": "authorization_code"},
            'the grant of oauth2 is "authorization_code", which needs a person',
        ),
        ({"grant": "magic"}, 'oauth2 authentication needs "grant" to be one of client_credentials, password'),
        ({"authority": None}, 'oauth2 authentication needs "authority", as text'),
        ({"grant": "password"}, 'oauth2 authentication needs "username", as text'),
        ({"grant": "refresh_token"}, 'oauth2 with the grant "refresh_token" needs "subject"'),
        ({"client": 5}, 'oauth2 authentication needs "client" to be an object'),
        ({"client": {"secret": "swordfish"}}, '"oauth2.client" needs "id" beside "secret"'),
        ({"client": {"id": "me", "authentication": "magic"}}, '"oauth2.client" needs "authentication" to be'),
        ({"client": {"authentication": "private_key_jwt"}}, '"private_key_jwt" needs "id"'),
        ({"client": {"id": "a", "authentication": "private_key_jwt"}}, 'needs "assertion", a signed JWT'),
        ({"client": {"id": "a", "authentication": "client_secret_basic"}}, 'needs "secret"'),
        ({"scopes": "a b"}, '"scopes" to be a list of texts without spaces'),
        ({"audiences": ["a", 5]}, '"audiences" to be a list of texts without spaces'),
        ({"request": {"encoding": "xml"}}, '"oauth2.request" needs "encoding" to be one of application/'),
        ({"subject": {"token": "swordfish"}}, '"oauth2.subject" needs "type", as text'),
        (
            {"authority": "ftp://swordfish"},
            'the "authority" of oauth2 is not an absolute http:// or https:// URL',
        ),
    ],
)
async def test_an_incomplete_policy_names_the_missing_member(
    issuer: Issuer, effects: Effects, members: dict[str, Any], expected: str
) -> None:
    performed = await do(effects, get(issuer.site.url, authentication=issuer.authentication(**members)))
    kind, status, detail = failure(performed)
    assert (kind, status) == ("configuration", 400)
    assert expected in detail
    assert "swordfish" not in detail
    assert issuer.site.seen == []


def shown(performed: Performed) -> str:
    assert performed.error is not None
    return json.dumps(performed.error.to_json())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
async def test_no_error_contains_a_response_of_an_authorization_server(
    issuer: Issuer, effects: Effects, status: int
) -> None:
    issuer.status = status
    issuer.response = {"error": "swordfish is wrong", "error_description": "swordfish"}
    performed = await do(effects, get(issuer.site.url, authentication=issuer.authentication()))
    assert "swordfish" not in shown(performed)
    assert not performed.definite


async def test_no_representation_contains_a_token(issuer: Issuer, tokens: TokenCache) -> None:
    issuer.response = {"access_token": "swordfish", "refresh_token": "swordfish"}
    token, _ = await tokens.get(issuer.policy(password="swordfish"))
    assert "swordfish" not in repr(token)
    assert "swordfish" not in repr(issuer.policy(password="swordfish"))


async def test_a_token_request_times_out(
    issuer: Issuer, tokens: TokenCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iogate.effects.authentication.token_cache.TIMEOUT_S", 0.05)
    issuer.gate.clear()
    with pytest.raises(
        CallFailed,
        match=r"the token endpoint http://127.0.0.1:\d+ did not answer in time|gave no token within",
    ):
        await tokens.get(issuer.policy())


async def test_an_authority_cannot_be_the_store(issuer: Issuer) -> None:
    async with Effects(settings=Settings(redis_url=f"redis://127.0.0.1:{issuer.site.port}")) as effects:
        call = get("http://api.example", authentication=issuer.authentication())
        kind, _, detail = failure(await do(effects, call))
    assert kind == "authorization"
    assert "is the store; no call may reach it" in detail


async def test_the_setting_endpoints_applies_to_token_requests(issuer: Issuer) -> None:
    settings = Settings(endpoints={"https://login.example": issuer.site.url})
    async with Effects(settings=settings) as effects:
        authentication = issuer.authentication(authority="https://login.example")
        performed = await do(effects, get(issuer.site.url + "/x", authentication=authentication))
    assert performed.error is None
    assert performed.authorization == {"scheme": "Bearer", "parameter": "t1"}
    assert [seen.path for seen in issuer.site.seen] == ["/oauth2/token", "/x"]


async def test_a_token_is_not_sent_to_another_origin(issuer: Issuer) -> None:
    elsewhere = issuer.site.url.replace("127.0.0.1", "localhost")
    url = issuer.site.redirect("/old", elsewhere + "/new")
    async with Effects(settings=Settings(allow_hosts=("localhost",))) as effects:
        await do(effects, get(url, redirect=True, authentication=issuer.authentication()))
    assert issuer.site.seen[-1].path == "/new"
    assert "Authorization" not in issuer.site.seen[-1].headers
    assert issuer.site.seen[-2].headers["Authorization"] == "Bearer t1"


async def test_a_token_is_sent_after_a_redirect_within_the_origin(issuer: Issuer, effects: Effects) -> None:
    url = issuer.site.redirect("/old", "/new", status=307)
    await do(effects, get(url, redirect=True, authentication=issuer.authentication()))
    assert issuer.site.seen[-1].headers["Authorization"] == "Bearer t1"
