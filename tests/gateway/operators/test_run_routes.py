"""Operators show, follow and change runs over HTTP; callers keep their own view of the same paths."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from iogate.compiler.revision import Bundle, Revision, Workflow, digest_of
from iogate.operators.runs import run_deletion
from iogate.security.failure_limit import FAILURES
from iogate.store import keys
from iogate.store.connection.failures import StoreUnavailable
from iogate.store.revisions.revisions import Revisions
from iogate.store.runs.operations import RunOperations
from iogate.timing import moments
from tests.gateway.driver import OTHER, TOKEN, World, api
from tests.gateway.operators.conftest import bearer, refusal, token

LINE = b'{"at":1700000000000,"kind":"%s","reference":"/do/0/a"%s}'
INPUT = b'{"order":"A-1","password":"canary-in"}'


PROGRAM = {
    "document": {"dsl": "1.0.3", "namespace": "test", "name": "echo", "version": "1.0.0"},
    "do": [{"a": {"set": {"x": 1}}}],
}
DIGEST = digest_of(PROGRAM)


async def started(world: World, body: bytes = INPUT) -> str:
    served = msgspec.structs.replace(api("shop/order", TOKEN), program=DIGEST)
    workflow = Workflow(program=DIGEST)
    revision = Revision(apis={served.id: served}, workflows={served.workflow: workflow})
    await world.store.revisions.publish(
        Bundle(revision=revision, programs={DIGEST: json.dumps(PROGRAM).encode()})
    )
    await world.refresher.reload()
    return (await world.call("shop/order", body, token="123456")).uid


async def faulted(world: World) -> str:
    uid = await started(world)
    error = b'{"type":"x","status":500,"title":"t","process":{"code":1,"stderr":"for operators"}}'
    await world.finish(uid, "faulted", error=error)
    return uid


async def do(world: World, uid: str, verb: str, body: Any = None, role: str = "operate", **more: str) -> Any:
    given = bearer(role, content_type="application/json", **more)
    data = json.dumps({"reason": "because"} | (body or {})).encode()
    return await world.ask(f"/v1/runs/{uid}/{verb}", "POST", given, data)


async def activity(world: World) -> list[tuple[str, str, list[str], str | None]]:
    reply = await world.ask("/v1/activity", headers=bearer("read"))
    return [(e["action"], e["outcome"], e["target"]["ids"], e["message"]) for e in reply.json["activity"]]


async def test_an_operator_sees_the_whole_run_redacted(operated: World) -> None:
    uid = await started(operated)
    await operated.finish(uid, output=b'{"total":3,"token":"canary-out"}')
    shown = (await operated.ask(f"/v1/runs/{uid}", headers=bearer("read"))).json
    assert shown["input"] == {"order": "A-1", "password": "[redacted]"}
    assert shown["output"] == {"total": 3, "token": "[redacted]"}
    assert (shown["status"], shown["parent"], shown["children"]) == ("completed", None, [])
    assert shown["mergedCalls"] == 0
    with_data = (await operated.ask(f"/v1/runs/{uid}?data=true", headers=bearer("read"))).json
    assert with_data["recorded"] == []


async def test_a_large_run_is_redacted_too(operated: World) -> None:
    large = json.dumps({"items": ["x" * 50] * 2000, "password": "canary-in"}).encode()
    uid = await started(operated, large)
    await operated.finish(uid, output=large)
    reply = await operated.ask(f"/v1/runs/{uid}", headers=bearer("read"))
    assert b"canary-in" not in reply.body
    assert reply.json["input"]["password"] == reply.json["output"]["password"] == "[redacted]"


async def test_an_operator_sees_the_output_of_a_failed_process_and_a_caller_does_not(operated: World) -> None:
    uid = await faulted(operated)
    shown = (await operated.ask(f"/v1/runs/{uid}", headers=bearer("read"))).json
    assert shown["error"]["process"]["stderr"] == "for operators"
    own = await operated.ask(f"/v1/runs/{uid}", headers={"token": "123456"})
    assert own.status == 200
    assert b"for operators" not in own.body


async def test_callers_keep_their_responses(operated: World) -> None:
    uid = await started(operated)
    for headers in ({"token": "123456"}, {"authorization": "Bearer 123456"}):
        assert "children" not in (await operated.ask(f"/v1/runs/{uid}", headers=headers)).json
    assert (await operated.ask(f"/v1/runs/{uid}", headers={"token": token("read")})).status == 404
    cancelled = await operated.ask(f"/v1/runs/{uid}/cancel", "POST", {"token": "123456"})
    assert (cancelled.status, cancelled.json) == (202, {"uid": uid})
    assert await activity(operated) == [], "a caller is no operator"


async def test_guesses_on_the_paths_of_callers_count_too(operated: World) -> None:
    uid = await started(operated)
    operated.client = ("192.0.2.9", 1)
    guess = {"authorization": "Bearer guess"}
    replies = [await operated.ask(f"/v1/runs/{uid}", headers=guess) for _ in range(FAILURES + 1)]
    assert [reply.status for reply in replies] == [404] * FAILURES + [429]
    assert (await operated.ask(f"/v1/runs/{uid}", headers=bearer("read"))).status == 429
    own = {"authorization": "Bearer 123456"}
    assert (await operated.ask(f"/v1/runs/{uid}", headers=own)).status == 200, "a caller is not affected"


async def test_credentials_of_another_api_are_no_guess(operated: World) -> None:
    await operated.publish(api("shop/order", TOKEN), api("shop/other", OTHER))
    order = (await operated.call("shop/order", token="123456")).uid
    operated.client = ("192.0.2.9", 1)
    for headers, uid in (
        ({"authorization": "Bearer other"}, order),
        ({"authorization": "Bearer 123456"}, "1"),
    ):
        replies = [await operated.ask(f"/v1/runs/{uid}", headers=headers) for _ in range(FAILURES + 1)]
        assert {reply.status for reply in replies} == {404}
    assert (await operated.ask(f"/v1/runs/{order}", headers=bearer("read"))).status == 200


async def listed(world: World, query: str = "") -> Any:
    reply = await world.ask(f"/v1/runs{query}", headers=bearer("read"))
    assert reply.status == 200, reply.body
    return reply.json


async def test_runs_are_listed_by_filters_and_pages(operated: World) -> None:
    first = await started(operated)
    uids = [first, *[(await operated.call("shop/order", INPUT, token="123456")).uid for _ in range(4)]]
    await operated.store.runs.cancel(uids[1], "no")
    newest_first = uids[::-1]
    page = await listed(operated)
    assert [run["uid"] for run in page["runs"]] == newest_first
    assert (page["lookedBackTo"], page["nextCursor"]) == (None, None)
    assert "input" not in page["runs"][0]
    assert [run["uid"] for run in (await listed(operated, "?status=cancelled,faulted"))["runs"]] == [uids[1]]
    assert len((await listed(operated, "?status=cancelled&status=pending"))["runs"]) == 5
    assert (await listed(operated, "?since=2099-01-01"))["runs"] == []
    assert len((await listed(operated, "?api=shop/order&caller=token&revision=1&since=1h"))["runs"]) == 5
    assert (await listed(operated, "?caller="))["runs"] == []
    assert (await listed(operated, "?parent=7"))["runs"] == []
    seen: list[str] = []
    query = "?limit=2"
    while True:
        page = await listed(operated, query)
        seen += [run["uid"] for run in page["runs"]]
        if page["nextCursor"] is None:
            break
        query = f"?limit=2&cursor={page['nextCursor']}"
        await operated.call("shop/order", INPUT, token="123456")
    assert seen == newest_first, "runs that are added meanwhile move no page"


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("api=shop/ordr", 404, 'no API shop/ordr; did you mean "shop/order"?; '
            'list them with "iogate api list"'),
        ("where=order:A-1", 400, 'no live API declares the attribute "order"; declare it under `attributes` '
            "of the method, apply, and find the runs that are made then"),
        ("workflow=test/ecko", 404, 'no live workflow test/ecko; did you mean "test/echo"?; '
            'list them with "iogate workflow list"'),
        ("project=shp", 404, 'no project "shp" has a live revision; "iogate status" lists the projects'),
        ("status=failed", 400, "The query parameter status must be one or more of pending, running, "
            "waiting, suspended, cancelled, faulted, completed"),
        ("where=order", 400, "The query parameter where must be NAME:VALUE of an attribute"),
        ("limit=101", 400, "The query parameter limit must be a whole number from 1 to 100"),
        ("cursor=abc", 400, "the cursor is not one of a list of runs; "
            "pass nextCursor of the page before unchanged, or begin without a cursor"),
        ("stauts=faulted", 400, 'Unknown query parameter "stauts"; did you mean "status"?'),
    ],
)  # fmt: skip
async def test_a_wrong_filter_is_described(operated: World, query: str, status: int, message: str) -> None:
    await operated.publish(api("shop/order", TOKEN))
    reply = await operated.ask(f"/v1/runs?{query}", headers=bearer("read"))
    assert refusal(reply)[::2] == (status, message)


async def test_an_operator_waits_for_the_end_of_a_run(operated: World) -> None:
    uid = await started(operated)
    waiting = asyncio.ensure_future(operated.ask(f"/v1/runs/{uid}?wait=30", headers=bearer("read")))
    await operated.finish(uid)
    assert (await waiting).json["status"] == "completed"
    late = await operated.ask(f"/v1/runs/{uid}?wait=61", headers=bearer("read"))
    assert refusal(late)[2] == "The query parameter wait must be a whole number from 0 to 60"


async def test_a_signed_link_shows_what_it_shows_to_callers(operated: World) -> None:
    await started(operated)
    reply = await operated.call("shop/order", INPUT, token="123456")
    shown = await operated.ask(reply.headers["location"], headers=bearer("read"))
    assert shown.status == 200
    assert "children" not in shown.json


async def test_an_unknown_run_is_not_found(operated: World) -> None:
    await operated.publish()
    message = "no run 7; ended runs are deleted after the retention of their API"
    for path in ("/v1/runs/7", "/v1/runs/7/events"):
        reply = await operated.ask(path, headers=bearer("read"))
        assert refusal(reply) == (404, "requestError.notFound", message)
    for verb in ("cancel", "retry", "suspend", "resume", "redeliver"):
        assert refusal(await do(operated, "7", verb)) == (404, "requestError.notFound", message)
    assert {outcome for _, outcome, _, _ in await activity(operated)} == {"refused"}
    assert (await operated.ask("/v1/runs/x", headers=bearer("read"))).status == 404


async def test_a_run_is_cancelled_once(operated: World) -> None:
    uid = await started(operated)
    reply = await do(operated, uid, "cancel")
    assert (reply.status, reply.json) == (202, {"uid": uid, "outcome": "cancelled"})
    assert (await do(operated, uid, "cancel")).json == {"uid": uid, "outcome": "unchanged"}
    shown = (await operated.ask(f"/v1/runs/{uid}", headers=bearer("read"))).json
    assert shown["error"]["detail"] == "operateer: because"


async def test_a_leased_run_is_asked_to_end(operated: World) -> None:
    uid = await started(operated)
    await operated.claim(uid)
    assert (await do(operated, uid, "suspend")).json["outcome"] == "requested"
    assert (await do(operated, uid, "cancel")).json["outcome"] == "requested"
    assert refusal(await do(operated, uid, "suspend"))[2] == f"run {uid} is being cancelled"


async def prune(world: World, role: str = "admin", **given: Any) -> Any:
    body = json.dumps({"before": "0s", "reason": "the store is full"} | given).encode()
    return await world.ask("/v1/prune", "POST", bearer(role, content_type="application/json"), body)


async def test_ended_runs_are_deleted_in_parts(operated: World, monkeypatch: pytest.MonkeyPatch) -> None:
    uids = [await faulted(operated) for _ in range(3)]
    alive = await started(operated)
    only = {"api": "shop/order", "status": ["faulted"]}
    monkeypatch.setattr(run_deletion, "AT_ONCE", 2)
    monkeypatch.setattr(run_deletion, "COUNTED", 2)
    seen = (await prune(operated, filter=only, dry_run=True)).json
    assert (seen["count"], seen["complete"]) == (2, False)
    monkeypatch.setattr(run_deletion, "COUNTED", 10)
    seen = (await prune(operated, filter=only, dry_run=True)).json
    assert (seen["count"], seen["complete"]) == (3, True)
    assert [each["uid"] for each in seen["sample"]] == uids[::-1]
    assert await activity(operated) == []
    assert (await prune(operated, filter=only, before="1h")).json == {"pruned": 0, "complete": True}
    first, second, third = [(await prune(operated, filter=only)).json for _ in range(3)]
    assert (first, second, third) == (
        {"pruned": 2, "complete": False},
        {"pruned": 1, "complete": True},
        {"pruned": 0, "complete": True},
    )
    assert [run["uid"] for run in (await listed(operated))["runs"]] == [alive]
    action, outcome, ids, message = (await activity(operated))[2]
    assert (action, outcome, ids) == ("runs.prune", "done", uids[:0:-1])
    assert re.fullmatch(r"deleted 2: before=[-0-9T:.]+Z api=shop/order status=faulted", message or "")
    about = (await operated.ask(f"/v1/activity?target={uids[2]}", headers=bearer("read"))).json["activity"]
    assert [each["action"] for each in about] == ["runs.prune"]


async def test_a_deletion_that_continues_knows_a_workflow_without_runs(operated: World) -> None:
    """The first part may have deleted the last run by which it was known."""
    await started(operated)
    only = {"workflow": "shop/former"}
    status, _, message = refusal(await prune(operated, filter=only, dry_run=True))
    assert (status, message) == (404, 'no live workflow shop/former; list them with "iogate workflow list"')
    assert (await prune(operated, filter=only)).json == {"pruned": 0, "complete": True}


async def test_a_list_without_runs_reads_no_revision_that_the_gateway_serves(
    operated: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await started(operated)
    monkeypatch.setattr(Revisions, "load", None)
    for status, workflow in ((200, api("shop/order").workflow.partition(":")[0]), (404, "shop/none")):
        path = f"/v1/runs?workflow={workflow}&status=faulted"
        assert (await operated.ask(path, headers=bearer("read"))).status == status


@pytest.mark.parametrize(
    ("role", "given", "status", "message"),
    [
        ("operate", {}, 403, "This takes the role admin; operator operateer has the role operate"),
        ("admin", {"before": "soon"}, 400, f"The member before of the body must be {moments.FORMS}"),
        ("admin", {"reason": ""}, 400, "The member reason of the body must be a text of 1 to 500 characters"),
        (
            "admin",
            {"filter": {"status": ["waiting"]}},
            400,
            "The member filter.status of the body must be a list of one or more of cancelled, completed, "
            "faulted",
        ),
        (
            "admin",
            {"filter": {"api": "shop/ordre"}},
            404,
            'no API shop/ordre; did you mean "shop/order"?; list them with "iogate api list"',
        ),
    ],
)
async def test_a_wrong_deletion_is_refused(
    operated: World, role: str, given: Any, status: int, message: str
) -> None:
    await faulted(operated)
    reply = await prune(operated, role, **given)
    assert (reply.status, reply.message) == (status, message)


async def test_runs_are_deleted_on_a_full_store_also_with_a_key(operated: World) -> None:
    for _ in range(2):
        await faulted(operated)
    body = json.dumps({"before": "0s", "reason": "the store is full"}).encode()
    headers = bearer("admin", content_type="application/json", idempotency_key="k")
    await operated.store.call("CONFIG", "SET", "maxmemory", "1")
    try:
        reply = await operated.ask("/v1/prune", "POST", headers, body)
    finally:
        await operated.store.call("CONFIG", "SET", "maxmemory", "0")
    assert (reply.status, reply.json["pruned"]) == (200, 2), reply.body


async def test_the_activity_counts_what_was_deleted_before_an_error(
    operated: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        await faulted(operated)
    monkeypatch.setattr(run_deletion, "PART", 2)
    parts: list[int] = []
    delete = RunOperations.prune

    async def interrupted(self: RunOperations, uids: Any, before_ms: int) -> int:
        parts.append(len(uids))
        if len(parts) == 2:
            raise StoreUnavailable("connection lost")
        return await delete(self, uids, before_ms)

    monkeypatch.setattr(RunOperations, "prune", interrupted)
    assert (await prune(operated, filter={"api": "shop/order"})).status == 503
    (entry,) = (await operated.ask("/v1/activity", headers=bearer("read"))).json["activity"]
    assert (entry["outcome"], entry["target"]["count"]) == ("failed", 2)
    told = r"deleted at least 2 before an error: before=[-0-9T:.]+Z api=shop/order; "
    assert re.match(told, entry["message"])


async def test_a_run_is_suspended_and_resumed(operated: World) -> None:
    uid = await started(operated)
    assert (await do(operated, uid, "suspend")).json == {"uid": uid, "outcome": "suspended"}
    assert (await do(operated, uid, "resume")).json == {"uid": uid, "outcome": "resumed"}
    assert (await do(operated, uid, "resume")).json == {"uid": uid, "outcome": "unchanged"}
    assert [entry[0] for entry in await activity(operated)] == ["runs.resume", "runs.resume", "runs.suspend"]


async def test_a_faulted_run_is_retried_once_per_key(operated: World) -> None:
    uid = await faulted(operated)
    first = await do(operated, uid, "retry", idempotency_key="k")
    assert first.json == {"uid": uid, "outcome": "retried", "remarks": []}
    await operated.finish(uid, "faulted", error=b'{"type":"x","status":500}')
    again = await do(operated, uid, "retry", idempotency_key="k")
    assert (again.json, again.headers["idempotent-replayed"]) == (first.json, "true")
    shown = (await operated.ask(f"/v1/runs/{uid}", headers=bearer("read"))).json
    assert (shown["status"], shown["attempt"]) == ("faulted", 2), "the repetition did not retry again"
    assert (await do(operated, uid, "retry", idempotency_key="k2")).status == 200
    assert refusal(await do(operated, uid, "retry")) == (
        409,
        "requestError.conflict",
        f"run {uid} is still pending: only faulted runs can be retried",
    )


async def test_a_retry_whose_response_was_lost_is_made_once(operated: World) -> None:
    """The process died after the retry, before it kept the response."""
    uid = await faulted(operated)
    await do(operated, uid, "retry", idempotency_key="k")
    await operated.finish(uid, "faulted", error=b'{"type":"x","status":500}')
    _, replies = await operated.store.call("SCAN", 0, "MATCH", f"{keys.REPLY}*", "COUNT", 10_000)
    await operated.store.call("DEL", *replies)
    assert (await do(operated, uid, "retry", idempotency_key="k")).status == 200
    assert (await operated.ask(f"/v1/runs/{uid}", headers=bearer("read"))).json["attempt"] == 2


async def test_options_of_a_retry_are_checked(operated: World) -> None:
    uid = await faulted(operated)
    reply = await do(operated, uid, "retry", {"from": "do/1", "on": "old"})
    assert refusal(reply)[2] == (
        "The member from of the body must be the reference of a task, such as /do/2/charge; "
        "The member on of the body must be one of current"
    )
    assert refusal(await do(operated, uid, "retry", {"from": "/do/1"}))[:2] == (409, "requestError.conflict")


async def test_a_callback_is_sent_again_only_if_there_is_one(operated: World) -> None:
    uid = await started(operated)
    assert refusal(await do(operated, uid, "redeliver"))[2] == (
        f"run {uid} has not ended: its callback follows its end"
    )
    await operated.finish(uid)
    assert refusal(await do(operated, uid, "redeliver"))[2].startswith(f"run {uid} has no callback; ")


async def test_the_journal_is_streamed_with_the_entries_for_operators(operated: World) -> None:
    uid = await started(operated)
    written = LINE % (b"process.output", b',"detail":{"stream":"stderr","text":"for operators"}')
    journal = [LINE % (b"task.started", b""), written, LINE % (b"task.completed", b"")]
    await operated.finish(uid, journal=journal)
    path = f"/v1/runs/{uid}/events"
    whole = await operated.ask(path, headers=bearer("read"))
    assert whole.headers["content-type"].startswith("text/event-stream")
    assert b"for operators" in whole.body
    assert b"event: end" in whole.body
    own = await operated.ask(path, headers={"token": "123456"})
    assert b"for operators" not in own.body
    numbers = [line for line in whole.body.split(b"\n") if line.startswith(b"id: ")]
    rest = await operated.ask(path, headers=bearer("read", last_event_id=numbers[1][4:].decode()))
    assert [line for line in rest.body.split(b"\n") if line.startswith(b"id: ")] == numbers[2:]
    head = await operated.ask(path, "HEAD", bearer("read"))
    assert (head.status, head.body) == (200, b"")


async def test_no_token_is_in_logs_or_in_the_store(
    operated: World, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with caplog.at_level(logging.DEBUG):
        uid = await faulted(operated)
        for verb in ("cancel", "retry", "suspend", "resume", "redeliver"):
            await do(operated, uid, verb, {"reason": f"as {token('operate')[:4]}"})
    _, names = await operated.store.call("SCAN", 0, "COUNT", 100_000)
    for name in names:
        dumped: bytes = await operated.store.call("DUMP", name)
        assert token("operate").encode() not in dumped, name
    assert token("operate") not in caplog.text
