"""A run is visible only with credentials of its API or with its signed link."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Literal

import pytest

from iogate.auth.model import AnyAuth, NoAuth, StoredAuth
from iogate.compiler.revision import Limits
from iogate.gateway.authentication.run_links import Links
from iogate.store.runs import presentation
from iogate.store.runs.leases import Commit, TaskRow
from iogate.timing.clock import StoreClock
from tests.gateway.driver import OTHER, TOKEN, World, api, until
from tests.keys import LINK_KEY

RIGHT = {"token": "123456"}


async def test_a_run_is_shown_in_the_form_of_the_contract(world: World) -> None:
    number = await world.publish(api("a/b", TOKEN))
    uid = (await world.call("a/b", b'{"sku":"A-1","password":"geheim","deep":[{"apiKey":"k"}]}', **RIGHT)).uid
    claim = await world.claim(uid)
    row = TaskRow(
        reference="/do/0/charge",
        name="charge",
        status="completed",
        started_at_ms=claim.created_at_ms,
        ended_at_ms=claim.created_at_ms + 5,
    )
    commit = Commit(
        uid=uid, token=claim.token, seq=claim.seq + 1, move="end", status="completed", tasks=[row]
    )
    await world.store.leases.commit([commit])
    reply = await world.ask(f"/v1/runs/{uid}", headers=RIGHT)
    assert reply.status == 200
    assert reply.headers["cache-control"] == "no-store"
    run = reply.json
    names = "uid status api workflow revision createdAt startedAt endedAt attempt caller input output error"
    assert set(run) == {*names.split(), "waitingFor", "tasks"}
    assert (run["uid"], run["status"], run["api"], run["revision"]) == (uid, "completed", "a/b", number)
    assert (run["workflow"], run["caller"], run["attempt"]) == ("test/echo:1", "token", 1)
    assert run["input"] == {"sku": "A-1", "password": "[redacted]", "deep": [{"apiKey": "[redacted]"}]}
    assert (run["output"], run["error"], run["waitingFor"]) == (None, None, None)
    assert run["createdAt"].endswith("Z")
    assert run["createdAt"] <= run["startedAt"] <= run["endedAt"]
    (task,) = run["tasks"]
    assert (task["name"], task["reference"], task["status"]) == ("charge", "/do/0/charge", "completed")
    assert task["startedAt"].endswith("Z")
    assert task["attempt"] == 1


async def test_a_run_shows_the_cause_of_its_wait(world: World) -> None:
    await world.publish(api("a/b", limits=Limits(running=1)))
    first, second = (await world.call("a/b")).uid, (await world.call("a/b")).uid
    shown = [(await world.ask(f"/v1/runs/{uid}")).json["waitingFor"] for uid in (first, second)]
    assert shown == [{"kind": kind, "task": None, "until": None} for kind in ("queue", "limit")]
    claim = await world.claim(first)
    assert (await world.ask(f"/v1/runs/{first}")).json["waitingFor"] is None
    parked = Commit(
        uid=first,
        token=claim.token,
        seq=claim.seq + 1,
        move="park",
        status="waiting",
        due_ms=2_000_000_000_000,
        waiting_for=b'{"kind":"timer","task":"/do/0/pause","until_ms":2000000000000}',
    )
    await world.store.leases.commit([parked])
    assert (await world.ask(f"/v1/runs/{first}")).json["waitingFor"] == {
        "kind": "timer",
        "task": "/do/0/pause",
        "until": "2033-05-18T03:33:20.000Z",
    }


async def test_a_faulted_run_shows_its_error_with_code_and_message(world: World) -> None:
    await world.publish(api("a/b"))
    uid = (await world.call("a/b")).uid
    error = {"type": "https://x/errors/timeout", "status": 408, "title": "Too late"}
    process = {"code": 3, "stderr": "Traceback"}
    own = {"process": process, "sentTo": "http://10.0.0.7:8080", "responseExcerpt": "no such card"}
    await world.finish(uid, "faulted", error=json.dumps({**error, **own}).encode())
    shown = (await world.ask(f"/v1/runs/{uid}")).json["error"]
    assert shown == error | {"code": "timeout", "message": "Too late"}, "the rest is no caller's"
    run = await world.store.runs.show(uid)
    assert run is not None
    found = presentation.describe(run, limited=False, operator=True)["error"]
    assert found == {**shown, **own}, "but the operators'"


@pytest.mark.parametrize("path", ["", "/events", "/cancel"])
async def test_a_run_is_visible_only_with_credentials_of_its_api_or_its_link(world: World, path: str) -> None:
    await world.publish(api("a/b", TOKEN), api("o/o", OTHER))
    started = await world.call("a/b", **RIGHT)
    uid, signed = started.uid, started.headers["location"].partition("?")[2]
    method = "POST" if path == "/cancel" else "GET"
    target = f"/v1/runs/{uid}{path}"

    async def status(query: str = "", **headers: str) -> tuple[int, str]:
        reply = await world.ask(target + query, method, headers)
        return reply.status, reply.code

    assert await status() == (404, "requestError.notFound")
    assert await status(token="other") == (404, "requestError.notFound")
    assert await status(token="nobody's") == (404, "requestError.notFound")
    assert await status("?sig=") == (401, "requestError.unauthorized")
    assert await status("?sig=AAAA", **RIGHT) == (401, "requestError.unauthorized")
    other = Links("another key").location(uid, 2**32).decode().partition("?")[2]
    assert await status(f"?{other}") == (401, "requestError.unauthorized")
    expired = Links(LINK_KEY).location(uid, 1).decode().partition("?")[2]
    assert await status(f"?{expired}") == (401, "requestError.unauthorized")
    if path != "/events":
        opening: list[tuple[str, dict[str, str]]] = [("", RIGHT)]
        if path != "/cancel":
            opening.append((f"?{signed}", {}))
        for query, headers in opening:
            reply = await world.ask(target + query, method, headers)
            assert reply.status == (202 if path == "/cancel" else 200)
            assert reply.json["uid"] == uid


@pytest.mark.parametrize("auth", [NoAuth(), TOKEN])
async def test_a_link_cancels_only_if_its_call_asked_for_that(public_world: World, auth: StoredAuth) -> None:
    await public_world.publish(api("a/b", auth))
    for prefer in ("", "wait=5", "link=read", "link=cancelled", "nolink=cancel"):
        started = await public_world.call("a/b", prefer=prefer, **RIGHT)
        assert "preference-applied" not in started.headers
        path, _, signed = started.headers["location"].partition("?")
        reply = await public_world.ask(f"{path}/cancel?{signed}", "POST")
        assert (reply.status, reply.code) == (403, "requestError.forbidden")
        assert reply.message == (
            "This link only reads the run: a call with the header Prefer: link=cancel gets one that cancels "
            "it, and the credentials of the API do, too"
        )
        assert (await public_world.ask(started.headers["location"])).json["status"] == "pending"
    for prefer in ("link=cancel", "respond-async, LINK=cancel", 'link="cancel"; x=1'):
        started = await public_world.call("a/b", prefer=prefer, **RIGHT)
        assert started.headers["preference-applied"] == "link=cancel"
        path, _, signed = started.headers["location"].partition("?")
        assert (await public_world.ask(started.headers["location"])).json["status"] == "pending"
        assert (await public_world.ask(f"{path}/cancel?{signed}", "POST")).status == 202


async def test_a_read_link_does_not_limit_the_rights_of_credentials(public_world: World) -> None:
    await public_world.publish(api("a/b", TOKEN))
    started = await public_world.call("a/b", **RIGHT)
    path, _, signed = started.headers["location"].partition("?")
    assert (await public_world.ask(f"{path}/cancel?{signed}", "POST", {"token": "x"})).status == 403
    assert (await public_world.ask(f"{path}/cancel?{signed}", "POST", RIGHT)).status == 202


@pytest.mark.parametrize("ahead_s", [-86_400.0, 86_400.0])
async def test_links_expire_by_the_clock_of_the_store(
    world: World, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    """Whatever a gateway's own clock says, when the link is made and when it is used."""
    await world.publish(api("a/b", retention_s=3600.0))
    now_ns = time.time_ns
    monkeypatch.setattr(time, "time", lambda: now_ns() / 1e9 + ahead_s)
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + int(ahead_s * 1e9))
    world.live.clock = StoreClock()
    world.live.store = None
    refreshing = asyncio.create_task(world.refresher.run())
    try:
        await until(lambda: _reached(world))
        location = (await world.call("a/b")).headers["location"]
        assert (await world.ask(location)).status == 200
        sig = location.partition("sig=")[2]
        expires_s = int.from_bytes(base64.urlsafe_b64decode(sig + "=" * (-len(sig) % 4))[:5], "big")
        assert abs(expires_s - 3600 - await world.store.now_ms() / 1000) < 30
    finally:
        refreshing.cancel()
        await asyncio.gather(refreshing, return_exceptions=True)
        await world.refresher.close()


