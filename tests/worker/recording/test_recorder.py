"""What the journal shows of tasks, and what is kept for replays, by the value of `record`."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from iogate.auth.model import NoAuth
from iogate.compiler.revision import Api, Bundle, Record, Revision, Workflow, canonical, digest_of
from iogate.effects import EffectContext
from iogate.engine.commands import Perform, Performed
from iogate.errors import WorkflowError
from iogate.store import keys
from iogate.store.runs.intake import AcceptRequest
from iogate.testing import FakeClock
from iogate.testing.clock import VirtualClock
from iogate.testing.defaults import GivenSecrets
from iogate.testing.memory_store import MemoryRevisions, MemoryStore
from iogate.worker.events.matcher import match_next
from iogate.worker.events.sinks import Sinks
from iogate.worker.recording import recorder
from iogate.worker.recording.modes import RecordModes
from iogate.worker.recording.recorded_tasks import RESULT_BYTES, RecordedTask, decode_all
from iogate.worker.recording.request_descriptions import redact_data
from iogate.worker.runs.children import ChildResolver
from iogate.worker.runs.executor import Executor
from iogate.worker.runs.loader import Loader
from iogate.worker.runs.programs import Programs
from iogate.worker.secrets.redaction import Redaction
from tests.worker.site import workflow

SECRET = "s3cr3t-canary"
CALL = {
    "call": {
        "call": "http",
        "with": {
            "method": "post",
            "endpoint": "https://user:pw@api.example.com/orders?token=abc&page=2",
            "headers": {"Authorization": "Bearer ${ .key }", "X-Trace": "t-1"},
            "body": {"sku": "${ .sku }", "password": "hidden", "note": "${ .key }"},
        },
    }
}


class Answers:
    """Effects that answer at once."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    async def perform(self, perform: Perform, *, run: EffectContext) -> Performed:
        assert run.attempt == 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, WorkflowError):
            return Performed(frame=perform.frame, error=answer)
        return Performed(frame=perform.frame, output=answer)


class Recorded:
    """A finished run: its journal and its record."""

    def __init__(self, store: MemoryStore, uid: str) -> None:
        record = store.records[uid]
        self.status = record.status
        entries = [msgspec.json.decode(entry) for entry in record.journal]
        self.shown = [entry for entry in entries if entry["kind"] == "task.recorded"]
        self.kept: tuple[RecordedTask, ...] = decode_all(record.recorded)
        self.raw = b"\n".join([*record.journal, *record.recorded]).decode()


async def recorded(
    mode: Record,
    *tasks: dict[str, Any],
    answers: tuple[Any, ...] = ({"ok": True},),
    event: dict[str, Any] | None = None,
    others: tuple[dict[str, Any], ...] = (),
) -> Recorded:
    definitions = [workflow("w", *tasks), *others]
    programs = {digest_of(each): canonical(each) for each in definitions}
    named = {each["document"]["name"]: digest_of(each) for each in definitions}
    api = Api(
        id="test/w",
        workflow="test/w:1.0.0",
        program=named["w"],
        auth=NoAuth(),
        record=msgspec.UNSET if mode == "errors" else mode,
    )
    revision = Revision(
        apis={"test/w": api},
        workflows={f"test/{name}:1.0.0": Workflow(program=program) for name, program in named.items()},
    )
    revisions = MemoryRevisions(Bundle(revision=revision, programs=programs))
    clock = VirtualClock(FakeClock())
    store = MemoryStore(clock.now_ms)
    secrets = GivenSecrets(values={}, error_types="open-workflow", redaction=Redaction([SECRET]))
    executor = Executor(
        leases=store.leases,
        effects=Answers(*answers),
        clock=clock,
        secrets=secrets,
        loader=Loader(
            Programs(revisions),
            Sinks(),
            clock,
            modes=RecordModes(revisions),
            record_progress=None,
        ),
        children=ChildResolver(revisions),
        released=lambda: None,
    )
    uid = store.intake().uid()
    given = msgspec.json.encode({"sku": "A-1", "key": SECRET})
    await store.intake().accept(
        AcceptRequest(
            uid=uid,
            api="test/w",
            digest="",
            revision=1,
            workflow="test/w:1.0.0",
            program=named["w"],
            input=given,
        )
    )
    settling = asyncio.create_task(executor.settle_commits())
    try:
        async with store.leases.inbox_changes(executor.read_inbox), asyncio.timeout(60):
            while store.records[uid].ended_ms is None:
                for claim in (await store.leases.take("worker", 10)).claims:
                    executor.begin(claim, clock.monotonic() + 15)
                if event is not None and store.records[uid].wants:
                    await store.events.publish([msgspec.json.encode(event)])
                    event = None
                await match_next(store.events, "worker")
                await asyncio.sleep(0)
    finally:
        settling.cancel()
        executor.abandon()
        await executor.end()
    return Recorded(store, uid)


