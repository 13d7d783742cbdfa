"""The state machine of a run in a worker, driven without store, engine or effects."""

from __future__ import annotations

import ast
import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import iogate.worker
from iogate.engine.advance import Advance
from iogate.engine.commands import Arrived, Cancelled, Emit, Expired, Perform, Resumed, RunProcess
from iogate.engine.state.frame import Frame
from iogate.engine.state.run_state import State
from iogate.store import keys
from iogate.store.runs.claims import Claim, Message
from iogate.worker.events.sinks import Sinks
from iogate.worker.runs.decision import CONTINUE, Rest, Store, decide, rest
from iogate.worker.runs.inbox import deliver
from iogate.worker.runs.phase import ADVANCING, GONE, READY, RESOLVING, Committing, Phase, Resting
from iogate.worker.runs.run import Run
from iogate.worker.secrets.redaction import Redaction

NO_SECRETS = Redaction([])


def claim(**more: Any) -> Claim:
    values: dict[str, Any] = {
        "uid": "1",
        "token": 1,
        "seq": 0,
        "api": "shop/order",
        "workflow": "shop/order:1.0.0",
        "program": "p",
        "revision": 1,
        "caller": "",
        "input": b"{}",
        "created_at_ms": 0,
        "started_at_ms": 1_000,
        "deadline_ms": None,
        "timeout_s": None,
        "retention_s": 60.0,
        "attempt": 1,
        "deaths": 0,
        "cancelled": False,
        "reason": "",
        "head": None,
        "frames": {},
        "values": {},
    }
    return Claim(**(values | more))


def new(**more: Any) -> Run:
    run = Run(
        claim=claim(**more),
        program=None,
        held_until=10.0,
        now=0.0,
        sinks=Sinks(),
        record="errors",
        recorder=None,
    )
    run.restore({}, None)
    return run


def perform(frame: int, *, awaited: bool = True) -> Perform:
    effect = RunProcess(kind="shell", code="true", arguments=(), environment={})
    return Perform(
        frame=frame,
        reference=f"/do/{frame}/a",
        effect=effect,
        idempotency_key=str(frame),
        await_result=awaited,
    )


def phase(run: Run) -> Phase:
    """Return the phase, without the type checker's assumption that it is unchanged."""
    return run.phase


def advance(run: Run, **more: Any) -> Advance:
    """Give the run a slice with this result."""
    assert run.begin_slice(2_000) is not None
    advanced = Advance(**({"state": run.state} | more))
    run.apply(advanced)
    return advanced


def test_a_slice_gets_each_event_once_and_in_order() -> None:
    run = new()
    event = Arrived(frame=3, number=7, event={})
    assert run.hear([(7, event)], more=False)
    assert not run.hear([(7, event)], more=True), "it was delivered before"
    assert run.inbox_has_more
    assert run.cancel("enough")
    assert not run.cancel("again")
    assert run.begin_slice(0) == [event, Cancelled(reason="enough")]
    run.apply(Advance(state=run.state))
    assert run.begin_slice(0) == []


def test_a_restored_run_resumes_and_gets_only_unprocessed_messages() -> None:
    run = new(left="worker-1")
    run.restore({}, State(inbox_done=5))
    old, fresh = Arrived(frame=1, number=5, event={}), Arrived(frame=1, number=6, event={})
    run.hear([(5, old), (6, fresh)], more=False)
    assert run.begin_slice(0) == [Resumed(worker="worker-1"), fresh]


def test_a_deadline_expires_once() -> None:
    run = new(timeout_s=2.0)
    assert run.deadline_ms == 3_000
    assert run.begin_slice(2_999) == []
    run.apply(Advance(state=run.state))
    assert run.begin_slice(3_000) == [Expired(limit_s=2.0)]
    run.apply(Advance(state=run.state))
    assert run.begin_slice(3_001) == []


def test_the_timeout_of_another_attempt_is_told_as_that_of_the_api() -> None:
    run = new(timeout_s=2.0, deadline_ms=600_000, attempt=2)
    assert run.begin_slice(600_000) == [Expired(limit_s=2.0)]


def test_further_messages_may_wait_behind_large_ones() -> None:
    run = new()
    large, small = (b'{"data":"%b"}' % (b"x" * size) for size in (keys.TAKE_BYTES, 1))
    assert deliver(run, [Message(number=1, frame=1, kind="event", data=large)])
    assert run.inbox_has_more
    assert deliver(run, [Message(number=2, frame=1, kind="event", data=small)])
    assert not run.inbox_has_more


def test_no_slice_begins_while_a_commit_is_under_way() -> None:
    run = new()
    advance(run)
    commit = run.commit("keep", None, NO_SECRETS)
    assert phase(run) == Committing("keep")
    assert (commit.seq, run.seq, run.leaving) == (1, 1, False)
    assert run.begin_slice(2_000) is None
    run.hear([(1, Arrived(frame=1, number=1, event={}))], more=False)
    assert run.committed(5.0) == []
    assert run.has_work(leaves=False)
    assert run.begin_slice(2_000) is not None


