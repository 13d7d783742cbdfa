"""A link continues its run once: only a POST uses it, and its page asks for the data of the schema."""

from __future__ import annotations

import asyncio
import json
import time
from urllib.parse import urlencode

import httpx
import pytest

from iogate.gateway.pages.page import POLICY
from iogate.store import keys
from tests.gateway.driver import World
from tests.gateway.links.pressing import events, listen, path, publish_links, start, wanting

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
FORM = {**BROWSER, "content-type": "application/x-www-form-urlencoded"}
SOON = int(time.time()) + 86_400


@pytest.fixture
async def uid(world: World) -> str:
    """A run that waits for the links `approve` and `seen`."""
    (uid,) = await start(world.store, await publish_links(world.store))
    await listen(world.store, {1: wanting("approve"), 2: wanting("seen"), 3: wanting("asked", "Refund 300?")})
    return uid


async def test_the_page_shows_what_is_asked_and_a_form(world: World, uid: str) -> None:
    reply = await world.ask(path(world.store, uid, "approve", SOON), headers=BROWSER)
    page = reply.body.decode()
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert reply.headers["content-security-policy"] == POLICY.decode()
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert "noindex" in reply.headers["x-robots-tag"]
    assert reply.headers["cache-control"] == "no-store"
    assert "<h1>Refund &lt;A-1&gt;?</h1><p>Line one</p><p>Line two</p>" in page
    assert '<form method="post">' in page
    assert '<option value="&quot;approve&quot;">approve</option>' in page
    assert '<input type="number" step="1" min="1" value="" id="field-amount" name="amount" required>' in page
    assert '<textarea rows="6" maxlength="1000" id="field-comment" name="comment">' in page
    assert '<input type="checkbox" value="true" id="field-urgent" name="urgent">' in page
    assert "This link can be used once, until " in page


async def test_a_program_gets_the_description_as_json(world: World, uid: str) -> None:
    reply = await world.ask(path(world.store, uid, "approve", SOON), headers={"accept": "application/json"})
    assert reply.json["title"] == "Refund <A-1>?"
    assert reply.json["schema"]["required"] == ["decision", "amount"]
    assert reply.json["link"] == "approve"


async def test_the_run_evaluates_the_description(world: World, uid: str) -> None:
    reply = await world.ask(path(world.store, uid, "asked", SOON), headers=BROWSER)
    assert b"<p>Refund 300?</p>" in reply.body
    (other,) = await start(world.store, await publish_links(world.store))
    early = await world.ask(path(world.store, other, "asked", SOON), headers=BROWSER)
    assert (early.status, b"${" in early.body) == (200, False)


async def test_scanners_use_nothing(world: World, uid: str) -> None:
    link = path(world.store, uid, "seen", SOON)
    for headers in ({}, BROWSER, {"purpose": "prefetch", "accept": "*/*"}, {"user-agent": "Slackbot 1.0"}):
        for method in ("GET", "HEAD"):
            assert (await world.ask(link, method, headers)).status == 200
    assert (await world.ask(link, "OPTIONS")).headers["allow"] == "GET, HEAD, POST, OPTIONS"
    assert (await world.ask(link, "DELETE")).status == 405
    assert await events(world.store, uid) == []
    assert (await world.ask(link, "POST")).status == 202


async def test_a_post_of_json_delivers_its_event_to_that_run_alone(world: World, uid: str) -> None:
    (other,) = await start(world.store, await publish_links(world.store))
    await listen(world.store, {1: wanting("approve")})
    body = json.dumps({"decision": "approve", "amount": 3}).encode()
    link = path(world.store, uid, "approve", SOON)
    reply = await world.ask(link, "POST", {"content-type": "application/json"}, body)
    assert (reply.status, reply.json) == (202, {"uid": uid, "link": "approve"})
    assert await world.store.runs.show(other)
    (event,) = await events(world.store, uid)
    assert event["data"] == {"decision": "approve", "amount": 3}
    assert (event["type"], event["subject"]) == ("iogate.link.approve", uid)
    assert (event["id"], event["source"]) == (f"{uid}/approve", "/v1/links/approve")
    view = await world.store.runs.show(other)
    assert view is not None
    assert view.state == "timer"


