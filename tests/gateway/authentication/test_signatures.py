"""Signed calls: the published vectors, the replay window, rotation, handshakes, and malformed signatures."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus

import msgspec
import pytest

from iogate.auth.model import (
    AnyAuth,
    EnvSecret,
    FileSecret,
    NoAuth,
    SignatureAuth,
    SignatureFormat,
    SignatureScheme,
    StoredSecret,
)
from iogate.compiler.revision import Idempotency, Limits
from iogate.gateway.authentication.authenticator import Authenticator
from tests.gateway.driver import OTHER, TOKEN, USER, Reply, World, api, publish
from tests.gateway.webhooks import SECRET, WHSEC, digest, github, meta, now, slack, standard, stripe

PATH = "/v1/api/hooks/in/async"
BODY = b'{"id": "evt_1", "event_id": "Ev1", "n": 1}'
Sender = Callable[..., dict[str, str]]
SENDERS: dict[SignatureScheme, Sender] = {
    "github": github,
    "standard-webhooks": standard,
    "stripe": stripe,
    "slack": slack,
    "meta": meta,
}
TIMED: list[SignatureScheme] = ["standard-webhooks", "stripe", "slack"]
INVALID = {"error": {"code": "requestError.unauthorized", "message": "Signature is invalid"}}


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.setenv("WHSEC", WHSEC)
    monkeypatch.setenv("VERIFY", "verify-me")
    monkeypatch.delenv("NOT_SET", raising=False)


def signed(scheme: SignatureScheme, *secrets: StoredSecret, **more: Any) -> SignatureAuth[StoredSecret]:
    secret = EnvSecret(name="WHSEC" if scheme == "standard-webhooks" else "SECRET")
    if scheme == "meta":
        more = {"verify_token": (EnvSecret(name="VERIFY"),)} | more
    return SignatureAuth(**{"scheme": scheme, "secrets": secrets or (secret,), "caller": scheme} | more)


def declared(**given: Any) -> SignatureAuth[StoredSecret]:
    return signed("hmac", declared=SignatureFormat(**given))


async def post(world: World, body: bytes, headers: Any, path: str = PATH) -> Reply:
    return await world.ask(path, "POST", headers, body)


async def run_of(world: World, reply: Reply) -> Any:
    run = await world.store.runs.show(reply.uid)
    assert run is not None
    return run


async def test_the_published_vectors_are_accepted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.publish(
        api("hooks/in", signed("github"), limits=Limits(body=13)),
        api("hooks/std", signed("standard-webhooks")),
    )
    vector = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    reply = await post(world, b"Hello, World!", {"X-Hub-Signature-256": vector})
    assert (reply.status, reply.message) == (
        400,
        "The body is not JSON: invalid character (byte 0)",
    ), "the signature is valid, and the body is no input"
    monkeypatch.setattr(world.live.clock, "now_ms", lambda: 1_614_265_330_000 + 100)
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    reply = await post(world, b'{"test": 2432232314}', headers, "/v1/api/hooks/std/async")
    assert (await run_of(world, reply)).input == b'{"test":2432232314}'


@pytest.mark.parametrize("scheme", SENDERS)
async def test_a_signed_body_starts_a_run_of_the_sender_and_a_changed_one_does_not(
    world: World, scheme: SignatureScheme
) -> None:
    await world.publish(api("hooks/in", signed(scheme)))
    headers = SENDERS[scheme](BODY)
    run = await run_of(world, await post(world, BODY, headers))
    assert (run.caller, json.loads(run.input)) == (scheme, json.loads(BODY))
    for body, sent in (
        (BODY + b" ", headers),
        (b"", headers),
        (BODY, SENDERS[scheme](BODY, WHSEC[:-4] + "AAAA")),
    ):
        reply = await post(world, body, sent)
        assert (reply.status, reply.json) == (401, INVALID)
        assert reply.headers["www-authenticate"] == 'Signature realm="iogate"'
    for sent in ({}, {"token": "123456"}):
        reply = await post(world, BODY, sent)
        assert (reply.status, reply.code, reply.message) == (
            401,
            "requestError.invalidParams",
            "Signature is required",
        )
    assert world.live.bodies.held == 0


@pytest.mark.parametrize("scheme", SENDERS)
async def test_an_empty_body_is_signed_too(world: World, scheme: SignatureScheme) -> None:
    await world.publish(api("hooks/in", signed(scheme)))
    assert (await run_of(world, await post(world, b"", SENDERS[scheme](b"")))).input == b"{}"


@pytest.mark.parametrize("scheme", TIMED)
@pytest.mark.parametrize(("age_s", "status"), [(299, 202), (-299, 202), (301, 401), (-301, 401)])
async def test_the_replay_window_has_five_minutes_on_both_sides(
    world: World, scheme: SignatureScheme, age_s: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.publish(api("hooks/in", signed(scheme)))
    at = now()
    monkeypatch.setattr(world.live.clock, "now_ms", lambda: at * 1000)
    reply = await post(world, BODY, SENDERS[scheme](BODY, at=at - age_s))
    assert reply.status == status
    if status == 401:
        assert reply.message == "Signature has expired: its time is more than 5m from now"


async def test_the_window_is_the_one_of_the_api(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.publish(api("hooks/in", signed("stripe", tolerance_s=10.0)))
    at = now()
    monkeypatch.setattr(world.live.clock, "now_ms", lambda: at * 1000)
    assert (await post(world, BODY, stripe(BODY, at=at - 9))).status == 202
    reply = await post(world, BODY, stripe(BODY, at=at - 11))
    assert reply.message == "Signature has expired: its time is more than 10s from now"


async def test_an_expired_signature_is_refused_before_its_body_is_read(world: World) -> None:
    await world.publish(api("hooks/in", signed("stripe"), limits=Limits(body=10)))
    assert (await post(world, BODY, stripe(BODY, at=5))).status == 401
    assert (await post(world, BODY, stripe(BODY))).status == 413, "a body of a plausible call has its limit"
    reply = await post(world, b"{}", stripe(b"{}") | {"content-encoding": "gzip"})
    assert reply.status == 415
    assert world.live.bodies.held == 0


async def test_two_secrets_are_live_during_a_rotation(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEW", "another")
    await world.publish(api("hooks/in", signed("github", EnvSecret(name="SECRET"), EnvSecret(name="NEW"))))
    for number, secret in enumerate((SECRET, "another")):
        assert (await post(world, BODY, github(BODY, secret, delivery=str(number)))).status == 202
    assert (await post(world, BODY, github(BODY, "third", delivery="3"))).json == INVALID


async def test_a_header_may_have_several_signatures(world: World) -> None:
    await world.publish(
        api("hooks/in", signed("stripe")),
        api("hooks/std", signed("standard-webhooks")),
        api("hooks/gh", signed("github")),
    )
    sent = stripe(BODY)
    moment, _, right = sent["Stripe-Signature"].partition(",")
    zeros = "0" * 64
    for value in (f"{moment},v1={zeros},{right},v0=x", f"{right}, {moment}", f"{moment},{right.upper()[:3]}"):
        reply = await post(world, BODY, {"Stripe-Signature": value})
        assert reply.status == (401 if "V1" in value else 202), value
    sent = standard(BODY)
    sent["webhook-signature"] = f"v1a,x v1,{zeros[:43]}= {sent['webhook-signature']} v2,y"
    assert (await post(world, BODY, sent, "/v1/api/hooks/std/async")).status == 202
    sent = github(BODY)
    sent["X-Hub-Signature-256"] = (
        sent["X-Hub-Signature-256"].replace("sha256=", "sha256=").upper().replace("SHA256", "sha256")
    )
    assert (await post(world, BODY, sent, "/v1/api/hooks/gh/async")).status == 202, "hex has no case"


async def test_svix_sends_the_standard_under_its_own_name(world: World) -> None:
    await world.publish(api("hooks/in", signed("standard-webhooks")))
    first = await post(world, BODY, standard(BODY, word="svix"))
    again = await post(world, BODY, standard(BODY, word="svix"))
    assert (first.uid, again.headers["idempotent-replayed"]) == (again.uid, "true")
    mixed = standard(BODY, word="svix")
    mixed["webhook-signature"] = mixed.pop("svix-signature")
    assert (await post(world, BODY, mixed)).status == 401


@pytest.mark.parametrize(
    ("scheme", "body", "other"),
    [
        ("github", BODY, BODY),
        ("standard-webhooks", BODY, BODY),
        ("stripe", BODY, b'{"id": "evt_1", "pending_webhooks": 1}'),
        ("slack", BODY, BODY),
    ],
)
async def test_a_repeated_delivery_returns_the_run_of_the_first(
    world: World, scheme: SignatureScheme, body: bytes, other: bytes
) -> None:
    await world.publish(
        api("hooks/in", signed(scheme)), api("hooks/all", signed(scheme), input_from="request")
    )
    for path in (PATH, "/v1/api/hooks/all/async"):
        first = await post(world, body, SENDERS[scheme](body), path)
        again = await post(world, other, SENDERS[scheme](other), path)
        assert (again.uid, again.headers["idempotent-replayed"]) == (first.uid, "true")
    unlike = b'{"id": "evt_2", "event_id": "Ev2"}'
    headers = SENDERS[scheme](unlike)
    headers |= {name: "another" for name in headers if name == "X-GitHub-Delivery"}
    headers = standard(unlike, delivery="msg_2") if scheme == "standard-webhooks" else headers
    assert (await post(world, unlike, headers)).uid != first.uid


@pytest.mark.parametrize("scheme", ["github", "standard-webhooks", "stripe", "slack"])
@pytest.mark.parametrize("whole", [False, True])
async def test_a_captured_delivery_is_not_repeated_by_a_key_that_is_not_signed(
    world: World, scheme: SignatureScheme, *, whole: bool
) -> None:
    rules = Idempotency(header="X-Key", pointer="/headers/x-other" if whole else msgspec.UNSET)
    await world.publish(
        api("hooks/in", signed(scheme), idempotency=rules, input_from="request" if whole else "body")
    )
    captured = SENDERS[scheme](BODY)
    first = await post(world, BODY, captured)
    for more in ({"X-Key": "a"}, {"X-Key": "b", "X-Other": "c"}, {"X-Key": "x" * 300}):
        again = await post(world, BODY, captured | more)
        assert (again.uid, again.headers["idempotent-replayed"]) == (first.uid, "true"), more


async def test_a_key_in_the_signed_body_comes_before_the_id_of_the_delivery(world: World) -> None:
    await world.publish(
        api("hooks/in", signed("github"), idempotency=Idempotency(header="X-Key", pointer="/id")),
        api("hooks/all", signed("github"), idempotency=Idempotency(pointer="/body/id"), input_from="request"),
    )
    for path in (PATH, "/v1/api/hooks/all/async"):
        first = await post(world, BODY, github(BODY), path)
        again = await post(world, BODY, github(BODY, delivery="d-2") | {"X-Key": "a"}, path)
        assert (again.uid, again.headers["idempotent-replayed"]) == (first.uid, "true")
        other = b'{"id": "evt_1", "n": 2}'
        reply = await post(world, other, github(other, delivery="d-3"), path)
        assert (reply.status, reply.code) == (422, "requestError.idempotencyMismatch")


async def test_the_header_is_the_key_of_a_sender_without_ids_of_deliveries(world: World) -> None:
    rules = Idempotency(header="X-Key", required=True)
    await world.publish(api("hooks/in", signed("meta"), idempotency=rules))
    first = await post(world, BODY, meta(BODY) | {"X-Key": "a"})
    assert (await post(world, BODY, meta(BODY) | {"X-Key": "a"})).uid == first.uid
    assert (await post(world, BODY, meta(BODY) | {"X-Key": "b"})).uid != first.uid
    reply = await post(world, b"{}", meta(b"{}") | {"X-Key": "a"})
    assert (reply.status, reply.code) == (422, "requestError.idempotencyMismatch")
    for more, message in (
        ({"X-Key": "x" * 300}, "The header x-key has 300 characters; expected 1 to 255"),
        ({}, "The header X-Key must have the idempotency key of the call"),
    ):
        reply = await post(world, BODY, meta(BODY) | more)
        assert (reply.status, reply.message) == (400, message)


async def test_a_long_id_is_a_key_and_another_type_of_id_is_none(world: World) -> None:
    await world.publish(api("hooks/in", signed("stripe")))
    body = json.dumps({"id": "x" * 5000}).encode()
    assert (await post(world, body, stripe(body))).uid == (await post(world, body, stripe(body))).uid
    for body in (b'{"id": 5}', b'{"id": ""}', b"[1]", b'"text"'):
        assert (await post(world, body, stripe(body))).uid != (await post(world, body, stripe(body))).uid


async def test_a_delivery_larger_than_the_loop_takes_is_recognised_too(world: World) -> None:
    await world.publish(api("hooks/in", signed("stripe")), api("hooks/gh", signed("github")))
    body = json.dumps({"text": "x" * 400_000, "id": "evt_9"}).encode()
    first = await post(world, body, stripe(body))
    assert (await post(world, body, stripe(body))).uid == first.uid
    form = b"payload=" + quote_plus(body).encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    run = await run_of(world, await post(world, form, github(form) | kind, "/v1/api/hooks/gh/async"))
    assert json.loads(run.input) == json.loads(body)
    assert world.live.bodies.held == 0


async def test_the_input_of_a_form_of_github_is_the_json_in_it(world: World) -> None:
    schema = {"type": "object", "required": ["ref"], "properties": {"ref": {"type": "string"}}}
    whole = {"type": "object", "properties": {"body": schema}}
    await world.publish(
        api("hooks/in", signed("github"), input_schema=schema),
        api("hooks/all", signed("github"), input_from="request", input_schema=whole),
    )
    form = b"payload=" + quote_plus('{"ref": "refs/heads/main + \xe9&=%"}').encode()
    sent = github(form) | {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    run = await run_of(world, await post(world, form, sent))
    assert json.loads(run.input) == {"ref": "refs/heads/main + \xe9&=%"}
    run = await run_of(
        world, await post(world, form, sent | {"X-Hub-Signature": "sha1=x"}, "/v1/api/hooks/all/async")
    )
    given = json.loads(run.input)
    assert given["body"] == {"ref": "refs/heads/main + \xe9&=%"}
    assert given["headers"]["x-github-event"] == "push"
    assert not {"x-hub-signature-256", "x-hub-signature"} & given["headers"].keys()
    for form in (b"payload=%7B", b"payload=", b"payload=%FF"):
        sent = github(form, delivery=form.decode()) | {"Content-Type": "application/x-www-form-urlencoded"}
        assert (await post(world, form, sent)).status == 400, form


async def test_the_ping_of_github_starts_no_run(world: World) -> None:
    await world.publish(api("hooks/in", signed("github")))
    reply = await post(world, BODY, github(BODY, event="ping"))
    assert (reply.status, reply.json) == (200, {"event": "ping"})
    assert (await post(world, BODY, github(BODY, "wrong", event="ping"))).json == INVALID
    assert world.live.bodies.held == 0
    assert world.live.counts["hooks/in"].accepted == 0


async def test_slack_gets_its_challenge_only_after_a_valid_signature(world: World) -> None:
    await world.publish(api("hooks/in", signed("slack")))
    body = b'{"token": "x", "type": "url_verification", "challenge": "3eZbrw1a \xc3\xa9"}'
    reply = await post(world, body, slack(body))
    assert (reply.status, json.loads(reply.body)) == (200, {"challenge": "3eZbrw1a \xe9"})
    assert (await post(world, body, slack(body, "wrong"))).json == INVALID
    for body in (
        b'{"type": "url_verification"}',
        b'{"type": 5, "challenge": "url_verification"}',
        b'{"type": "x", "y": "url_verification"}',
    ):
        assert (await post(world, body, slack(body))).status == 202, body
    for body in (
        b'{"url_verification',
        b'{"type": "url_verification\xff", "challenge": "x"}',
        b'{"type": "url_verification", "challenge": "x", "a": %s%s}' % (b"[" * 1900, b"]" * 1900),
    ):
        assert (await post(world, body, slack(body))).status == 400, body
    assert world.live.bodies.held == 0


async def test_meta_registers_a_url_with_the_verify_token(world: World) -> None:
    await world.publish(api("hooks/in", signed("meta"), verbs=("POST",)))
    query = "?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="
    reply = await world.ask(PATH + query + "verify-me")
    assert (reply.status, reply.body) == (200, b"1158201444")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert world.live.counts["hooks/in"].accepted == 0
    for wrong in (
        query + "other",
        query,
        query + "verify-me&hub.mode=unsubscribe",
        "?hub.mode=subscribe&hub.verify_token=verify-me",
        "?hub.mode=x&hub.challenge=1&hub.verify_token=verify-me",
        "?hub.mode=subscribe&hub.challenge=%FF&hub.verify_token=verify-me",
        "?hub.mode=subscribe&&&" + "a=1&" * 30,
    ):
        reply = await world.ask(PATH + wrong)
        assert (reply.status, reply.message) == (401, "The verify token is invalid"), wrong
    assert (await world.ask(PATH)).status == 405
    assert (await world.ask(PATH + "?hub.mode=subscribe", "PUT")).status == 405
    assert (await post(world, BODY, meta(BODY))).status == 202


@pytest.mark.parametrize(
    ("format_", "sign"),
    [
        (
            {"header": "X-Shop-Signature"},
            lambda body: {"X-Shop-Signature": digest(SECRET, body).hex()},
        ),
        (
            {"header": "X-Shop-Hmac", "encoding": "base64", "algorithm": "sha1", "id": "X-Shop-Id"},
            lambda body: {
                "X-Shop-Hmac": base64.b64encode(digest(SECRET, body, "sha1")).decode(),
                "X-Shop-Id": "1",
            },
        ),
        (
            {
                "header": "Paddle-Signature",
                "prefix": "h1=",
                "algorithm": "sha512",
                "timestamp": "Paddle-Signature",
                "timestamp_prefix": "ts=",
                "signed": "{timestamp}:{body}",
            },
            lambda body: {
                "Paddle-Signature": f"ts={(at := now())};h1="
                + digest(SECRET, f"{at}:".encode() + body, "sha512").hex()
            },
        ),
        (
            {
                "header": "X-Signature",
                "timestamp": "X-Time",
                "unit": "ms",
                "signed": "{method}{url}{path}{body}{timestamp}",
            },
            lambda body: {
                "X-Time": (at := f"{now() * 1000 + 7}"),
                "X-Signature": digest(
                    SECRET,
                    f"POSThttp://gateway.test{PATH}?a=%20b{PATH}?a=%20b".encode() + body + at.encode(),
                ).hex(),
            },
        ),
    ],
)
async def test_a_declared_format_is_verified_part_by_part(
    world: World, format_: dict[str, Any], sign: Callable[[bytes], dict[str, str]]
) -> None:
    await world.publish(api("hooks/in", declared(**format_)))
    path = PATH + "?a=%20b"
    reply = await post(world, BODY, sign(BODY), path)
    assert (await run_of(world, reply)).caller == "hmac"
    assert (await post(world, BODY + b" ", sign(BODY), path)).json == INVALID
    if "{path}" in format_.get("signed", ""):
        assert (await post(world, BODY, sign(BODY), PATH)).json == INVALID
    if "id" in format_:
        assert (await post(world, BODY, sign(BODY), path)).uid == reply.uid


async def test_a_get_is_signed_only_by_a_format_with_its_query(world: World) -> None:
    await world.publish(
        api("hooks/in", declared(header="X-S", signed="{path}{body}")),
        api("hooks/gh", AnyAuth(any=(signed("github"), TOKEN))),
    )
    target = PATH + "?a=1"
    right = {"X-S": digest(SECRET, target.encode()).hex()}
    assert json.loads((await run_of(world, await world.ask(target, headers=right))).input) == {"a": "1"}
    assert (await world.ask(PATH + "?a=2", headers=right)).json == INVALID
    other = "/v1/api/hooks/gh/async"
    assert (await world.ask(other, headers=github(b""))).message == "Token or Signature is required"
    assert (await world.ask(other, headers=github(b"") | {"token": "123456"})).status == 202


async def test_a_signature_decides_where_there_is_one_and_else_the_other_forms(world: World) -> None:
    either = AnyAuth(any=(TOKEN, signed("github"), signed("stripe"), USER))
    await world.publish(api("hooks/in", either), api("hooks/open", AnyAuth(any=(NoAuth(), signed("github")))))
    run = await run_of(world, await post(world, BODY, github(BODY) | {"token": "wrong"}))
    assert run.caller == "github"
    assert (await run_of(world, await post(world, BODY, stripe(BODY)))).caller == "stripe"
    assert (await run_of(world, await post(world, BODY, {"token": "123456"}))).caller == "token"
    reply = await post(world, BODY, github(BODY, "wrong") | {"token": "123456"})
    assert (reply.status, reply.json) == (401, INVALID)
    reply = await post(world, BODY, {})
    assert reply.message == "Token or User/Password or Signature is required"
    assert (await post(world, BODY, {"token": "wrong"})).message == "Token is invalid"
    # Two signatures: one valid one is enough.
    both = github(BODY, "wrong", delivery="d-3") | stripe(BODY)
    assert (await run_of(world, await post(world, BODY, both))).caller == "stripe"
    path = "/v1/api/hooks/open/async"
    assert (await run_of(world, await post(world, BODY, {}, path))).caller == ""
    assert (await run_of(world, await post(world, BODY, github(BODY), path))).caller == "github"
    assert (await post(world, BODY, github(BODY, "wrong"), path)).json == INVALID


async def test_a_missing_secret_is_a_503_and_another_one_suffices(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = EnvSecret(name="NOT_SET")
    monkeypatch.setenv("BAD", "whsec_%%%")
    await world.publish(
        api("hooks/in", signed("github", lacking)),
        api("hooks/two", signed("github", EnvSecret(name="SECRET"), lacking)),
        api("hooks/bad", signed("standard-webhooks", EnvSecret(name="BAD"))),
    )
    for sent in (github(BODY), {}):
        reply = await post(world, BODY, sent)
        assert (reply.status, reply.message) == (
            503,
            "The credentials of this API are not configured on this gateway",
        )
    two = "/v1/api/hooks/two/async"
    assert (await post(world, BODY, github(BODY), two)).status == 202
    assert (await post(world, BODY, github(BODY, "wrong"), two)).json == INVALID
    assert (await post(world, BODY, standard(BODY), "/v1/api/hooks/bad/async")).status == 503
    assert world.live.table is not None
    assert world.live.table.unset == {
        "hooks/in": ("environment variable NOT_SET is not set",),
        "hooks/bad": ("env BAD is no secret of Standard Webhooks, which is whsec_ and base64",),
    }
    assert world.live.bodies.held == 0


async def test_the_openapi_document_names_the_header_of_a_signature(world: World) -> None:
    await world.publish(
        api("hooks/in", AnyAuth(any=(signed("stripe"), TOKEN))), api("hooks/own", declared(header="X-S"))
    )
    document = json.loads((await world.ask("/openapi.json")).body)
    schemes = document["components"]["securitySchemes"]
    assert schemes["signature-stripe"] == {
        "type": "apiKey",
        "in": "header",
        "name": "Stripe-Signature",
        "description": "v1=HMAC (sha256, hex) of {timestamp}.{body}",
    }
    assert schemes["signature-x-s"]["name"] == "X-S"
    operation = document["paths"]["/v1/api/hooks/in/async"]["post"]
    assert operation["security"] == [{"signature-stripe": []}, {"token": []}, {"bearer": []}]


async def test_a_secret_file_is_read_again_after_a_change(tmp_path: Any) -> None:
    file = tmp_path / "secret"
    file.write_text("old\n")
    authenticator = Authenticator(signed("github", FileSecret(path="secret")), root=tmp_path)
    assert not authenticator.has_changed()
    file.write_text("newer\n")
    assert authenticator.has_changed()
    assert authenticator.renewed().signatures is not None


async def test_a_run_of_a_signed_call_is_visible_by_its_link_alone(public_world: World) -> None:
    world = public_world
    await world.publish(api("hooks/in", signed("github")), api("hooks/other", OTHER))
    reply = await post(world, BODY, github(BODY))
    assert (await world.ask(reply.headers["location"])).json["caller"] == "github"
    for headers in ({}, github(b""), {"token": "other"}, {"token": "wrong"}):
        assert (await world.ask(f"/v1/runs/{reply.uid}", headers=headers)).status == 404


async def test_a_newer_revision_decides_about_a_body_that_was_already_read(world: World) -> None:
    """The API gets a signature, or another secret, while a call is validated."""
    await world.publish(api("hooks/in", TOKEN))
    await publish(world.store, api("hooks/in", signed("github")))
    reply = await post(world, BODY, {"token": "123456"})
    assert reply.message == "Signature is required"
    await world.publish(api("hooks/in", TOKEN))
    await publish(world.store, api("hooks/in", AnyAuth(any=(signed("github"), TOKEN))))
    assert (
        await run_of(world, await post(world, BODY, github(BODY) | {"token": "123456"}))
    ).caller == "github"
    await publish(world.store, api("hooks/in", signed("github", EnvSecret(name="VERIFY"))))
    assert (await post(world, BODY, github(BODY, delivery="d-9"))).json == INVALID
    assert world.live.bodies.held == 0
