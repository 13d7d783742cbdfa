"""The OpenAPI document names what an API has: signatures, callbacks, links and the form of events."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iogate.auth.model import EnvSecret, HashedSecret, SignatureAuth, SignatureFormat
from iogate.compiler.revision import Callback, Coalesce, Idempotency
from iogate.gateway.events import cloudevents
from iogate.gateway.http.responses import HTTPError
from iogate.gateway.observability import openapi
from iogate.security import secrets
from iogate.store.runs.views import RunView
from iogate.worker.events.callback_delivery import body_of
from tests.gateway import webhooks
from tests.gateway.driver import TOKEN, World, api
from tests.gateway.links.pressing import listen, path, publish_links, start, wanting
from tests.gateway.links.test_link_handler import SOON
from tests.gateway.observability.documented import undocumented

HEADERLESS = Idempotency(header=None)


def signature(monkeypatch: pytest.MonkeyPatch, scheme: Any, **more: Any) -> SignatureAuth[Any]:
    monkeypatch.setenv("HOOK_SECRET", webhooks.WHSEC if scheme == "standard-webhooks" else webhooks.SECRET)
    return SignatureAuth(scheme=scheme, secrets=(EnvSecret(name="HOOK_SECRET"),), caller=scheme, **more)


def described(*apis: Any) -> dict[str, Any]:
    """Return the document, as it is sent."""
    made = openapi.document({each.id: each for each in apis}, number=1, server="http://x", senders=TOKEN)
    document: dict[str, Any] = json.loads(msgspec.json.encode(made))
    return document


def headers_of(operation: dict[str, Any]) -> dict[str, bool]:
    """Return the headers of an operation, and whether they are required."""
    return {
        each["name"]: each.get("required", False)
        for each in operation["parameters"]
        if each["in"] == "header"
    }


def test_statuses_and_headers_are_named_only_where_they_occur() -> None:
    plain = api("a/plain", idempotency=HEADERLESS)
    keyed = api("a/keyed", TOKEN, coalesce=Coalesce(key="/sku", window_s=1.0, max_s=1.0))
    paths = described(plain, keyed)["paths"]
    responses = paths["/v1/api/a/plain/async"]["post"]["responses"]
    assert {"401", "422"} & responses.keys() == set()
    assert set(responses["202"]["headers"]) == {"Location", "X-Iogate-Revision", "Preference-Applied"}
    for mode in ("async", "sync"):
        responses = paths[f"/v1/api/a/keyed/{mode}"]["post"]["responses"]
        assert {"401", "422"} <= responses.keys()
        assert {"Idempotent-Replayed", "X-Iogate-Coalesced"} <= responses["202"]["headers"].keys()
    assert not {"408", "413", "415"} & paths["/v1/api/a/keyed/async"]["get"]["responses"].keys()


def test_a_signature_names_its_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    own = SignatureFormat(header="X-Sign", timestamp="X-At", id="X-Id", signed="{id}.{timestamp}.{body}")
    schemes: dict[Any, dict[str, bool]] = {
        "github": {"X-GitHub-Delivery": False, "X-GitHub-Event": False},
        "standard-webhooks": {"webhook-timestamp": False, "webhook-id": False},
        "stripe": {},
        "slack": {"X-Slack-Request-Timestamp": True},
        "meta": {},
        "hmac": {"X-At": True, "X-Id": True},
    }
    for scheme, expected in schemes.items():
        auth = signature(monkeypatch, scheme, declared=own if scheme == "hmac" else None)
        document = described(api("a/hook", auth, verbs=("POST",), idempotency=HEADERLESS))
        operation = document["paths"]["/v1/api/a/hook/async"]["post"]
        found = headers_of(operation)
        del found["Prefer"]
        assert found == expected, scheme
        (needed,) = operation["security"]
        assert document["components"]["securitySchemes"][next(iter(needed))]["in"] == "header"
        replays = "Idempotent-Replayed" in operation["responses"]["202"]["headers"]
        assert replays == (scheme != "meta")
        assert "422" not in operation["responses"], "the input of a delivery is not compared"


def test_runs_are_shown_by_the_credentials_that_apis_have(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = api("a/hook", signature(monkeypatch, "github"), verbs=("POST",), idempotency=HEADERLESS)
    token: list[Any] = [{"token": []}, {"bearer": []}]
    for apis, expected in (((), []), ((hook,), []), ((hook, api("a/token", TOKEN)), token)):
        paths = described(*apis)["paths"]
        for end, verb in (("", "get"), ("/events", "get"), ("/cancel", "post")):
            assert paths[f"/v1/runs/{{uid}}{end}"][verb]["security"] == [{}, *expected]


@pytest.mark.parametrize("mode", ["async", "sync"])
async def test_tests_of_a_url_are_documented(
    world: World, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    verify = (HashedSecret(value=secrets.hash_token("verify-me")),)
    auths = {
        "github": signature(monkeypatch, "github"),
        "slack": signature(monkeypatch, "slack"),
        "meta": signature(monkeypatch, "meta", verify_token=verify),
    }
    await world.publish(
        *(api(f"a/{name}", auth, verbs=("POST",)) for name, auth in auths.items()),
        api("b/meta", auths["meta"], verbs=("GET", "POST")),
    )
    document = json.loads((await world.ask("/openapi.json")).body)
    ping = b'{"zen": "Design for failure."}'
    challenge = b'{"type": "url_verification", "challenge": "abc"}'
    query = "?hub.mode=subscribe&hub.verify_token=verify-me&hub.challenge=123"
    for name, verb, headers, body, suffix in (
        ("a/github", "POST", webhooks.github(ping, event="ping"), ping, ""),
        ("a/slack", "POST", webhooks.slack(challenge), challenge, ""),
        ("a/meta", "GET", {}, b"", query),
        ("b/meta", "GET", {}, b"", query),
    ):
        path = f"/v1/api/{name}/{mode}"
        reply = await world.ask(path + suffix, verb, headers, body)
        assert reply.status == 200, reply.body
        assert not undocumented(document, path, verb, reply.status, reply.headers, reply.body)
        refused = await world.ask(path + suffix.replace("verify-me", "x"), verb, {}, body)
        assert refused.status == 401
        assert not undocumented(document, path, verb, 401, refused.headers, refused.body)


def test_callbacks_of_a_caller_and_of_a_fixed_receiver() -> None:
    secret = EnvSecret(name="CB")
    fixed = "https://hooks.example.com/t0k3n-in-path"
    document = described(
        api("a/named", callback=Callback(allow=("*.example.com",), secret=secret, on=("completed",))),
        api("a/fixed", callback=Callback(url=fixed, secret=secret)),
        api("a/none"),
    )
    named = document["paths"]["/v1/api/a/named/async"]["post"]
    assert headers_of(named)["Callback-Url"] is False
    sent = named["callbacks"]["end"]["{$request.header.Callback-Url}"]["post"]
    assert set(headers_of(sent)) == {
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "idempotency-key",
    }
    assert list(document["webhooks"]) == ["a.fixed.end"]
    assert "t0k3n-in-path" not in json.dumps(document)
    for name in ("fixed", "none"):
        operation = document["paths"][f"/v1/api/a/{name}/async"]["post"]
        assert "callbacks" not in operation
        assert "Callback-Url" not in headers_of(operation)
    schema = sent["requestBody"]["content"]["application/json"]["schema"]
    validator = jsonschema_rs.validator_for({**schema, "components": document["components"]})
    validator.validate(json.loads(body_of(ended("completed"))))
    assert not validator.is_valid(json.loads(body_of(ended("faulted")))), "only the ends that the API names"
    assert "webhooks" not in described(api("a/none"))


def ended(status: str) -> RunView:
    error = b'{"type": "about:blank", "status": 500, "title": "x"}' if status == "faulted" else None
    return RunView(
        uid="1",
        status=status,
        state="end",
        api="a/b",
        workflow="w",
        program="p",
        revision=1,
        caller="",
        attempt=1,
        created_at_ms=1,
        started_at_ms=2,
        ended_at_ms=3,
        deadline_ms=None,
        retention_s=1.0,
        input=b"{}",
        output=b'{"ok": true}',
        error=error,
        waiting_for=None,
        cancel_reason=None,
        worker="",
        deaths=0,
        tasks=(),
    )


async def test_links_are_described_where_workflows_declare_them(world: World) -> None:
    link = "/v1/links/{link}"
    await publish_links(world.store, {})
    await world.refresher.reload()
    paths = json.loads((await world.ask("/openapi.json")).body)["paths"]
    assert "/v1/runs/{uid}" in paths
    assert link not in paths
    assert link not in (await world.ask("/docs")).body.decode()
    await publish_links(world.store)
    await world.refresher.reload()
    assert link in json.loads((await world.ask("/openapi.json")).body)["paths"]


async def test_links_are_documented(world: World) -> None:
    (uid,) = await start(world.store, await publish_links(world.store))
    await listen(world.store, {1: wanting("approve"), 2: wanting("seen")})
    document = described()
    template = "/v1/links/{link}"
    pattern = document["paths"][template]["get"]["parameters"][0]["schema"]["pattern"]
    seen, unseen = path(world.store, uid, "seen", SOON), path(world.store, uid, "approve", SOON)
    browser = {"accept": "text/html"}
    statuses = []
    for link, verb, headers, body in (
        (seen, "GET", {}, b""),
        (unseen, "POST", {}, b'{"decision": 1}'),
        (unseen, "POST", browser, b"decision=1"),
        (unseen, "POST", {"content-type": "text/csv"}, b"a,b"),
        (seen, "POST", {}, b""),
        (seen, "POST", {}, b""),
        (seen, "GET", browser, b""),
        (seen[:-1] + ("A" if seen[-1] != "A" else "B"), "GET", {}, b""),
        (path(world.store, uid, "approve", 1000), "GET", {}, b""),
    ):
        assert jsonschema_rs.is_valid({"pattern": pattern}, link.removeprefix("/v1/links/"))
        reply = await world.ask(link, verb, headers, body)
        assert not undocumented(document, template, verb, reply.status, reply.headers, reply.body)
        statuses.append(reply.status)
    assert statuses == [200, 400, 400, 415, 202, 409, 409, 404, 410]


BODY = described()["paths"]["/v1/events"]["post"]["requestBody"]
SCHEMA = BODY["content"]["application/cloudevents+json"]
EVENT = jsonschema_rs.validator_for(SCHEMA["schema"], validate_formats=True)
GOOD = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
names = st.sampled_from(
    [
        "id",
        "subject",
        "type",
        "source",
        "dataschema",
        "data",
        "data_base64",
        "datacontenttype",
        "trace",
        "Trace",
        "a-b",
        "",
        "ö",
    ]
)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**32), 2**32),
    st.sampled_from([424.0, -3e9, 1e300, 1.5]),
    st.sampled_from(
        [
            "",
            "ĘÜ",
            "a\u3000b",
            "urn:ö",
            ":x",
            "a",
            "a b",
            "a/b",
            "a/b; c=d",
            "\x00",
            "x" * 2049,
            "iogate.link.x",
            "YQ==",
            "YWI==",
            "YWI=",
            "YQ",
            "YQ=a",
            "====",
        ]
    ),
)


@given(st.dictionaries(names, values, max_size=3))
@example({"Trace": None})
@example({"data_base64": None, "data": 1})
@example({"data_base64": "YQ==", "data": 1})
@example({"data_base64": "YWI=="})
@example({"data_base64": "YQ"})
@example({"data_base64": ""})
@example({"datacontenttype": "text/plain; charset=utf-8"})
@example({"type": "iogate.link.approve"})
@example({"source": "ĘÜ"})
@example({"trace": 424.0})
def test_the_schema_of_an_event_is_what_the_gateway_accepts(more: dict[str, Any]) -> None:
    assert BODY["required"] is True
    event = {**GOOD, **more}
    label = {b"content-type": cloudevents.STRUCTURED}
    try:
        cloudevents.read(label, frozenset(), msgspec.json.encode(event))
        accepted = True
    except HTTPError:
        accepted = False
    assert EVENT.is_valid(event) == accepted, event