async def test_all_shows_the_request_and_the_result_of_a_call() -> None:
    run = await recorded("all", CALL, answers=({"id": 7, "access_token": "t", "echo": SECRET},))
    (shown,) = run.shown
    assert (shown["reference"], shown["name"]) == ("/do/0/call", "call")
    assert shown["detail"] == {
        "input": {
            "call": "http",
            "method": "POST",
            "url": "https://user:[redacted]@api.example.com/orders?token=[redacted]&page=2",
            "headers": {"Authorization": "[redacted]", "X-Trace": "t-1"},
            "body": {"sku": "A-1", "password": "[redacted]", "note": "[redacted]"},
        },
        "output": {"id": 7, "access_token": "[redacted]", "echo": "[redacted]"},
    }
    (kept,) = run.kept
    assert (kept.kind, kept.reference, kept.redacted) == ("effect", "/do/0/call", True)
    assert kept.output == {"id": 7, "access_token": "[redacted]", "echo": "[redacted]"}
    assert SECRET not in run.raw


async def test_errors_shows_a_call_that_fails_and_keeps_nothing() -> None:
    refused = WorkflowError(
        "communication", status=503, detail="503", response={"body": {"pin": 1, "why": "x"}}
    )
    run = await recorded("errors", CALL, answers=(refused,))
    (shown,) = run.shown
    assert shown["detail"]["input"]["method"] == "POST"
    assert shown["detail"]["error"]["response"] == {"body": {"pin": "[redacted]", "why": "x"}}
    assert run.status == "faulted"
    assert not run.kept


async def test_errors_records_nothing_of_a_call_that_succeeds() -> None:
    run = await recorded("errors", CALL)
    assert (run.status, run.shown, run.kept) == ("completed", [], ())


@pytest.mark.parametrize(
    "failing",
    [
        {"set": {"x": "${ .sku + 1 }"}},
        {"input": {"schema": {"document": {"required": ["missing"]}}}, "set": {}},
        {"call": "http", "with": {"method": "get", "endpoint": "${ .sku + 1 }"}},
        {"raise": {"error": {"type": "https://e.example/t", "status": 400}}},
    ],
)
async def test_errors_shows_the_input_of_any_task_that_fails(failing: dict[str, Any]) -> None:
    loop = {"loop": {"for": {"in": "${ [1] }"}, "do": [{"fails": failing}]}}
    run = await recorded(
        "errors", {"before": {"set": {"sku": "${ .sku }", "pin": "1234", "key": "${ .key }"}}}, loop
    )
    assert run.status == "faulted"
    (shown,) = run.shown
    assert shown["reference"] == "/do/1/loop/for/do/0/fails"
    assert shown["detail"].pop("error")["instance"] == shown["reference"]
    assert shown["detail"] == {
        "iteration": "/do/1/loop/for/0/do/0/fails",
        "input": {"sku": "A-1", "pin": "[redacted]", "key": "[redacted]"},
    }
    assert SECRET not in run.raw


async def test_none_records_nothing_of_a_call_that_fails() -> None:
    run = await recorded("none", CALL, answers=(WorkflowError("communication", status=503),))
    assert (run.status, run.shown, run.kept) == ("faulted", [], ())


