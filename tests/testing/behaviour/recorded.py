"""Runs of definitions that are executed once, with `record: all`, and replayed with others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import msgspec

from iogate.auth.model import NoAuth
from iogate.compiler.revision import Api, Bundle, Revision, Workflow, canonical, digest_of
from iogate.effects import EffectContext
from iogate.engine.commands import Perform, Performed
from iogate.errors import WorkflowError
from iogate.store.runs.intake import AcceptRequest
from iogate.store.runs.uids import UidSource
from iogate.testing import Arrival, FakeClock
from iogate.testing.behaviour.player import RecordedRun
from iogate.testing.behaviour.replays import Change, WorkflowReplay, replay_runs
from iogate.testing.clock import VirtualClock
from iogate.testing.defaults import GivenSecrets
from iogate.testing.memory_store import MemoryRevisions
from iogate.testing.mocks import Family
from iogate.testing.simulation import Simulation
from iogate.worker.events.sinks import Sinks
from iogate.worker.recording.modes import RecordModes
from iogate.worker.recording.recorded_tasks import decode_all
from iogate.worker.runs.children import ChildResolver
from iogate.worker.runs.loader import Loader
from iogate.worker.runs.programs import Programs
from iogate.worker.secrets.redaction import Redaction
from tests.worker.site import workflow

Answer = Callable[[Perform], Any]
Event = Mapping[str, Any] | Arrival

CHILD = workflow("child", {"say": {"set": {"said": "${ .n }"}}})
_UIDS = UidSource()


class Answering:
    """Effects that a function answers; an answer may be an error, or a delay and an answer."""

    def __init__(self, answer: Answer, clock: VirtualClock) -> None:
        self._answer = answer
        self._clock = clock

    async def perform(self, perform: Perform, *, run: EffectContext) -> Performed:
        assert run.uid
        answer = self._answer(perform)
        if isinstance(answer, tuple):
            delay_s, answer = answer
            await self._clock.sleep(delay_s)
        if isinstance(answer, WorkflowError):
            return Performed(frame=perform.frame, error=answer)
        return Performed(frame=perform.frame, output=answer)


async def recorded(
    definition: dict[str, Any],
    value: Any,
    answer: Answer,
    events: Sequence[Event] = (),
    *,
    secrets: Mapping[str, Any] | None = None,
    record: str = "all",
) -> RecordedRun:
    """Execute a definition once and return the run with its record."""
    programs = {digest_of(each): canonical(each) for each in (definition, CHILD)}
    program = digest_of(definition)
    full = "test/{name}:{version}".format(**definition["document"])
    api = Api(
        id="test/api",
        workflow=full,
        program=program,
        auth=NoAuth(),
        record="all" if record == "all" else msgspec.UNSET,
    )
    workflows = {full: Workflow(program=program), "test/child:1.0.0": Workflow(program=digest_of(CHILD))}
    revisions = Bundle(revision=Revision(apis={api.id: api}, workflows=workflows), programs=programs)
    published = MemoryRevisions(revisions)
    clock = VirtualClock(FakeClock())
    given = dict(secrets or {})
    known = GivenSecrets(
        values=given,
        error_types="open-workflow",
        redaction=Redaction(given.values()) if given else Redaction(),
    )
    family = Family(mocks={}, failure=asyncio.get_running_loop().create_future())
    simulation = Simulation(
        effects=Answering(answer, clock),
        children=ChildResolver(published),
        family=family,
        clock=clock,
        secrets=known,
        loader=Loader(
            Programs(published), Sinks(), clock, modes=RecordModes(published), record_progress=None
        ),
        real_time=False,
    )
    uid = _UIDS.next()
    given_input = msgspec.json.encode(value)
    outcome = await simulation.play(
        AcceptRequest(
            uid=uid, api=api.id, digest="", revision=1, workflow=full, program=program, input=given_input
        ),
        list(events),
    )
    kept = simulation._store.records[uid]
    return RecordedRun(
        uid=uid,
        workflow=full,
        status=outcome.status,
        input=given_input,
        started_ms=kept.started_ms,
        record=decode_all(kept.recorded),
    )


async def replayed(
    old: dict[str, Any], new: dict[str, Any], runs: Sequence[RecordedRun], **options: Any
) -> WorkflowReplay:
    """Replay runs of one definition with another one."""
    name = "test/{name}:{version}".format(**old["document"])
    before, after = msgspec.json.encode(old), msgspec.json.encode(new)
    change = Change(workflow=name, before=name, old="old", new="new")

    async def each() -> AsyncIterator[RecordedRun]:
        for run in runs:
            yield run

    return await replay_runs(change, before, after, each(), **options)


__all__ = ["Answer", "Event", "RecordedRun", "recorded", "replayed"]
