"""Executor over a store in memory and a virtual clock: what holds when store, leases and effects fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import pytest

from iogate.compiler.revision import Bundle, Revision, Workflow, canonical, digest_of
from iogate.effects import EffectContext
from iogate.engine.commands import Perform, Performed
from iogate.errors import WorkflowError
from iogate.store.connection.failures import CommandFailed, StoreUnavailable
from iogate.store.runs.commits import Commit
from iogate.store.runs.intake import AcceptRequest
from iogate.store.runs.leases import CommitResult
from iogate.testing import FakeClock
from iogate.testing.clock import VirtualClock
from iogate.testing.defaults import GivenSecrets
from iogate.testing.memory_records import Record
from iogate.testing.memory_store import MemoryRevisions, MemoryStore
from iogate.worker.events.sinks import Sinks
from iogate.worker.recording.modes import RecordModes
from iogate.worker.runs.children import ChildResolver
from iogate.worker.runs.executor import Executor
from iogate.worker.runs.loader import Loader
from iogate.worker.runs.programs import Programs
from iogate.worker.runs.run import PRESUMED_LOST_S
from iogate.worker.secrets.redaction import Redaction
from tests.worker.site import workflow

CALL = {"call": {"call": "http", "with": {"method": "get", "endpoint": "https://api.example.com"}}}
SAY = {"say": {"set": {"ok": True}}}
WORKER = "worker-1"
DETACHED = {"detached": {"run": {"shell": {"command": "true"}, "await": False}}}
LISTEN = {"ask": {"listen": {"to": {"one": {"with": {"type": "answer"}}}}}}
DAY = {"day": {"wait": {"days": 1}}}
LEASE_S = 15.0

BeforeCommit = Callable[[Sequence[Commit]], Awaitable[None]]


@dataclass
class World:
    """A worker's executor, its store, and effects that end when the test says so."""

    definition: dict[str, Any]
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(FakeClock()))
    before_commit: BeforeCommit | None = None
    modes: RecordModes | None = None
    performed: list[Perform] = field(default_factory=list)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    fault: WorkflowError | None = None

    def __post_init__(self) -> None:
        program = digest_of(self.definition)
        revision = Revision(apis={}, workflows={"test/w:1.0.0": Workflow(program=program)})
        revisions = MemoryRevisions(Bundle(revision=revision, programs={program: canonical(self.definition)}))
        redaction = Redaction(["swordfish"])
        secrets = GivenSecrets(values={}, error_types="open-workflow", redaction=redaction)
        self.store = MemoryStore(self.clock.now_ms)
        self.executor = Executor(
            leases=self,
            effects=self,
            clock=self.clock,
            secrets=secrets,
            loader=Loader(Programs(revisions), Sinks(), self.clock, modes=self.modes, record_progress=None),
            children=ChildResolver(revisions),
            released=lambda: None,
        )
        self.request = AcceptRequest(
            uid=self.store.intake().uid(),
            api="test/w",
            digest="",
            revision=1,
            workflow="test/w:1.0.0",
            program=program,
            input=b"{}",
        )

    # Ports.

    async def commit(self, commits: Sequence[Commit]) -> list[CommitResult]:
        if self.before_commit is not None:
            await self.before_commit(commits)
        return await self.store.leases.commit(commits)

    async def inbox(self, uid: str, token: int) -> Any:
        return await self.store.leases.inbox(uid, token)

    async def perform(self, perform: Perform, *, run: EffectContext) -> Performed:
        assert run.uid == self.request.uid
        self.performed.append(perform)
        await self.answered.wait()
        return Performed(frame=perform.frame, output={"answer": 42}, error=self.fault)

    # Steps of a test.

    @property
    def run(self) -> Record:
        return self.store.records[self.request.uid]

    @property
    def error(self) -> dict[str, Any]:
        assert self.run.error is not None
        found: dict[str, Any] = msgspec.json.decode(self.run.error)
        return found

    async def take(self) -> None:
        for claim in (await self.store.leases.take(WORKER, 10)).claims:
            self.executor.begin(claim, self.clock.monotonic() + LEASE_S)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0)

    async def settled(self) -> None:
        await self.until(lambda: not self.executor.busy)


@asynccontextmanager
async def begun(*tasks: dict[str, Any], **more: Any) -> AsyncIterator[World]:
    """Accept a run of these tasks and begin it."""
    world = World(**({"definition": workflow("w", *tasks)} | more))
    settling = asyncio.create_task(world.executor.settle_commits())
    try:
        await world.store.intake().accept(world.request)
        await world.take()
        yield world
    finally:
        settling.cancel()
        world.executor.abandon()
        await world.executor.end()