async def test_a_long_side_is_truncated_in_the_journal_and_whole_in_the_record() -> None:
    long = {"text": "ü" * 5_000}
    run = await recorded("all", CALL, answers=(long,))
    (shown,) = run.shown
    assert shown["detail"]["truncated"] == {"output": len(msgspec.json.encode(long))}
    assert len(shown["detail"]["output"].encode()) <= recorder.SHOWN
    assert shown["detail"]["output"].startswith('{"text":"ü')
    assert run.kept[0].output == long


async def test_a_result_beyond_the_limit_of_a_task_is_left_out_with_its_size() -> None:
    run = await recorded("all", CALL, answers=("x" * RESULT_BYTES,))
    (kept,) = run.kept
    assert kept.output is None
    assert kept.omitted > RESULT_BYTES


@pytest.mark.parametrize(
    "large", ["x" * 70_000, ["x"] * 70_000, {"x" * 70_000: 1}, {str(n): n for n in range(30_000)}]
)
async def test_large_data_is_neither_shown_nor_redacted(large: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(value: Any, redaction: Redaction) -> Any:
        sizes.append(len(msgspec.json.encode(value)))
        return redact_data(value, redaction)

    monkeypatch.setattr(recorder, "redact_data", counted)
    run = await recorded(
        "all", {"a": CALL["call"]}, {"b": {"set": {"x": "${ .x.y.z }"}}}, answers=({"x": large, "url": "u"},)
    )
    (shown, *_) = run.shown
    assert shown["detail"]["output"] == {"url": "u"}
    assert shown["detail"]["truncated"] == {"output": RESULT_BYTES + 1}
    assert run.kept[0].omitted
    assert max(sizes) < 1_000


async def test_a_large_request_shows_no_credentials_of_its_url() -> None:
    call = {
        "call": "http",
        "with": {
            "method": "post",
            "endpoint": "https://user:pw@api.example.com/orders?token=abc&page=2",
            "body": {"text": "x" * RESULT_BYTES},
        },
    }
    run = await recorded("all", {"call": call})
    (shown,) = run.shown
    assert shown["detail"]["input"] == {
        "call": "http",
        "method": "POST",
        "url": "https://user:[redacted]@api.example.com/orders?token=[redacted]&page=2",
    }
    assert shown["detail"]["truncated"] == {"input": RESULT_BYTES + 1}


async def test_data_that_cannot_be_recorded_does_not_fail_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RecursionError

    monkeypatch.setattr(recorder, "redact_data", broken)
    run = await recorded("all", CALL)
    assert (run.status, run.shown) == ("completed", [])


async def test_results_beyond_the_limit_of_a_run_are_marked() -> None:
    loop = {"loop": {"for": {"in": "${ [range(30)] }"}, "do": [CALL]}}
    run = await recorded("all", loop, answers=({"key": "k", "sku": "s", "x": "x" * (RESULT_BYTES - 1_000)},))
    assert run.kept[-1].kind == "full"
    assert keys.RECORDED_BYTES // RESULT_BYTES <= len(run.kept) < 30


async def test_each_iteration_and_attempt_is_recorded_by_its_place() -> None:
    loop = {"loop": {"for": {"in": "${ [1, 2] }"}, "do": [CALL]}}
    run = await recorded("all", loop)
    assert [kept.reference for kept in run.kept] == [
        "/do/0/loop/for/0/do/0/call",
        "/do/0/loop/for/1/do/0/call",
    ]
    calls = [shown for shown in run.shown if shown["reference"] == "/do/0/loop/for/do/0/call"]
    assert [shown["detail"]["iteration"] for shown in calls] == [kept.reference for kept in run.kept]


async def test_all_records_events_children_and_emitted_events() -> None:
    listen = {"hear": {"listen": {"to": {"one": {"with": {"type": "paid"}}}}}}
    emit = {
        "tell": {"emit": {"event": {"with": {"type": "told", "source": "/x", "data": {"otp": 1, "n": 2}}}}}
    }
    child = {"sub": {"run": {"workflow": {"namespace": "test", "name": "child", "version": "1.0.0"}}}}
    event = {"specversion": "1.0", "id": "1", "source": "/t", "type": "paid", "data": {"sum": 3}}
    run = await recorded(
        "all", emit, child, listen, event=event, others=(workflow("child", {"say": {"set": {"said": 1}}}),)
    )
    assert run.status == "completed"
    assert [(kept.kind, kept.reference) for kept in run.kept] == [
        ("child", "/do/1/sub"),
        ("event", "/do/2/hear"),
    ]
    assert (run.kept[0].status, run.kept[0].output) == ("completed", {"said": 1})
    assert run.kept[1].output == event
    told, started, ended, heard = run.shown
    assert told["detail"]["input"]["emit"]["data"] == {"otp": "[redacted]", "n": 2}
    assert started["detail"]["input"] == {"run": "workflow", "workflow": "test/child:1.0.0", "input": {}}
    assert ended["detail"]["output"] == {"said": 1}
    assert heard["detail"]["output"] == event


async def test_all_shows_input_and_output_of_tasks_that_only_compute() -> None:
    switch = {"way": {"switch": [{"small": {"when": "${ .n < 9 }", "then": "continue"}}]}}
    inner = {"twice": {"set": {"n": "${ .n * 2 }", "token": "t-1"}, "output": {"as": "${ {n} }"}}}
    loop = {"loop": {"for": {"in": "${ [1, 2] }"}, "do": [inner]}}
    run = await recorded("all", {"start": {"set": {"n": 1}}}, switch, loop)
    shown = [
        (
            entry["detail"].get("iteration", entry["reference"]),
            entry["detail"]["input"],
            entry["detail"]["output"],
        )
        for entry in run.shown
    ]
    assert shown == [
        ("/do/0/start", {"sku": "A-1", "key": "[redacted]"}, {"n": 1}),
        ("/do/1/way", {"n": 1}, {"n": 1}),
        ("/do/2/loop/for/0/do/0/twice", {"n": 1}, {"n": 2}),
        ("/do/2/loop/for/1/do/0/twice", {"n": 2}, {"n": 4}),
        ("/do/2/loop", {"n": 1}, {"n": 4}),
    ]
    assert run.kept == ()
    assert (await recorded("errors", {"start": {"set": {"n": 1}}}, switch, loop)).shown == []


async def test_an_entry_has_the_number_of_its_attempt() -> None:
    again = {"when": "${ true }", "limit": {"attempt": {"count": 2}}}
    tries = {"try": [CALL, {"next": {"set": {"x": 1}}}], "catch": {"errors": {}, "retry": again}}
    down = WorkflowError("communication", status=503, detail="503")
    run = await recorded("all", {"tries": tries}, answers=(down, down, {"ok": True}))
    calls = [entry["detail"] for entry in run.shown if entry["name"] == "call"]
    assert [each.get("attempt", 1) for each in calls] == [1, 2, 3]
    assert ["error" in each for each in calls] == [True, True, False]
    (computed,) = [entry["detail"] for entry in run.shown if entry["name"] == "next"]
    assert computed["attempt"] == 3
    (whole,) = [entry["detail"] for entry in run.shown if entry["name"] == "tries"]
    assert "attempt" not in whole


@pytest.mark.parametrize(
    ("reference", "pointer"),
    [
        ("/do/0/a", "/do/0/a"),
        ("/do/0/l/for/12/do/1/a", "/do/0/l/for/do/1/a"),
        ("/do/0/h/foreach/3/do/1/a", "/do/0/h/foreach/do/1/a"),
        ("/do/0/l/for/1/do/0/f/use/functions/f/do/0/l/for/2/do/0/a", "/use/functions/f/do/0/l/for/do/0/a"),
        ("/do/0/a/use/extensions/0/x/before/0/b", "/use/extensions/0/x/before/0/b"),
    ],
)
def test_the_static_pointer_of_a_place_has_no_iterations(reference: str, pointer: str) -> None:
    assert recorder.static_pointer(reference) == pointer
