"""Routes of workflows, schedules and the status."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.compiler.revision import Bundle, Revision, Workflow, canonical, digest_of
from iogate.compiler.schedules import Schedule
from tests.gateway.driver import World, api
from tests.gateway.operators.conftest import bearer, refusal
from tests.gateway.operators.test_api_routes import read, send

DEFINITION: dict[str, Any] = {
    "document": {"dsl": "1.0.3", "namespace": "shop", "name": "report", "version": "1.0.0"},
    "do": [{"done": {"set": {"x": 1}}}],
}
PROGRAM = digest_of(DEFINITION)


@pytest.fixture
async def scheduled(operated: World) -> World:
    """A live revision with a schedule of each hour."""
    every = Schedule(kind="every", milliseconds=3_600_000, program=PROGRAM)
    revision = Revision(
        apis={"shop/report": api("shop/report")},
        workflows={
            "test/echo:1": Workflow(program="p1"),
            "shop/report:1.0.0": Workflow(program=PROGRAM, title="Report", schedule=every),
        },
    )
    programs = {"p1": b"{}", PROGRAM: canonical(DEFINITION)}
    await operated.store.revisions.publish(Bundle(revision=revision, programs=programs))
    await operated.refresher.reload()
    return operated


async def test_workflows_are_listed_and_shown(scheduled: World) -> None:
    listed = (await read(scheduled, "/v1/workflows")).json
    assert [(row["workflow"], row["title"]) for row in listed["workflows"]] == [
        ("shop/report:1.0.0", "Report"),
        ("test/echo:1", ""),
    ]
    for path in ("shop/report", "shop/report:1.0.0"):
        assert (await read(scheduled, f"/v1/workflows/{path}")).json["definition"] == DEFINITION
    unknown = await scheduled.ask("/v1/workflows/shop/reprot", headers=bearer("read"))
    assert refusal(unknown) == (
        404,
        "requestError.notFound",
        'no live workflow shop/reprot; did you mean "shop/report"?; list them with "iogate workflow list"',
    )


async def test_a_schedule_is_disabled_run_and_enabled(scheduled: World) -> None:
    (row,) = (await read(scheduled, "/v1/schedules")).json["schedules"]
    assert (row["schedule"], row["disabled"], len(row["nextTicks"])) == ("shop/report", None, 3)
    path = "/v1/schedules/shop/report"
    assert (await send(scheduled, f"{path}/disable", "POST", ttl="2h")).status == 200
    (row,) = (await read(scheduled, "/v1/schedules")).json["schedules"]
    assert (row["disabled"]["author"], row["disabled"]["reason"]) == ("operateer", "the shop is down")
    ran = await send(scheduled, f"{path}/run", "POST")
    uid = ran.json["runs"]["shop/report"]
    run = await scheduled.store.runs.show(uid)
    assert run is not None
    assert (run.caller, run.status) == ("operateer", "pending")
    assert (await send(scheduled, f"{path}/enable", "POST")).status == 200
    (row,) = (await read(scheduled, "/v1/schedules")).json["schedules"]
    assert (row["disabled"], row["lastRun"], row["lastStatus"]) == (None, uid, "pending")
    entries = (await read(scheduled, "/v1/activity?target=shop/report")).json["activity"]
    assert [(each["action"], each["message"]) for each in entries] == [
        ("schedules.enable", None),
        ("schedules.run", f"run {uid}"),
        ("schedules.disable", None),
    ]


async def test_the_reason_of_a_disabled_schedule_is_redacted(scheduled: World) -> None:
    path = "/v1/schedules/shop/report/disable"
    assert (await send(scheduled, path, "POST", reason="stocktaking, password=hunter2")).status == 200
    (row,) = (await read(scheduled, "/v1/schedules")).json["schedules"]
    assert row["disabled"]["reason"] == "stocktaking, password=[redacted]"


async def test_a_repeated_request_starts_one_run_also_if_its_gateway_died_before_the_response_was_kept(
    scheduled: World,
) -> None:
    key = "again"

    async def run() -> str:
        reply = await scheduled.ask(
            "/v1/schedules/shop/report/run",
            "POST",
            headers={**bearer("operate"), "idempotency-key": key, "content-type": "application/json"},
            body=b'{"reason": "now"}',
        )
        assert reply.status == 200, reply.body
        return str(reply.json["runs"]["shop/report"])

    first = await run()
    assert await run() == first
    # The claim of a gateway that died ends by itself, without a response.
    await scheduled.store.replies.release("operateer", key)
    assert await run() == first
    assert (await scheduled.store.runs.counts())["pending"] == 1
    key = "another"
    assert await run() != first


@pytest.mark.parametrize("action", ["enable", "disable", "run"])
async def test_an_unknown_schedule_is_not_found(scheduled: World, action: str) -> None:
    reply = await send(scheduled, f"/v1/schedules/shop/reprot/{action}", "POST")
    assert refusal(reply) == (
        404,
        "requestError.notFound",
        'no live schedule of shop/reprot; did you mean "shop/report"?; `iogate schedule list` shows the '
        "schedules of this project",
    )


async def test_the_status_is_that_of_the_command(scheduled: World) -> None:
    from iogate.operators import status
    from iogate.settings import Settings

    shown = (await read(scheduled, "/v1/status")).json
    told = await status.show(scheduled.store.of_project("default"), Settings())
    told["queue"] = shown["queue"]
    assert shown == told
    assert (shown["revision"], shown["runs"]["pending"], shown["project"]) == (1, 0, "default")
    assert list(shown["schedules"]) == ["shop/report:1.0.0"]