async def test_an_effect_starts_when_the_commit_that_records_it_is_applied() -> None:
    gate = asyncio.Event()

    async def before(_: Sequence[Commit]) -> None:
        await gate.wait()

    async with begun(CALL, before_commit=before) as world:
        await world.until(lambda: any(run.committing for run in world.executor.runs.values()))
        for _ in range(20):
            await asyncio.sleep(0)
        assert world.performed == []
        gate.set()
        await world.until(lambda: len(world.performed) == 1)
        assert world.run.seq == 1
        world.answered.set()
        await world.until(lambda: world.executor.idle)
    assert (world.run.status, world.run.output) == ("completed", b'{"answer":42}')


async def test_a_run_whose_lease_another_worker_has_is_let_go(caplog: pytest.LogCaptureFixture) -> None:
    async with begun(CALL) as world:
        await world.until(lambda: len(world.performed) == 1)
        world.clock.move_to(world.clock.now_ms() + 60_000)
        (claim,) = (await world.store.leases.take("worker-2", 10)).claims
        assert (claim.uid, claim.token) == (world.request.uid, 2)
        world.answered.set()
        await world.until(lambda: world.executor.idle)
    assert "the store rejected a commit with an old fencing token" in caplog.text
    assert (world.run.state, world.run.worker, world.run.seq) == ("lease", "worker-2", 1)


async def test_a_refused_commit_faults_its_run() -> None:
    async def before(commits: Sequence[Commit]) -> None:
        if any(commit.status != "faulted" for commit in commits):
            raise CommandFailed("ERR too many arguments")

    async with begun(CALL, before_commit=before) as world:
        await world.until(lambda: world.executor.idle)
    assert (world.run.status, world.performed) == ("faulted", [])
    assert world.error["detail"] == "the store refused the state of the run: ERR too many arguments"


async def test_a_run_whose_last_state_is_refused_too_is_left_to_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def before(_: Sequence[Commit]) -> None:
        raise CommandFailed("ERR no")

    async with begun(SAY, before_commit=before) as world:
        await world.until(lambda: world.executor.idle)
    assert "the store refuses the final state" in caplog.text
    assert (world.run.state, world.run.seq) == ("lease", 0)


async def test_a_run_is_kept_while_the_store_is_away_until_its_lease_must_be_lost() -> None:
    tries: list[float] = []

    async def before(_: Sequence[Commit]) -> None:
        tries.append(asyncio.get_running_loop().time())
        if len(tries) == 2:
            world.clock.move_to(world.clock.now_ms() + int((LEASE_S + PRESUMED_LOST_S + 1) * 1000))
        raise StoreUnavailable("no answer")

    async with begun(SAY, before_commit=before) as world:
        await world.until(lambda: world.executor.idle)
    assert len(tries) == 2, "the first time it may still have the lease"
    assert world.run.state == "lease"


async def test_a_suspended_run_stops_after_its_effect() -> None:
    async with begun(CALL, CALL) as world:
        await world.until(lambda: len(world.performed) == 1)
        assert await world.store.runs.suspend(world.request.uid) == "asked"
        world.executor.suspend(world.request.uid)
        world.answered.set()
        await world.until(lambda: world.executor.idle)
        assert (world.run.state, len(world.performed)) == ("suspended", 1)
        await world.store.runs.resume(world.request.uid)
        await world.take()
        await world.until(lambda: world.executor.idle)
    assert (world.run.status, len(world.performed)) == ("completed", 2)


@pytest.mark.parametrize("wait", [LISTEN, DAY])
async def test_a_run_is_parked_behind_an_effect_that_no_task_awaits(wait: dict[str, Any]) -> None:
    async with begun(DETACHED, wait) as world:
        await world.until(lambda: world.run.state == "timer")
        assert (world.run.status, len(world.executor.runs)) == ("waiting", 0)
        await world.until(lambda: len(world.performed) == 1)
        assert world.executor.detached_effects == 1
        assert await world.store.runs.suspend(world.request.uid) == "suspended", "no worker must let it go"
        world.answered.set()
        await world.until(lambda: world.executor.idle)


async def test_a_run_is_parked_if_the_branch_of_its_only_call_has_lost_before_the_commit() -> None:
    turns = [{f"turn{n}": {"set": {"n": n}}} for n in range(20)]
    fork = {"fork": {"compete": True, "branches": [CALL, {"wins": {"do": turns}}]}}
    async with begun({"race": fork}, LISTEN) as world:
        await world.until(lambda: world.run.state == "timer")
        assert (world.run.status, world.run.seq) == ("waiting", 1), "before any other commit"
    assert world.performed == []


async def test_an_effect_that_no_task_awaits_does_not_start_after_a_cancellation() -> None:
    async def before(_: Sequence[Commit]) -> None:
        await world.store.runs.cancel(world.request.uid, "enough")

    async with begun(DETACHED, LISTEN, before_commit=before) as world:
        await world.until(lambda: world.executor.idle)
        assert world.run.state == "queue"
        await world.take()
        await world.until(lambda: world.executor.idle)
    assert (world.run.status, world.performed) == ("cancelled", [])