def test_effects_start_with_the_commit_that_records_them_and_not_after_a_cancellation() -> None:
    run = new()
    first, detached = perform(1), perform(2, awaited=False)
    advance(run, performs=(first, detached))
    run.commit("keep", None, NO_SECRETS)
    assert run.committed(5.0) == [detached], "no frame of the state waits for the first one any more"
    advance(run, performs=(detached,))
    run.commit("keep", None, NO_SECRETS)
    run.cancel()
    assert run.committed(6.0) == []


def test_a_refused_commit_gives_its_sequence_number_back() -> None:
    run = new()
    advance(run, performs=(perform(1),))
    run.commit("end", None, NO_SECRETS)
    assert run.leaving
    run.commit_refused()
    assert (run.phase, run.seq, run.refused, run.has_performs, run.leaving) == (READY, 0, True, False, False)
    run.fault({"type": "x", "status": 500}, 3_000)
    assert run.commit("end", None, NO_SECRETS).seq == 1


def test_the_size_of_a_commit_includes_journal_and_error() -> None:
    run = new()
    advance(run)
    run.fault({"type": "x", "status": 500, "detail": "d" * 5_000}, 3_000)
    commit = run.commit("end", None, NO_SECRETS)
    journal = sum(map(len, commit.journal))
    assert commit.error is not None
    assert min(journal, len(commit.error)) > 5_000
    assert commit.size >= journal + len(commit.error)


async def test_leaving_cancels_timer_and_effects() -> None:
    run = new()
    advance(run, performs=(perform(1), perform(2, awaited=False)))
    timer = asyncio.get_running_loop().call_later(60, lambda: None)
    effect = asyncio.create_task(asyncio.sleep(60))
    run.effect_started(1, effect)
    run.rest(timer)
    assert phase(run) == Resting(timer)
    assert run.leave() == [perform(2, awaited=False)]
    await asyncio.gather(effect, return_exceptions=True)
    assert timer.cancelled()
    assert effect.cancelled()
    run.resolved([], [])
    assert (phase(run), run.cancel(), run.suspend(), run.begin_slice(0)) == (GONE, False, False, None)
    assert not run.effect_ended(1, effect, Cancelled())


def test_a_result_counts_only_while_the_run_waits_for_it() -> None:
    run = new()
    task: Any = object()
    run.effect_started(1, task)
    other: Any = object()
    assert not run.effect_ended(1, other, Cancelled())
    assert run.effect_ended(1, task, Cancelled())
    assert not run.effect_ended(1, task, Cancelled())
    assert run.dirty


def test_a_result_that_comes_during_a_commit_is_stored_at_once_by_the_next_one() -> None:
    run = new()
    task: Any = object()
    advance(run)
    run.effect_started(1, task)
    run.commit("keep", None, NO_SECRETS)
    assert run.effect_ended(1, task, Cancelled())
    run.committed(1.0)
    advance(run)
    assert rest(run, now=1.1, now_ms=2_000) == Store("keep")
    run.commit("keep", None, NO_SECRETS)
    run.committed(1.2)
    assert rest(run, now=1.3, now_ms=2_000) == Rest(None)