async def _reached(world: World) -> bool:
    return world.live.store is not None


NO_CREDENTIALS: list[tuple[str, str]] = []
TWICE = [("token", "123456"), ("token", "123456")]


@pytest.mark.parametrize("path", ["", "/events", "/cancel"])
@pytest.mark.parametrize("headers", [NO_CREDENTIALS, [("token", "other")], [("user", "a")], TWICE])
async def test_a_caller_without_access_cannot_tell_whether_a_run_exists(
    world: World, path: str, headers: list[tuple[str, str]]
) -> None:
    await world.publish(api("a/b", TOKEN), api("o/o", OTHER))
    uid = (await world.call("a/b", **RIGHT)).uid
    method = "POST" if path == "/cancel" else "GET"
    there = await world.ask(f"/v1/runs/{uid}{path}", method, headers)
    nowhere = await world.ask(f"/v1/runs/1{path}", method, headers)
    assert (there.status, there.body) == (nowhere.status, nowhere.body) == (404, there.body)
    assert there.message == (
        "There is no such run, or it takes the credentials of its API or its signed link to see it"
    )


async def test_a_run_of_a_deleted_api_is_visible_only_with_its_link(world: World) -> None:
    await world.publish(api("a/b", TOKEN), api("o/o"))
    started = await world.call("a/b", **RIGHT)
    await world.publish(api("o/o"))
    assert (await world.ask(f"/v1/runs/{started.uid}", headers=RIGHT)).status == 404
    assert (await world.ask(started.headers["location"])).status == 200