async def test_a_form_gives_the_types_of_the_schema(world: World, uid: str) -> None:
    fields = {"decision": '"approve"', "amount": "12", "comment": "a\r\nb", "urgent": "true"}
    link = path(world.store, uid, "approve", SOON)
    reply = await world.ask(link, "POST", FORM, urlencode(fields).encode())
    assert (reply.status, b"Your answer was received" in reply.body) == (202, True)
    (event,) = await events(world.store, uid)
    assert event["data"] == {"decision": "approve", "amount": 12, "comment": "a\nb", "urgent": True}


async def test_an_invalid_form_names_every_place_and_keeps_what_was_written(world: World, uid: str) -> None:
    fields = {"amount": "many", "comment": "<b>", "extra": "1"}
    link = path(world.store, uid, "approve", SOON)
    reply = await world.ask(link, "POST", FORM, urlencode(fields).encode())
    page = reply.body.decode()
    assert reply.status == 400
    assert "<li>amount: &quot;many&quot; is not of type &quot;integer&quot;</li>" in page
    assert "<li>decision: &quot;decision&quot; is a required property</li>" in page
    assert "(&#x27;extra&#x27; was unexpected)</li>" in page
    assert 'value="many" id="field-amount" name="amount" aria-invalid="true"' in page
    assert "\n&lt;b&gt;</textarea>" in page
    assert await events(world.store, uid) == []
    told = await world.ask(link, "POST", {"content-type": "application/json"}, b'{"amount": 0}')
    assert told.status == 400
    assert told.message == (
        'The data is invalid at its root: "decision" is a required property; '
        "at /amount: 0 is less than the minimum of 1"
    )
    assert (await world.ask(link, headers=BROWSER)).status == 200


@pytest.mark.parametrize("name", ["comment", "extra"])
async def test_two_files_of_one_name_are_a_400(world: World, uid: str, name: str) -> None:
    given = {"decision": '"approve"', "amount": "3"}
    files = [(name, (f"{number}.txt", b"text", "text/plain")) for number in range(2)]
    sent = httpx.Request("POST", "http://gateway.test", data=given, files=files)
    headers = {"content-type": sent.headers["content-type"]}
    reply = await world.ask(path(world.store, uid, "approve", SOON), "POST", headers, sent.read())
    assert (reply.status, reply.message.startswith("The data is invalid at ")) == (400, True), reply.body
    assert name in reply.message
    assert await events(world.store, uid) == []


@pytest.mark.parametrize("body", [b"5", b"null", b'"comment"', b'["comment"]'])
async def test_json_that_is_no_object_is_a_400_for_a_browser_too(world: World, uid: str, body: bytes) -> None:
    link = path(world.store, uid, "approve", SOON)
    reply = await world.ask(link, "POST", {**BROWSER, "content-type": "application/json"}, body)
    assert reply.status == 400
    assert b" is not of type &quot;object&quot;</li>" in reply.body
    assert b'id="field-comment" name="comment">\n</textarea>' in reply.body
    assert await events(world.store, uid) == []


@pytest.mark.parametrize("label", ["application/json", "application/x-www-form-urlencoded"])
async def test_data_that_are_slow_to_decode_are_decoded_beside_the_loop(world: World, label: str) -> None:
    schema = {"properties": {"f": {"type": "object", "maxProperties": 1}}}
    (uid,) = await start(world.store, await publish_links(world.store, {"slow": {"schema": schema}}))
    await listen(world.store, {1: wanting("slow")})
    link = path(world.store, uid, "slow", SOON)

    def body(members: int) -> bytes:
        data = {f"a{n}": [9e307] * 100 for n in range(members)}
        if label == "application/json":
            return json.dumps({"f": data}).encode()
        return urlencode({"f": json.dumps(data)}).encode()

    refused = await world.ask(link, "POST", {"content-type": label}, body(2))
    assert refused.status == 400
    assert refused.message.startswith("The data is invalid at /f: ")
    page = await world.ask(link, "POST", {**BROWSER, "content-type": label}, body(2))
    assert (page.status, b"[9e+307,9e+307," in page.body) == (400, True)
    assert world.live.validation.process_id is not None
    assert (await world.ask(link, "POST", {"content-type": label}, body(1))).status == 202
    (event,) = await events(world.store, uid)
    assert event["data"] == {"f": {"a0": [9e307] * 100}}