class TestDecision:
    """How a run goes on after a slice."""

    def decided(self, run: Run, advanced: Advance, **more: Any) -> Any:
        given = {"leaves": False, "now": 0.5, "now_ms": 2_000} | more
        return decide(run, advanced, **given)

    @pytest.mark.parametrize(
        ("more", "decision"),
        [({}, CONTINUE), ({"now": 1.0}, Store("keep")), ({"leaves": True}, Store("queue"))],
    )
    def test_of_a_run_with_more_to_compute(self, more: Any, decision: Any) -> None:
        run = new()
        assert self.decided(run, advance(run, more=True), **more) == decision

    def test_of_a_run_that_published_an_event(self) -> None:
        run = new()
        emit = Emit(reference="/do/0/a", event={"type": "t"})
        assert self.decided(run, advance(run, more=True, emits=(emit,))) == Store("keep")

    def test_of_a_run_with_effects_to_start(self) -> None:
        run = new()
        frame = Frame(id=1, kind="task", phase="effect")
        advanced = advance(run, state=State(frames={1: frame}), performs=(perform(1),))
        assert self.decided(run, advanced) == Store("keep")
        assert self.decided(run, advanced, leaves=True) == Store("queue")

    def test_of_a_run_with_more_to_compute_and_an_effect_to_start_that_may_not_start_elsewhere(self) -> None:
        run = new()
        frame = Frame(id=1, kind="task", phase="effect")
        once = replace(perform(1), at_most_once=True)
        advanced = advance(run, state=State(frames={1: frame}), performs=(once,), more=True)
        assert self.decided(run, advanced, leaves=True) == CONTINUE, "another worker would not start it"
        assert self.decided(run, advanced, leaves=True, now=1.0) == Store("keep")
        advanced = advance(run)
        assert self.decided(run, advanced, leaves=True) == Store("keep")
        run.commit("keep", None, NO_SECRETS)
        assert run.committed(1.0) == [once], "it starts here"

    def test_of_a_run_that_leaves_with_more_to_compute_and_an_effect_under_way(self) -> None:
        run = new()
        task: Any = object()
        run.effect_started(1, task)
        state = State(frames={1: Frame(id=1, kind="task", phase="effect")})
        advanced = advance(run, state=state, more=True)
        assert self.decided(run, advanced) == CONTINUE
        assert run.has_work(leaves=False)
        assert run.budget([], 2_000, leaves=False) == run.pace.steps
        assert self.decided(run, advanced, leaves=True) == Rest(0.5), "it is stored after a second"
        assert not run.has_work(leaves=True)
        assert run.budget([], 2_000, leaves=True) == 0
        assert run.effect_ended(1, task, Cancelled())
        assert run.has_work(leaves=True)
        assert run.budget([], 2_000, leaves=True) == run.pace.steps
        assert self.decided(run, advance(run, more=True), leaves=True) == Store("queue")

    def test_of_a_run_that_waits_and_whose_effects_to_start_nobody_awaits(self) -> None:
        run = new(deadline_ms=3_000)
        left, detached = perform(1), perform(2, awaited=False)
        advanced = advance(run, performs=(left, detached))
        assert self.decided(run, advanced) == Store("park", 3_000)
        assert self.decided(run, advanced, now_ms=2_001) == Store("keep"), "it goes on here within a second"
        assert self.decided(run, advanced, now_ms=2_001, leaves=True) == Store("park", 3_000)

    @pytest.mark.parametrize(
        ("deadline_ms", "decision"),
        [(2_400, Rest(0.4)), (2_900, Rest(0.5)), (3_000, Store("park", 3_000)), (None, Store("park"))],
    )
    def test_of_a_run_that_waits(self, deadline_ms: int | None, decision: Any) -> None:
        run = new(deadline_ms=deadline_ms)
        assert self.decided(run, advance(run)) == decision

    def test_of_a_run_that_rests_with_a_result_that_is_not_stored(self) -> None:
        run = new()
        advance(run)
        assert rest(run, now=0.5, now_ms=2_000) == Rest(0.5), "what it has computed is stored after a second"
        assert rest(run, now=1.0, now_ms=2_000) == Store("keep")
        run.commit("keep", None, NO_SECRETS)
        run.committed(1.0)
        assert rest(run, now=3.0, now_ms=2_000) == Rest(None)
        run.note_output([])
        assert rest(run, now=3.0, now_ms=2_000) == Store("keep")

    def test_of_a_run_that_has_ended(self) -> None:
        run = new()
        assert self.decided(run, advance(run, state=State(status="completed"))) == Store("end")


STEPS = ("slice", "resolve", "resolved", "rest", "commit", "committed", "refused", "cancel", "hear", "leave")


@given(st.lists(st.sampled_from(STEPS), max_size=40))
def test_invariants_hold_in_any_order_of_events(steps: list[str]) -> None:
    """A run that is gone never changes; sequence numbers rise by one with each accepted commit."""
    run, number, commits = new(), 0, 0
    for step in steps:
        before = (run.phase, run.seq)
        match step:
            case "slice":
                happened = run.begin_slice(2_000)
                assert (happened is None) == (before[0] in (RESOLVING, GONE) or run.committing is not None)
                if happened is not None:
                    assert phase(run) is ADVANCING
                    run.apply(Advance(state=run.state))
            case "resolve" if run.phase is READY:
                run.resolve()
            case "resolved" if run.phase in (RESOLVING, GONE):
                run.resolved([], [])
            case "rest" if run.phase is READY:
                run.rest(None)
            case "commit" if run.phase is READY:
                assert run.commit("park", None, NO_SECRETS).seq == run.seq
                commits += 1
            case "committed" if run.committing is not None:
                run.committed(1.0)
            case "refused" if run.committing is not None:
                run.commit_refused()
                commits -= 1
            case "cancel":
                run.cancel()
            case "hear":
                number += 1
                run.hear([(number, Arrived(frame=1, number=number, event={}))], more=False)
            case "leave":
                run.leave()
        assert run.seq == commits
        if before[0] is GONE:
            assert (run.phase, run.seq) == before


def test_only_the_methods_of_a_run_write_its_fields() -> None:
    fields = set(Run.__slots__)
    written = [
        f"{file.name}:{node.lineno} {node.attr}"
        for file in sorted(Path(iogate.worker.__file__).parent.rglob("*.py"))
        if file.name != "run.py"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
        if isinstance(node.value, ast.Name) and node.value.id in ("run", "known", "each")
        if node.attr in fields
    ]
    assert written == []
