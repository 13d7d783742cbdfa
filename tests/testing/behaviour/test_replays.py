"""Which runs can be replayed, what answers them, and how results are counted."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from iogate.auth.model import NoAuth
from iogate.compiler.revision import Api, Bundle, Revision, Workflow, canonical, digest_of
from iogate.errors import NotFound, WorkflowError
from iogate.store.runs.run_index import RunPage
from iogate.store.runs.views import RunView, Summary
from iogate.testing.behaviour import replays
from iogate.testing.behaviour.places import place_of
from iogate.testing.behaviour.replays import changes, replay_changes
from iogate.worker.recording import recorded_tasks
from tests.testing.behaviour.recorded import RecordedRun, recorded, replayed
from tests.testing.behaviour.workflows import http
from tests.worker.site import workflow

PLAIN = workflow("plain", {"a": {"set": {"n": "${ .n + 1 }"}}})
CALL = workflow("call", {"a": http("a", {"n": "${ .n }"})}, {"b": {"set": {"out": "${ .x }"}}})


def changed(definition: dict[str, Any], **tasks: Any) -> dict[str, Any]:
    new = copy.deepcopy(definition)
    for each in new["do"]:
        for name in each.keys() & tasks.keys():
            each[name] |= tasks[name]
    return new


async def test_a_run_that_reached_nothing_outside_needs_no_record() -> None:
    run = await recorded(PLAIN, {"n": 1}, lambda _: None, record="errors")
    result = await replayed(PLAIN, changed(PLAIN, a={"set": {"n": 5}}), [run])
    (found,) = result.findings
    assert (found.finding.kind, found.finding.pointer, found.runs) == ("output", "/do/0/a", (run.uid,))


async def test_a_run_without_its_record_is_not_replayed() -> None:
    run = await recorded(CALL, {"n": 1}, lambda _: {"x": 1}, record="errors")
    result = await replayed(CALL, CALL, [run])
    assert (result.replayed, result.skipped) == (0, {"no record": 1})


async def test_a_run_with_a_truncated_result_is_not_replayed() -> None:
    run = await recorded(CALL, {"n": 1}, lambda _: {"x": "y" * recorded_tasks.RESULT_BYTES})
    result = await replayed(CALL, CALL, [run])
    assert result.skipped == {"truncated record": 1}


async def test_a_run_with_an_incomplete_record_is_not_replayed() -> None:
    loop = workflow("loop", {"l": {"for": {"in": "${ [range(30)] }"}, "do": [{"a": http("a", 1)}]}})
    run = await recorded(loop, {}, lambda _: "y" * (recorded_tasks.RESULT_BYTES - 1_000))
    assert (await replayed(loop, loop, [run])).skipped == {"truncated record": 1}


async def test_a_redacted_value_in_a_request_is_no_alarm() -> None:
    passed_on = workflow("pass", {"a": http("login")}, {"b": http("b", {"token": "${ .token }", "n": 1})})
    run = await recorded(passed_on, {}, lambda _: {"token": "tok-1234", "user": "u"})
    assert "tok-1234" not in str(run.record)
    same = changed(passed_on, a={"metadata": {"note": "x"}})
    result = await replayed(passed_on, same, [run])
    assert (result.replayed, result.findings) == (1, ())


async def test_a_redacted_value_that_decides_prevents_the_replay() -> None:
    error = {"type": "https://e.example/t", "status": 400}
    decides = workflow(
        "decides",
        {"a": http("login")},
        {"s": {"if": '${ .token != "tok-1234" }', "raise": {"error": error}}},
    )
    run = await recorded(decides, {}, lambda _: {"token": "tok-1234"})
    assert run.status == "completed"
    assert (await replayed(decides, decides, [run])).skipped == {"redacted value": 1}


async def test_secrets_are_equal_placeholders_in_both_definitions() -> None:
    members = {"use": {"secrets": ["key", "login"], "authentications": {"shop": {"basic": {"use": "login"}}}}}
    call = http("a", {"key": "${ $secrets.key }"}, headers={"X-Signed": "${ $secrets.key | @base64 }"})
    call["with"]["endpoint"] = {"uri": call["with"]["endpoint"], "authentication": {"use": "shop"}}
    secretive = workflow("secretive", {"a": call}, **members)
    given = {"key": "s3cr3t-value", "login": {"username": "ann", "password": "pw-12345"}}
    run = await recorded(secretive, {}, lambda _: {"x": 1}, secrets=given)
    moved = copy.deepcopy(secretive)
    moved["do"].insert(0, {"before": {"set": {}}})
    result = await replayed(secretive, moved, [run])
    assert (result.replayed, result.findings) == (1, ())
    moved["do"][1]["a"]["with"]["body"]["more"] = 1
    (found,) = (await replayed(secretive, moved, [run])).findings
    assert (found.finding.pointer, found.finding.before, found.finding.detail) == (
        "/do/1/a",
        "/do/0/a",
        "body",
    )


async def test_a_run_that_a_secret_decides_is_not_replayed() -> None:
    decides = workflow(
        "decides",
        {
            "s": {
                "if": '${ $secrets.key != "s3cr3t-value" }',
                "raise": {"error": {"type": "https://e.example/t", "status": 400}},
            }
        },
        use={"secrets": ["key"]},
    )
    run = await recorded(decides, {}, lambda _: None, secrets={"key": "s3cr3t-value"})
    assert (await replayed(decides, decides, [run])).skipped == {"secret needed": 1}


async def test_times_are_those_of_the_recorded_run() -> None:
    timed = workflow(
        "timed",
        {"a": http("a")},
        {"nap": {"wait": {"seconds": 90}}},
        {
            "b": http(
                "b",
                {"at": "${ now }", "start": "${ $workflow.startedAt.iso8601 }", "id": "${ $workflow.id }"},
            )
        },
    )
    run = await recorded(timed, {}, lambda _: (2.5, {"x": 1}))
    moved = copy.deepcopy(timed)
    moved["do"].insert(0, {"before": {"set": "${ . }"}})
    result = await replayed(timed, moved, [run])
    assert (result.replayed, result.findings) == (1, ())


async def test_a_call_that_was_not_answered_in_time_is_not_answered_again() -> None:
    slow = workflow(
        "slow",
        {
            "t": {
                "try": [{"a": {**http("a"), "timeout": {"after": {"seconds": 5}}}}],
                "catch": {"do": [{"c": {"set": {"late": True}}}]},
            }
        },
        {"b": http("b", {"late": "${ .late }"})},
    )
    run = await recorded(
        slow, {}, lambda perform: (60.0 if perform.reference.endswith("a") else 0.1, {"x": 1})
    )
    assert run.status == "completed"
    result = await replayed(slow, changed(slow, b={"metadata": {"x": 1}}), [run])
    assert (result.replayed, result.findings) == (1, ())
    patient = copy.deepcopy(slow)
    del patient["do"][0]["t"]["try"][0]["a"]["timeout"]
    kinds = {
        each.finding.kind: each.finding.pointer for each in (await replayed(slow, patient, [run])).findings
    }
    assert kinds["stuck"] == "/do/0/t/try/0/a"


async def test_the_branch_that_won_wins_again() -> None:
    race = workflow(
        "race",
        {"r": {"fork": {"compete": True, "branches": [{"slow": http("slow")}, {"fast": http("fast")}]}}},
        {"b": http("b", {"by": "${ .by }"})},
    )
    run = await recorded(
        race,
        {},
        lambda perform: (
            {"slow": 9.0, "fast": 1.0}.get(perform.reference[-4:], 0.0),
            {"by": perform.reference[-4:]},
        ),
    )
    result = await replayed(race, changed(race, b={"metadata": {"x": 1}}), [run])
    assert (result.replayed, result.findings) == (1, ())


async def test_keys_and_ids_that_name_the_place_of_a_task_are_no_difference() -> None:
    told = workflow(
        "told",
        {"a": http("a", {"key": "${ $runtime.metadata.idempotencyKey }"})},
        {"e": {"emit": {"event": {"with": {"source": "/x", "type": "t"}}}}},
        {"b": http("b", {"event": "${ . }"})},
        {"f": {"emit": {"event": {"with": {"source": "/x", "type": "u"}}}}},
    )
    run = await recorded(told, {}, lambda _: 1)
    moved = copy.deepcopy(told)
    moved["do"].insert(0, {"before": {"set": "${ . }"}})
    result = await replayed(told, moved, [run])
    assert (result.replayed, result.findings) == (1, ())


async def test_an_error_is_answered_as_it_was() -> None:
    caught = workflow(
        "caught",
        {
            "t": {
                "try": [{"a": http("a")}],
                "catch": {
                    "as": "e",
                    "do": [{"c": {"set": {"status": "${ $e.status }", "body": "${ $e.response.body }"}}}],
                },
            }
        },
        {"b": http("b", {"all": "${ . }"})},
    )
    refusal = WorkflowError("communication", status=409, response={"body": {"why": "sold"}})
    run = await recorded(caught, {}, lambda perform: refusal if perform.reference.endswith("a") else 1)
    result = await replayed(caught, changed(caught, b={"metadata": {"x": 1}}), [run])
    assert (result.replayed, result.findings) == (1, ())


async def test_a_process_that_is_not_awaited_is_compared() -> None:
    detached = workflow("detached", {"p": {"run": {"shell": {"command": "log a"}, "await": False}}})
    run = await recorded(detached, {}, lambda _: None)
    other = changed(detached, p={"run": {"shell": {"command": "log b"}, "await": False}})
    (found,) = (await replayed(detached, other, [run])).findings
    assert (found.finding.kind, found.finding.pointer, found.finding.detail) == ("request", "/do/0/p", "code")
    (gone,) = (await replayed(detached, changed(detached, p={"if": "${ false }"}), [run])).findings
    assert (gone.finding.kind, gone.finding.pointer) == ("branch", "/do/0/p")


async def test_a_definition_that_does_not_end_is_counted_and_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iogate.testing.behaviour.trace.MOST_VISITS", 200)
    run = await recorded(PLAIN, {"n": 1}, lambda _: None)
    endless = changed(PLAIN, a={"then": "a"})
    assert (await replayed(PLAIN, endless, [run])).skipped == {"too long": 1}


async def test_replays_stop_at_their_limit() -> None:
    run = await recorded(PLAIN, {"n": 1}, lambda _: None)
    result = await replayed(PLAIN, PLAIN, [run, run], until=time.monotonic() - 1)
    assert (result.replayed, result.timed_out) == (0, True)


async def test_a_definition_that_cannot_be_loaded_is_an_error() -> None:
    with pytest.raises(NotFound, match="cannot load the definition"):
        await replayed({**PLAIN, "do": 5}, PLAIN, [])


@pytest.mark.parametrize(
    ("pointer", "place"),
    [
        ("/do/3/charge", "/do/charge"),
        ("/do/0/each/for/7/do/1/call", "/do/each/for/7/do/call"),
        ("/do/0/t/try/1/a", "/do/t/try/a"),
        ("/do/0/t/catch/do/1/a", "/do/t/catch/do/a"),
        ("/do/0/f/fork/branches/1/left", "/do/f/fork/branches/left"),
        ("/do/0/do/do/1/x", "/do/do/do/x"),
        ("/do/0/7/do/1/8", "/do/7/do/8"),
        ("/use/functions/3/do/0/a", "/use/functions/3/do/a"),
        ("/output", "/output"),
    ],
)
def test_a_place_has_names_and_iterations_only(pointer: str, place: str) -> None:
    assert place_of(pointer) == place


# Runs of a store.


class Stored:
    """Runs and definitions as a store has them."""

    def __init__(self, *runs: RecordedRun, **members: Any) -> None:
        self._runs = {run.uid: run for run in runs}
        self._members = members
        self.limits: list[int] = []

    async def search(
        self, *, api: str | None = None, workflow: str = "", statuses: Sequence[str] = (), limit: int = 50
    ) -> RunPage:
        assert (api, workflow) == ("test/a", "test/plain:1.0.0")
        assert set(statuses) == {"completed", "faulted", "cancelled"}
        self.limits.append(limit)
        summaries = [
            Summary(
                uid=run.uid,
                status=run.status,
                api="test/a",
                workflow=run.workflow,
                revision=1,
                caller="",
                attempt=1,
                created_at_ms=run.started_ms + number,
                started_at_ms=run.started_ms,
                ended_at_ms=run.started_ms,
            )
            for number, run in enumerate(self._runs.values())
        ]
        newest = sorted(summaries, key=lambda each: -each.created_at_ms)
        return RunPage(runs=newest[:limit], looked_back_to_ms=None)

    async def show(self, uid: str) -> RunView | None:
        run = self._runs[uid]
        members: dict[str, Any] = {
            "uid": uid,
            "status": run.status,
            "state": "end",
            "api": "test/a",
            "workflow": run.workflow,
            "program": digest_of(PLAIN),
            "revision": 1,
            "caller": "",
            "attempt": 1,
            "created_at_ms": run.started_ms,
            "started_at_ms": run.started_ms,
            "ended_at_ms": run.started_ms,
            "deadline_ms": None,
            "retention_s": 60.0,
            "input": run.input,
            "output": None,
            "error": None,
            "waiting_for": None,
            "cancel_reason": None,
            "worker": "",
            "deaths": 0,
            "tasks": (),
        }
        return RunView(**(members | self._members))

    async def recorded(self, uid: str) -> list[bytes]:
        return [recorded_tasks.encode(task) for task in self._runs[uid].record]

    async def program(self, digest: str) -> bytes:
        assert digest == digest_of(PLAIN)
        return canonical(PLAIN)


def revision_of(definition: dict[str, Any]) -> Revision:
    program = digest_of(definition)
    api = Api(id="test/a", workflow="test/plain:1.0.0", program=program, auth=NoAuth())
    return Revision(apis={api.id: api}, workflows={api.workflow: Workflow(program=program)})


def bundle_of(definition: dict[str, Any]) -> Bundle:
    return Bundle(revision=revision_of(definition), programs={digest_of(definition): canonical(definition)})


OTHER = changed(PLAIN, a={"set": {"n": 5}})


async def test_the_last_runs_of_changed_workflows_are_replayed() -> None:
    runs = [await recorded(PLAIN, {"n": n}, lambda _: None) for n in (4, 1, 2)]
    stored = Stored(*runs)
    (result,) = await replay_changes(stored, stored, revision_of(PLAIN), bundle_of(OTHER), count=2)
    assert (result.change.workflow, result.change.apis) == ("test/plain:1.0.0", ("test/a",))
    assert (result.replayed, result.unchanged) == (2, 0)
    (found,) = result.findings
    assert (found.count, found.runs) == (2, (runs[2].uid, runs[1].uid))
    assert stored.limits == [2]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"program": "f" * 64}, "earlier definition"),
        ({"status": "cancelled"}, "cancelled"),
        ({"attempt": 2}, "retried"),
        ({"status": "faulted"}, "not reproducible"),
    ],
)
async def test_runs_that_cannot_be_replayed_are_counted_by_reason(
    members: dict[str, Any], reason: str
) -> None:
    run = await recorded(PLAIN, {"n": 1}, lambda _: None)
    stored = Stored(run, **members)
    (result,) = await replay_changes(stored, stored, revision_of(PLAIN), bundle_of(OTHER), count=5)
    assert (result.replayed, result.skipped) == (0, {reason: 1})


async def test_a_damaged_record_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    run = await recorded(PLAIN, {"n": 1}, lambda _: None)
    stored = Stored(run)

    async def damaged(_: str) -> list[bytes]:
        return [b'{"kind":"bomb"}']

    monkeypatch.setattr(stored, "recorded", damaged)
    (result,) = await replay_changes(stored, stored, revision_of(PLAIN), bundle_of(OTHER), count=5)
    assert result.skipped == {"damaged record": 1}


def test_changes_are_those_of_programs() -> None:
    before, after = revision_of(PLAIN), revision_of(OTHER)
    assert changes(None, after) == ()
    assert changes(before, before) == ()
    (found,) = changes(before, after)
    assert (found.old, found.new) == (digest_of(PLAIN), digest_of(OTHER))
    unused = msgspec.structs.replace(after, apis={})
    (found,) = changes(msgspec.structs.replace(before, apis={}), unused)
    assert (found.workflow, found.apis) == ("test/plain:1.0.0", ())
    newer = msgspec.structs.replace(after.apis["test/a"], workflow="test/plain:1.1.0")
    (found,) = changes(
        before, Revision(apis={newer.id: newer}, workflows={newer.workflow: Workflow(program=newer.program)})
    )
    assert (found.before, found.workflow) == ("test/plain:1.0.0", "test/plain:1.1.0")
    assert replays.MOST_RUNS == 1_000
