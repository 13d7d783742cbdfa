"""Operators make batches over HTTP: a dry run, limits by role, progress, stop and continue."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iogate.operators.batches import batches
from iogate.operators.batches.batch_execution import BatchExecutor
from tests.gateway.driver import Reply, World
from tests.gateway.operators.conftest import bearer, refusal
from tests.operators.test_batches import carried_out, faulted

FAULTED = {"api": "shop/order", "status": ["faulted"], "since": "1h"}


async def ask(world: World, body: Any, role: str = "operate", path: str = "", **more: str) -> Reply:
    given = bearer(role, content_type="application/json", **more)
    return await world.ask(f"/v1/batches{path}", "POST", given, json.dumps(body).encode())


async def show(world: World, id_: str) -> Any:
    reply = await world.ask(f"/v1/batches/{id_}", headers=bearer("read"))
    assert reply.status == 200
    return reply.json


async def activity(world: World) -> Any:
    return (await world.ask("/v1/activity", headers=bearer("read"))).json["activity"]


async def test_a_batch_is_previewed_made_stopped_and_continued(operated: World) -> None:
    uids = await faulted(operated.store, 60)
    dry = await ask(operated, {"action": "retry", "filter": FAULTED, "dry_run": True})
    assert (dry.status, dry.json["count"], dry.json["workers"]) == (200, 60, 0)
    assert [each["uid"] for each in dry.json["sample"]] == uids[:10]
    assert await activity(operated) == []
    body = {"action": "retry", "filter": FAULTED, "expected": 60, "reason": "the shop was down"}
    made = await ask(operated, body, idempotency_key="k1")
    assert (made.status, made.json["state"], made.json["count"]) == (202, "running", 60)
    again = await ask(operated, body, idempotency_key="k1")
    assert (again.json["id"], again.headers["idempotent-replayed"]) == (made.json["id"], "true")
    id_ = made.json["id"]
    await carried_out(operated.store, steps=1)
    stopped = await operated.ask(f"/v1/batches/{id_}?reason=enough", "DELETE", bearer("operate"))
    assert (stopped.status, stopped.json["state"], stopped.json["changed"]) == (200, "stopped", 50)
    assert (await show(operated, id_))["state"] == "stopped"
    proceeded = await ask(operated, {"reason": "go on"}, path=f"/{id_}/continue")
    assert (proceeded.status, proceeded.json["state"]) == (200, "running")
    await carried_out(operated.store)
    done = await show(operated, id_)
    assert (done["state"], done["changed"], done["refused"], done["left"]) == ("done", 60, 0, 0)
    listed = (await operated.ask("/v1/batches", headers=bearer("read"))).json
    assert ([each["id"] for each in listed["batches"]], listed["nextCursor"]) == ([id_], None)
    entries = [(each["action"], each["target"]["ids"], each["reason"]) for each in await activity(operated)]
    assert entries == [
        ("batches.continue", [id_], "go on"),
        ("batches.stop", [id_], "enough"),
        ("batches.create", [id_], "the shop was down"),
    ]
    assert (await activity(operated))[-1]["message"] == f"batch {id_}: retried 60 of 60"


async def test_a_repetition_with_the_key_of_a_lost_response_makes_no_second_batch(operated: World) -> None:
    """As after the death of the gateway that made it."""
    await faulted(operated.store, 2)
    body = {"action": "retry", "filter": FAULTED, "reason": "r"}
    first = await ask(operated, body, idempotency_key="k1")
    await carried_out(operated.store)
    for key in await operated.store.call("KEYS", "iogate:reply:*"):
        await operated.store.call("DEL", key)
    again = await ask(operated, body, idempotency_key="k1")
    assert (again.json["id"], again.json["state"]) == (first.json["id"], "done")


async def test_the_number_and_the_role_are_checked(operated: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await faulted(operated.store, 3)
    body = {"action": "retry", "filter": FAULTED, "reason": "r"}
    assert refusal(await ask(operated, body | {"expected": 5})) == (
        409,
        "requestError.conflict",
        "3 runs match now, and 5 were expected: nothing was changed; look at the runs again, and expect "
        "their present number",
    )
    monkeypatch.setattr(batches, "OPERATE_MOST", 2)
    status, code, message = refusal(await ask(operated, body))
    assert (status, code) == (403, "requestError.forbidden")
    assert message.startswith(
        "a batch of 3 runs takes the role admin; operator operateer has the role operate"
    )
    assert (await ask(operated, body, "admin")).status == 202
    assert (await ask(operated, body, "read")).status == 403
    assert [(each["action"], each["outcome"]) for each in await activity(operated)] == [
        ("batches.create", "started"),
        ("batches.create", "refused"),
        ("batches.create", "refused"),
    ]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"action": "retry", "filter": FAULTED}, "The member reason of the body is missing"),
        (
            {"action": "retry", "filter": FAULTED, "dry_run": False},
            "The member reason of the body is missing",
        ),
        ({"action": "retry", "dry_run": True}, "give either a filter, or the uids of runs"),
        ({"action": "drop", "uids": ["1"], "dry_run": True}, "The member action of the body must be one of"),
        ({"action": "retry", "uids": ["x"], "dry_run": True}, "must be the uid of a run"),
        ({"action": "retry", "filter": {"stauts": ["faulted"]}, "dry_run": True}, 'did you mean "status"'),
        ({"action": "retry", "filter": {}, "dry_run": True}, "the filter is empty"),
        (
            {"action": "retry", "filter": {"status": ["completed"]}, "dry_run": True},
            "status completed: only faulted runs can be retried",
        ),
    ],
)
async def test_an_invalid_batch_is_refused(operated: World, body: Any, says: str) -> None:
    reply = await ask(operated, body)
    assert (reply.status, reply.code) == (400, "requestError.invalidParams")
    assert says in reply.message


async def test_named_runs_are_cancelled(operated: World) -> None:
    uids = await faulted(operated.store, 1)
    await BatchExecutor(operated.store, "w").step()
    made = await ask(operated, {"action": "cancel", "uids": uids, "reason": "r"})
    await carried_out(operated.store)
    shown = await show(operated, made.json["id"])
    assert shown["refusals"] == [{"uid": uids[0], "message": f"run {uids[0]} has ended already: it faulted"}]
    unknown = await operated.ask("/v1/batches/0123456789ab", headers=bearer("read"))
    assert refusal(unknown)[0::2] == (
        404,
        "no batch 0123456789ab; a batch is deleted seven days after its last change",
    )