async def test_an_open_apis_run_shows_everything_on_loopback(world: World) -> None:
    await world.publish(api("a/b"))
    uid = (await world.call("a/b", b'{"sku":1}')).uid
    assert (await world.ask(f"/v1/runs/{uid}")).json["input"] == {"sku": 1}


async def test_an_open_apis_run_shows_status_and_times_elsewhere(public_world: World) -> None:
    either = AnyAuth(any=(NoAuth(), TOKEN))
    await public_world.publish(api("a/b"), api("e/e", either))
    started = await public_world.call("a/b", b'{"sku":1}')
    shown = (await public_world.ask(f"/v1/runs/{started.uid}")).json
    assert set(shown) == {"uid", "status", "createdAt", "startedAt", "endedAt"}
    for path, method in (("/events", "GET"), ("/cancel", "POST")):
        assert (await public_world.ask(f"/v1/runs/{started.uid}{path}", method)).status == 404
    assert (await public_world.ask(started.headers["location"])).json["input"] == {"sku": 1}
    uid = (await public_world.call("e/e", **RIGHT)).uid
    assert "input" not in (await public_world.ask(f"/v1/runs/{uid}")).json
    assert "input" in (await public_world.ask(f"/v1/runs/{uid}", headers=RIGHT)).json


@pytest.mark.parametrize("uid", ["0", "x", "1" * 20, "-1", "1.0", "\u0661", "1%00", "iogate:live"])
async def test_an_invalid_uid_is_a_404(world: World, uid: str) -> None:
    await world.publish(api("a/b"))
    for path, method in (("", "GET"), ("/events", "GET"), ("/cancel", "POST")):
        reply = await world.ask(f"/v1/runs/{uid}{path}", method)
        assert (reply.status, reply.code) == (404, "requestError.notFound")


async def test_wait_delays_the_response_until_the_end(world: World) -> None:
    await world.publish(api("a/b"))
    uid = (await world.call("a/b")).uid
    assert (await world.ask(f"/v1/runs/{uid}?wait=0")).json["status"] == "pending"
    waiting = asyncio.create_task(world.ask(f"/v1/runs/{uid}?wait=1000"))
    await asyncio.sleep(0)
    await world.finish(uid, output=b"[1]")
    reply = await waiting
    assert (reply.json["status"], reply.json["output"]) == ("completed", [1])
    assert (await world.ask(f"/v1/runs/{uid}?wait=60")).json["status"] == "completed"