async def test_a_drain_parks_a_run_that_waits_and_lets_an_effect_end() -> None:
    async with begun({"nap": {"wait": {"milliseconds": 500}}}, CALL) as world:
        await world.settled()
        assert world.run.state == "lease", "a short wait stays in the worker"
        world.executor.drain()
        await world.until(lambda: world.executor.idle)
        assert (world.run.state, world.run.status) == ("timer", "waiting")
    async with begun(CALL) as world:
        await world.until(lambda: len(world.performed) == 1)
        world.executor.drain()
        world.answered.set()
        await world.until(lambda: world.executor.idle)
    assert world.run.status == "completed"


@pytest.mark.parametrize("suspended", [False, True])
async def test_a_run_whose_effects_overlap_leaves_after_those_under_way(
    suspended: bool,  # noqa: FBT001 - a parameter of the table, passed by name
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gates = [asyncio.Event() for _ in range(4)]

    async def answer(world: World, perform: Perform, *, run: EffectContext) -> Performed:
        del run
        world.performed.append(perform)
        await gates[len(world.performed) - 1].wait()
        return Performed(frame=perform.frame, output=1)

    monkeypatch.setattr(World, "perform", answer)
    branch = {"do": [{"first": CALL["call"]}, {"second": CALL["call"]}]}
    async with begun({"both": {"fork": {"branches": [{"a": branch}, {"b": branch}]}}}) as world:
        await world.until(lambda: len(world.performed) == 2)
        uid = world.request.uid
        run = world.executor.runs[uid]
        if suspended:
            assert await world.store.runs.suspend(uid) == "asked"
            world.executor.suspend(uid)
        else:
            world.executor.drain()
        gates[0].set()
        await world.until(lambda: len(run.effects) == 1)
        await world.settled()
        gates[1].set()
        await world.until(lambda: world.executor.idle)
        assert (world.run.state, len(world.performed)) == ("suspended" if suspended else "queue", 2)


async def test_a_run_that_is_resumed_before_it_stops_goes_on_beside_its_effects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gates = [asyncio.Event() for _ in range(4)]

    async def answer(world: World, perform: Perform, *, run: EffectContext) -> Performed:
        del run
        world.performed.append(perform)
        await gates[len(world.performed) - 1].wait()
        return Performed(frame=perform.frame, output=1)

    monkeypatch.setattr(World, "perform", answer)
    branch = {"do": [{"first": CALL["call"]}, {"second": CALL["call"]}]}
    async with begun({"both": {"fork": {"branches": [{"a": branch}, {"b": branch}]}}}) as world:
        await world.until(lambda: len(world.performed) == 2)
        uid = world.request.uid
        run = world.executor.runs[uid]
        assert await world.store.runs.suspend(uid) == "asked"
        world.executor.suspend(uid)
        gates[0].set()
        await world.until(lambda: len(run.effects) == 1)
        await world.settled()
        assert len(world.performed) == 2
        assert await world.store.runs.resume(uid) == "resumed"
        world.executor.resume(uid)
        await world.until(lambda: len(world.performed) == 3)
        for gate in gates:
            gate.set()
        await world.until(lambda: world.executor.idle)
        assert (world.run.status, len(world.performed)) == ("completed", 4)


async def test_a_definition_that_cannot_be_loaded_faults_its_runs(caplog: pytest.LogCaptureFixture) -> None:
    definition = {"document": workflow("w")["document"], "of": "a later release"}
    async with begun(definition=definition) as world:
        await world.until(lambda: world.executor.idle)
    assert "cannot load definition" in caplog.text
    assert world.error["detail"].startswith("this release cannot load the definition")


async def test_an_outcome_that_cannot_be_redacted_faults_its_run(caplog: pytest.LogCaptureFixture) -> None:
    fault = WorkflowError("runtime", detail=cast("str", ValueError("not text")))
    async with begun(CALL, fault=fault) as world:
        world.answered.set()
        await world.until(lambda: world.run.status == "faulted")
        assert "internal error while performing the task: TypeError" in world.error["detail"]
    assert "effect.broken" in [getattr(record, "action", "") for record in caplog.records]


async def test_a_run_that_was_leased_again_starts_again_and_its_old_effect_is_cancelled() -> None:
    """The store gives a run to the same worker again, after it was too slow to renew its lease."""
    async with begun(CALL) as world:
        await world.until(lambda: len(world.performed) == 1)
        world.clock.move_to(world.clock.now_ms() + 60_000)
        await world.take()
        await world.until(lambda: len(world.performed) == 2)
        assert [run.claim.token for run in world.executor.runs.values()] == [2]
        world.answered.set()
        await world.until(lambda: world.executor.idle)
    assert (world.run.status, world.run.token) == ("completed", 2)
    assert {perform.idempotency_key for perform in world.performed} == {world.performed[0].idempotency_key}, (
        "the other side can tell that it is the same call"
    )
