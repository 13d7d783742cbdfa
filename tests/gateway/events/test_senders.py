"""Event senders: refused by default, authenticated like callers; events are stored before the response."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from iogate.auth.model import (
    AnyAuth,
    EnvSecret,
    FileSecret,
    HashedSecret,
    NoAuth,
    SignatureAuth,
    StoredAuth,
    TokenAuth,
    UserAuth,
)
from iogate.security import secrets
from iogate.settings.events import senders
from iogate.store import keys
from iogate.store.store import Store
from tests.gateway.authentication.tokens import ISSUER, jwk, key_set, private_key, token
from tests.gateway.driver import TOKEN, USER, World, api, listening, spawn, until
from tests.gateway.sending import EVENT, STRUCTURED, open_to, send, stored
from tests.gateway.webhooks import WHSEC, standard
from tests.http_server import HttpServer


@pytest.fixture(autouse=True)
async def listener(world: World) -> None:
    """Somebody wants every event: the store keeps none that nobody can want."""
    await world.store.call("HSET", keys.WANTS, "1:1", b"[]")


@pytest.fixture
def opened(world: World) -> World:
    return open_to(world, NoAuth())


async def test_the_path_is_closed_until_a_setting_opens_it(world: World) -> None:
    reply = await send(world, EVENT)
    assert (reply.status, reply.code) == (403, "requestError.notEnabled")
    assert reply.message == (
        "Events are not accepted: the setting events: {auth: …} of the gateway opens this path"
    )
    assert await stored(world.store) == []


@pytest.mark.parametrize(
    ("auth", "absent", "wrong", "right"),
    [
        (TOKEN, "Token is required", {"token": "x"}, {"token": "123456"}),
        (TOKEN, "Token is required", {"token": "x"}, {"authorization": "Bearer 123456"}),
        (
            USER,
            "User/Password is required",
            {"user": "iolinker", "password": "x"},
            {"user": "iolinker", "password": "123456"},
        ),
        (
            AnyAuth(any=(TOKEN, USER)),
            "Token or User/Password is required",
            {"token": "x"},
            {"user": "iolinker", "password": "123456"},
        ),
    ],
)
async def test_senders_are_authenticated_like_callers(
    world: World, auth: StoredAuth, absent: str, wrong: dict[str, str], right: dict[str, str]
) -> None:
    open_to(world, auth)
    reply = await send(world, EVENT)
    assert (reply.status, reply.code, reply.message) == (401, "requestError.invalidParams", absent)
    assert "www-authenticate" in reply.headers
    reply = await send(world, EVENT, (STRUCTURED | wrong))
    assert (reply.status, reply.code) == (401, "requestError.unauthorized")
    assert reply.message.endswith(" is invalid")
    assert await stored(world.store) == []
    assert (await send(world, EVENT, (STRUCTURED | right))).status == 202


SIGNED = SignatureAuth(
    scheme="standard-webhooks", secrets=(EnvSecret(name="WHSEC"),), caller="warehouse", tolerance_s=300.0
)


async def test_senders_may_sign(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHSEC", WHSEC)
    open_to(world, AnyAuth(any=(SIGNED, TOKEN)))
    body = json.dumps(EVENT).encode()
    signed = standard(body) | STRUCTURED
    wrong = await send(world, headers=signed, body=body + b" ")
    assert (wrong.status, wrong.message) == (401, "Signature is invalid")
    expired = await send(world, headers=standard(body, at=1_614_265_330) | STRUCTURED, body=body)
    assert (expired.status, "expired" in expired.message) == (401, True)
    absent = await send(world, EVENT)
    assert (absent.status, absent.message) == (401, "Token or Signature is required")
    assert await stored(world.store) == []
    for expected in (1, 0):
        reply = await send(world, headers=signed, body=body)
        assert (reply.status, reply.json) == (202, {"events": expected}), "a repetition delivers nothing"
    # The name of a token may equal that of a signature: they are different senders.
    assert (await send(world, EVENT, STRUCTURED | {"token": "123456"})).json == {"events": 1}
    large = b" " * (1024 * 1024 + 1)
    assert (await send(world, headers=standard(large) | STRUCTURED, body=large)).status == 413
    malformed = await send(world, headers=standard(b"{") | STRUCTURED, body=b"{")
    assert (malformed.status, malformed.code) == (400, "requestError.invalidParams")
    assert world.live.bodies.held == 0
    await world.publish(api("a/b"))
    found = (await world.ask("/openapi.json")).body
    described = json.loads(found)
    assert {"signature-standard-webhooks": []} in described["paths"]["/v1/events"]["post"]["security"]
    assert "signature-standard-webhooks" in described["components"]["securitySchemes"]
    named = [each["name"] for each in described["paths"]["/v1/events"]["post"]["parameters"]]
    assert named == ["webhook-timestamp", "webhook-id"]


async def test_a_signature_by_a_secret_that_is_missing_here_is_a_503(world: World) -> None:
    open_to(world, SIGNED)
    body = json.dumps(EVENT).encode()
    reply = await send(world, headers=standard(body) | STRUCTURED, body=body)
    assert (reply.status, reply.code) == (503, "serverError.unavailable")
    assert world.live.bodies.held == 0


async def test_credentials_come_before_the_content(world: World) -> None:
    open_to(world, TOKEN)
    assert (await send(world, body=b"{")).status == 401
    assert (await send(world, method="PUT")).status == 405


async def test_events_of_one_sender_never_suppress_those_of_another(world: World) -> None:
    """Source and id are known per credential; a token and a user of one name are two credentials."""
    hashed = (HashedSecret(value=secrets.hash_token("first")),)
    other = (HashedSecret(value=secrets.hash_token("second")),)
    ada = UserAuth(users={"ada": (HashedSecret(value=secrets.hash_password("third")),)})
    tokens = TokenAuth(tokens={"ada": hashed, "bob": other})
    open_to(world, AnyAuth(any=(tokens, ada, NoAuth())))
    own = json.dumps(EVENT).encode()
    assert await world.store.events.publish([own]) == 1
    for credentials in ({}, {"token": "first"}, {"token": "second"}, {"user": "ada", "password": "third"}):
        for new in (1, 0):
            reply = await send(world, EVENT, STRUCTURED | credentials)
            assert (reply.status, reply.json) == (202, {"events": new}), credentials
    assert await world.store.events.publish([own]) == 0
    assert await stored(world.store) == [EVENT] * 5


async def test_a_missing_secret_closes_the_path_and_a_rotated_one_is_read(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("iogate.gateway.events.event_intake.LOOK_S", 0.0)
    world.live.root = tmp_path
    open_to(world, TokenAuth(tokens={"token": (FileSecret(path="token"),)}))
    assert (await send(world, EVENT)).status == 503
    (tmp_path / "token").write_text("s3cret\n")
    assert (await send(world, EVENT, (STRUCTURED | {"token": "s3cret"}))).status == 202
    (tmp_path / "token").write_text("rotated\n")
    assert (await send(world, EVENT, (STRUCTURED | {"token": "s3cret"}))).status == 401
    assert (await send(world, EVENT, (STRUCTURED | {"token": "rotated"}))).status == 202


async def test_an_unreachable_store_never_leads_to_a_202(opened: World) -> None:
    opened.live.store = None
    reply = await send(opened, EVENT)
    assert (reply.status, reply.code) == (503, "serverError.unavailable")


async def test_the_document_and_the_metrics_know_events(world: World) -> None:
    await world.publish(api("orders/submit"))
    paths = json.loads((await world.ask("/openapi.json")).body)["paths"]
    assert "/v1/events" not in paths, "what is closed is not advertised"
    open_to(world, TOKEN)
    operation = json.loads((await world.ask("/openapi.json")).body)["paths"]["/v1/events"]["post"]
    assert operation["security"] == [{"token": []}, {"bearer": []}]
    assert set(operation["requestBody"]["content"]) >= {
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
    }
    right = STRUCTURED | {"token": "123456"}
    await send(world, EVENT, right)
    await send(world, EVENT, right)
    await send(world, EVENT)
    text = (await world.ask("/metrics")).body.decode()
    assert "iogate_events_accepted_total 1.0" in text
    assert "iogate_events_repeated_total 1.0" in text
    assert 'iogate_events_refused_total{code="requestError.invalidParams"} 1.0' in text


async def posted(client: httpx.AsyncClient, credentials: dict[str, str]) -> httpx.Response:
    """Send the event until the gateway has its store; return the response."""

    async def decided() -> httpx.Response | None:
        reply = await client.post("/v1/events", json=EVENT, headers=STRUCTURED | credentials)
        return reply if reply.status_code != 503 else None

    found: httpx.Response = await until(decided)
    return found


async def test_a_real_gateway_takes_events_by_its_settings(
    store: Store, redis_url: str, tmp_path: Path
) -> None:
    """Also while no revision is there: events are not of one."""
    setting = {"auth": {"any": [{"token": {"file": "token"}}, {"user": "bot", "password": "pass"}]}}
    (tmp_path / "token").write_text("s3cret\n")
    with listening() as on:
        gateway = spawn(redis_url, on, tmp_path, events=json.dumps(setting))
        try:
            async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:
                answers = [
                    await posted(client, credentials)
                    for credentials in (
                        {},
                        {"token": "s3cret"},
                        {"authorization": "Bearer s3cret"},
                        {"user": "bot", "password": "pass"},
                    )
                ]
                closed = await client.get("/v1/events/")
        finally:
            gateway.stop()
    assert [response.status_code for response in answers] == [401, 202, 202, 202]
    assert [response.json()["response"]["events"] for response in answers[1:]] == [1, 0, 1]
    assert closed.status_code == 404
    assert await stored(store) == [EVENT, EVENT]
    assert "pass" not in gateway.log.read_text()


def bearer(given: str) -> dict[str, str]:
    return {"authorization": f"Bearer {given}"}


class Issuer(HttpServer):
    """An issuer of JWTs with one key."""

    async def respond(self, path: str, headers: dict[str, str], body: bytes) -> bytes:  # noqa: ARG002
        found = key_set(jwk("p256", kid="a"))
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(found), found)


async def test_a_real_gateway_fetches_the_keys_of_the_issuer_of_jwts(
    store: Store, redis_url: str, tmp_path: Path
) -> None:
    good, forged = (token(key=private_key("p256", number), header={"kid": "a"}) for number in (0, 1))
    async with Issuer() as issuer:
        setting = {"auth": {"jwt": {"issuer": ISSUER, "jwks": f"{issuer.url}/keys"}}}
        with listening() as on:
            gateway = spawn(redis_url, on, tmp_path, events=json.dumps(setting))
            try:
                async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:
                    answers = [await posted(client, bearer(each)) for each in (good, forged, good)]
            finally:
                gateway.stop()
    assert [each.status_code for each in answers] == [202, 401, 202]
    log = gateway.log.read_text()
    assert f"1 key of {issuer.url}/keys loaded" in log
    assert good not in log


def test_a_literal_of_the_setting_is_kept_as_its_hash() -> None:
    compiled = senders({"auth": {"any": [{"token": "s3cret"}, {"users": {"bot": "pass"}}]}})
    assert isinstance(compiled, AnyAuth)
    assert compiled.any[0] == TokenAuth(tokens={"token": (HashedSecret(value=secrets.hash_token("s3cret")),)})
    assert "pass" not in repr(compiled)
    assert senders({}) is None
    assert senders({"auth": "none"}) == NoAuth()