@pytest.mark.parametrize("wait", ["x", "-1", "1.5", "", "1e3", "\u0661", "1" * 30])
async def test_an_invalid_wait_is_a_400(world: World, wait: str) -> None:
    await world.publish(api("a/b"))
    uid = (await world.call("a/b")).uid
    reply = await world.ask(f"/v1/runs/{uid}?wait={wait}")
    assert (reply.status, reply.code) == (400, "requestError.invalidParams")
    assert reply.message == "The query parameter wait must be a whole number of seconds from 0 to 60"


async def test_cancelling_is_a_202_and_of_an_ended_run_a_409(world: World) -> None:
    await world.publish(api("a/b"))
    uid = (await world.call("a/b")).uid
    for _ in range(2):
        reply = await world.ask(f"/v1/runs/{uid}/cancel", "POST")
        assert (reply.status, reply.json) == (202, {"uid": uid})
    run = (await world.ask(f"/v1/runs/{uid}")).json
    assert run["status"] == "cancelled"
    assert run["error"] == {
        "type": "about:blank",
        "status": 409,
        "title": "The run was cancelled",
        "detail": "its caller asked for it",
        "code": "cancelled",
        "message": "The run was cancelled: its caller asked for it",
    }
    done = (await world.call("a/b")).uid
    await world.finish(done)
    reply = await world.ask(f"/v1/runs/{done}/cancel", "POST")
    assert (reply.status, reply.code) == (409, "requestError.conflict")
    assert reply.message == "The run has ended: it is completed"


async def test_events_are_the_journal_so_far_then_live_then_the_end(world: World) -> None:
    await world.publish(api("a/b"))
    uid = (await world.call("a/b")).uid
    claim = await world.claim(uid)

    def step(seq: int, move: Literal["keep", "end"], line: bytes) -> Commit:
        status = "completed" if move == "end" else "running"
        return Commit(
            uid=uid,
            token=claim.token,
            seq=claim.seq + seq,
            move=move,
            status=status,
            journal=[line],
        )

    await world.store.leases.commit([step(1, "keep", b'{"at":1500000000123,"kind":"x"}')])
    following = asyncio.create_task(world.ask(f"/v1/runs/{uid}/events"))
    await asyncio.sleep(0)
    await world.store.leases.commit([step(2, "keep", b'{"n":2}')])
    for_operators = (
        b'{"kind":"process.output","detail":{"stream":"stderr","text":"hush"}}',
        b'{"kind":"task.restarted","name":"a","detail":{"worker":"host-1"}}',
        b'{"kind":"task.faulted","detail":{"error":{"status":500,"process":{"code":1,"stderr":"hush"},'
        b'"sentTo":"http://10.0.0.7:8080","responseExcerpt":"hush"}}}',
        b'{"kind":"task.interrupted","name":"a","detail":{"worker":"host-1"}}',
    )
    for number, line in enumerate(for_operators, 3):
        await world.store.leases.commit([step(number, "keep", line)])
    await world.store.leases.commit([step(7, "end", b'{"n":7}')])
    reply = await following
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["cache-control"] == "no-store"
    *journal, end, rest = reply.body.decode().split("\n\n")
    assert journal == [
        'id: 1\nevent: journal\ndata: {"at":"2017-07-14T02:40:00.123Z","kind":"x"}',
        'id: 2\nevent: journal\ndata: {"n":2}',
        'id: 4\nevent: journal\ndata: {"kind":"task.restarted","name":"a"}',
        'id: 5\nevent: journal\ndata: {"kind":"task.faulted","detail":{"error":{"status":500}}}',
        'id: 6\nevent: journal\ndata: {"kind":"task.interrupted","name":"a"}',
        'id: 7\nevent: journal\ndata: {"n":7}',
    ]
    assert end.startswith(f'event: end\ndata: {{"uid":"{uid}","status":"completed"')
    assert rest == ""
    again = await world.ask(f"/v1/runs/{uid}/events", headers={"last-event-id": "6"})
    assert again.body.decode().split("\n\n")[0] == 'id: 7\nevent: journal\ndata: {"n":7}'