async def test_data_that_take_too_long_to_validate_are_a_400(world: World) -> None:
    branches = [{"properties": {"a": {"$ref": "#/$defs/n"}}, "required": ["y"]}] * 2
    schema = {"$defs": {"n": {"anyOf": branches}}, "$ref": "#/$defs/n"}
    (uid,) = await start(world.store, await publish_links(world.store, {"slow": {"schema": schema}}))
    await listen(world.store, {1: wanting("slow")})
    link = path(world.store, uid, "slow", SOON)
    reply = await world.ask(link, "POST", body=b'{"a":' * 40 + b"1" + b"}" * 40)
    assert (reply.status, reply.message) == (400, "The input takes too much time or memory to validate")
    assert (await world.ask(link, "POST", body=b'{"y":1}')).status == 202


async def test_a_link_is_used_once(world: World, uid: str) -> None:
    link = path(world.store, uid, "seen", SOON)
    replies = await asyncio.gather(*(world.ask(link, "POST") for _ in range(20)))
    assert sorted(reply.status for reply in replies) == [202, *[409] * 19]
    again = await world.ask(link, "POST")
    assert (again.code, again.message) == ("requestError.repeatedOperation", "This link was already used")
    page = await world.ask(link, headers=BROWSER)
    assert (page.status, b"<h1>This link was already used</h1>" in page.body) == (409, True)
    assert len(await events(world.store, uid)) == 1


async def test_a_used_link_stays_used_after_its_run(world: World, uid: str) -> None:
    link = path(world.store, uid, "seen", SOON)
    assert (await world.ask(link, "POST")).status == 202
    await world.finish(uid)
    assert (await world.ask(link, "POST")).status == 409
    ended = await world.ask(path(world.store, uid, "approve", SOON), "POST", body=b"{}")
    assert (ended.status, ended.code) == (410, "requestError.gone")
    assert ended.message == "This link is no longer needed: its run has ended"


async def test_the_links_of_a_cancelled_run_are_gone(world: World, uid: str) -> None:
    await world.store.runs.cancel(uid, "test")
    reply = await world.ask(path(world.store, uid, "seen", SOON), "POST")
    assert (reply.status, reply.message) == (410, "This link is no longer needed: its run was cancelled")


async def test_an_expired_link_is_gone(world: World, uid: str) -> None:
    link = path(world.store, uid, "seen", int(time.time()) - 1)
    for reply in (await world.ask(link), await world.ask(link, "POST")):
        assert (reply.status, reply.message) == (410, "This link has expired")
    assert await world.store.call("EXISTS", f"{keys.LINK}{uid}:seen") == 0


async def test_a_forged_link_is_unknown(world: World, uid: str) -> None:
    link = path(world.store, uid, "seen", SOON)
    other = path(world.store, str(int(uid) + 1), "seen", SOON)
    forged = [
        link[:-1] + ("A" if link[-1] != "A" else "B"),
        link.replace(".seen.", ".approve."),
        link.replace(f".{SOON}.", f".{SOON + 1}."),
        link.replace(uid, str(int(uid) + 1)),
        link + "A",
        link.rsplit(".", 1)[0],
        "/v1/links/",
        "/v1/links/x",
    ]
    for each in forged:
        reply = await world.ask(each, "POST")
        assert (reply.status, reply.message) == (404, "There is no such link"), each
    assert (await world.ask(forged[0], headers=BROWSER)).body.startswith(b"<!doctype html>")
    assert (await world.ask(other)).status == 410
    assert await events(world.store, uid) == []


async def test_a_link_without_a_schema_takes_no_data(world: World, uid: str) -> None:
    link = path(world.store, uid, "seen", SOON)
    reply = await world.ask(link, "POST", {"content-type": "application/json"}, b'{"a": 1}')
    assert (reply.status, reply.message) == (400, "This link takes no data: send an empty body, or {}")
    large = await world.ask(link, "POST", {}, b"x" * 70_000)
    assert large.status == 413
    assert (await world.ask(link, "POST", {"content-type": "application/json"}, b"{}")).status == 202


async def test_an_event_waits_for_a_run_that_does_not_listen_yet(world: World) -> None:
    (uid,) = await start(world.store, await publish_links(world.store))
    assert (await world.ask(path(world.store, uid, "seen", SOON), "POST")).status == 202
    await listen(world.store, {7: wanting("seen")})
    (event,) = await events(world.store, uid)
    assert event["type"] == "iogate.link.seen"
    assert await world.store.call("HGET", f"{keys.LINK}{uid}:seen", "event") is None


async def test_without_a_store_nothing_is_used(world: World, uid: str) -> None:
    link = path(world.store, uid, "seen", SOON)
    world.live.store = None
    assert (await world.ask(link, "POST")).status == 503
