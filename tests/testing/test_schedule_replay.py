"""Debug cases of schedules: ticks, events that start a run, mocks, expectations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from iogate import documents
from iogate.documents.dsl.metadata import ScheduleCase
from iogate.errors import ExpectationFailed, NotFound
from iogate.testing import Harness, Ticked, replay_schedule

ROOT = Path(__file__).parents[2]
WORKFLOW = """
document:
  {{dsl: 1.0.3, namespace: t, name: {name}, version: 1.0.0, metadata: {{iogate: {{timezone: {zone}}}}}}}
timeout: {{after: PT1M}}
schedule: {schedule}
do:
{tasks}
"""
NOTE = "- note: {set: {at: '${ $workflow.startedAt.iso8601 }', input: '${ $workflow.input }'}}"
WORKFLOWS = {
    "daily": ("{cron: '0 6 * * mon-fri'}", NOTE),
    "beat": ("{every: PT5M}", NOTE),
    "chain": (
        "{after: PT5M}",
        "- pay: {call: http, with: {method: get, endpoint: https://pay.example.com/x}}",
    ),
    "order": (
        "{on: {all: [{with: {type: placed, data: '${ .n > 0 }'}, correlate: {id: {from: .data.id}}},"
        " {with: {type: paid}, correlate: {id: {from: .data.id}}}]}}",
        "- seen: {set: {types: '${ [.[].type] }', ids: '${ [.[].data.id] }'}, export: {as: '${ . }'}}\n"
        "- hear: {if: '${ $context.ids == [7, 7] }', listen: {to: {one: {with: {type: sent}}}},"
        " output: {as: '${ $context + {sent: .[0].n} }'}}",
    ),
    "raw": ("{on: {one: {with: {type: placed}}}, read: data}", NOTE),
}


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Harness:
    root = tmp_path_factory.mktemp("schedules")
    (root / "workflows.d").mkdir()
    for name, (schedule, tasks) in WORKFLOWS.items():
        text = WORKFLOW.format(name=name, zone="Europe/Berlin", schedule=schedule, tasks=tasks)
        (root / f"workflows.d/{name}.yaml").write_text(text)
    return Harness.load(root)


async def tick(harness: Harness, name: str, **case: Any) -> Ticked:
    return await replay_schedule(harness, f"t/{name}", ScheduleCase.model_validate({"name": "case", **case}))


@pytest.mark.parametrize(
    ("name", "at", "moment"),
    [
        ("daily", "2026-03-30T06:00:00+02:00", "2026-03-30T04:00:00.000Z"),
        ("daily", None, "2026-01-01T05:00:00.000Z"),
        ("beat", "2031-05-06T07:08:09.123Z", "2031-05-06T07:08:09.123Z"),
        ("beat", "1999-12-31T23:59:59Z", "1999-12-31T23:59:59.000Z"),
        ("beat", None, "2026-01-01T00:00:00.000Z"),
    ],
)
async def test_a_tick_starts_the_workflow_at_its_time_without_input(
    harness: Harness, name: str, at: str | None, moment: str
) -> None:
    given = {} if at is None else {"at": at}
    ticked = await tick(harness, name, **given, expect={"output": {"at": moment, "input": {}}})
    assert ticked.failures == ()


async def test_mocks_and_expectations_work_as_in_other_cases(harness: Harness) -> None:
    paid = {"/do/0/pay": {"output": {"paid": True}, "expectRequest": {"path": "/x"}}}
    assert (await tick(harness, "chain", mocks=paid, expect={"output": {"paid": True}})).failures == ()
    paid["/do/0/pay"]["expectRequest"] = {"path": "/y"}
    assert (await tick(harness, "chain", mocks=paid, expect={"output": {"paid": False}})).failures == (
        "output.paid: expected false, got true",
        '/do/0/pay: request.path: expected "/y", got "/x"',
    )
    down = {"/do/0/pay": {"error": {"type": "communication", "status": 503, "detail": "down"}}}
    assert (await tick(harness, "chain", mocks=down, expect={"error": {"status": 503}})).failures == ()
    assert (await tick(harness, "chain", mocks=down)).failures == (
        'status: expected completed, got faulted: task "pay": down',
    )
    with pytest.raises(ExpectationFailed, match="/do/0/pay calls out"):
        await tick(harness, "chain")


def event(kind: str, identity: int, n: int = 1, **more: Any) -> dict[str, Any]:
    return {"type": kind, "data": {"id": identity, "n": n}, **more}


async def test_events_start_the_run_by_the_filters_of_the_schedule(harness: Harness) -> None:
    """Two orders with interleaved events: the complete one is started, with its own events."""
    events = [
        event("placed", 1),
        event("placed", 2, n=0),
        event("paid", 3),
        event("placed", 2),
        event("paid", 2),
    ]
    ticked = await tick(
        harness, "order", events=events, expect={"output": {"types": ["placed", "paid"], "ids": [2, 2]}}
    )
    assert ticked.failures == ()


async def test_remaining_events_arrive_when_the_run_waits_for_them(harness: Harness) -> None:
    events = [event("placed", 7), event("paid", 7), event("sent", 7, n=3)]
    ticked = await tick(harness, "order", events=events, expect={"output": {"ids": [7, 7], "sent": 3}})
    assert ticked.failures == ()
    ticked = await tick(harness, "order", events=events[:2], expect={"error": {"type": "timeout"}})
    assert ticked.failures == ()


async def test_the_schedule_selects_the_form_of_the_input(harness: Harness) -> None:
    expect = {"output": {"input": [{"id": 1, "n": 1}], "at": "2026-04-01T12:00:00.000Z"}}
    ticked = await tick(harness, "raw", at="2026-04-01T12:00:00Z", events=[event("placed", 1)], expect=expect)
    assert ticked.failures == ()


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([event("placed", 1, n=0), event("sent", 1)], "no event fits"),
        ([event("placed", 1), event("paid", 2)], "more events are needed"),
        ([], "no event fits"),
    ],
)
async def test_events_that_start_no_run_fail_the_case(
    harness: Harness, events: list[dict[str, Any]], why: str
) -> None:
    ticked = await tick(harness, "order", events=events, expect={"status": "faulted"})
    assert (ticked.outcome, ticked.failures) == (None, (f"no run is started: {why}",))


async def test_cases_that_cannot_be_replayed_are_refused(harness: Harness) -> None:
    with pytest.raises(NotFound, match=r"^no schedule of t/none; there are: t/beat, t/chain"):
        await tick(harness, "none")
    with pytest.raises(ExpectationFailed, match=r"^event 2 of the case is no CloudEvent: "):
        await tick(harness, "order", events=[event("placed", 1), event("paid", 1, time="noon")])


async def test_the_example_of_the_docs_passes(tmp_path: Path) -> None:
    page = (ROOT / "docs/reference/events.md").read_text()
    section = page.partition("### Debug cases of a schedule\n")[2]
    found = re.search(r"(?ms)^```yaml\n(.*?)^```", section)
    assert found is not None
    (tmp_path / "workflows.d").mkdir()
    (tmp_path / "workflows.d/report.yaml").write_text(found[1])
    harness = Harness.load(tmp_path)
    (document,) = documents.load(tmp_path).workflows
    assert len(document.model.cases) == 2
    for case in document.model.cases:
        assert (await replay_schedule(harness, "shop/report", case)).failures == (), case.name
