"""Player of one run: the executor of production over recorded answers, in virtual time.

Called by `replays`, first with the old definition and the record, then with the new one and what the old one
got. Invariants: nothing reaches the outside; two plays of one definition are equal; time begins with the
start of the recorded run, and each effect, child and event takes the time that it took then.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NoReturn, Protocol

import msgspec

from iogate.compiler.program import Program
from iogate.effects import EffectContext
from iogate.engine.commands import ChildEnded, Effect, Emit, Note, Perform, Performed, StartChild
from iogate.engine.errors import RaisedError
from iogate.errors import WorkflowError
from iogate.store.runs.claims import Claim
from iogate.store.runs.intake import AcceptRequest
from iogate.testing.behaviour.answers import Asked, Kind, NeverRecorded
from iogate.testing.behaviour.trace import Trace, TracingOutgoing, TracingRecorder, Visit
from iogate.testing.clock import FakeClock, VirtualClock
from iogate.testing.defaults import GivenSecrets, policy_secrets
from iogate.testing.mocks import Family
from iogate.testing.outcome import Arrival, Outcome
from iogate.testing.simulation import Simulation
from iogate.worker.events.sinks import Sinks
from iogate.worker.ports import ResolvedChildren
from iogate.worker.recording.recorded_tasks import RecordedTask
from iogate.worker.recording.request_descriptions import describe, redact_request
from iogate.worker.runs.faults import RunFault
from iogate.worker.runs.loader import Loader
from iogate.worker.runs.programs import Programs
from iogate.worker.runs.run import Run
from iogate.worker.secrets.redaction import Redaction

_KEY: Final = b"[idempotency key]"
_ID: Final = b"[id of an event]"
_UUID: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """A run that has ended, with its record."""

    uid: str
    workflow: str
    status: str
    input: bytes
    started_ms: int
    record: Sequence[RecordedTask] = ()


class Answers(Protocol):
    """Source of answers."""

    def find(self, asked: Asked) -> None:
        """Find and set, for the player, the answer to a request of a replay.

        Raises NotReplayable or NeverRecorded.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Played:
    """A replay, to its end or to the task that no record answers."""

    visits: Sequence[Visit]
    notes: Sequence[Note]
    asked: Sequence[Asked]
    status: str = ""
    """Empty if the replay was stopped."""
    output: Any = None
    error: Mapping[str, Any] = field(default_factory=dict)
    waits_at: str = ""
    """Static pointer of the task that a run waits for without end."""
    stopped_at: Asked | None = None


def placeholders(program: Program) -> dict[str, Any]:
    """Return a placeholder of each secret for the player; an object if a policy needs one."""
    objects = set(policy_secrets(program.definition))
    return {
        name: {member: f"iogate-{member}-of-{name}" for member in ("username", "password", "token", "grant")}
        | {"authority": "https://authority.invalid"}
        if name in objects
        else f"iogate-secret-{name}"
        for name in program.secrets
    }


class Player:
    """Player of the runs of a few programs."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    async def play(self, digest: str, run: RecordedRun, answers: Answers) -> Played:
        """Play a recorded run with the cached program of a digest.

        Raises NotReplayable, EndlessReplay, and ExpectationFailed for a recorded event that is none.
        """
        program = self._programs.get(digest)
        assert isinstance(program, Program)
        values = placeholders(program)
        redaction = Redaction(values.values())
        secrets = GivenSecrets(values=values, error_types="open-workflow", redaction=redaction)
        clock = VirtualClock(FakeClock(datetime.fromtimestamp(run.started_ms / 1000, tz=UTC)))
        family = Family(mocks={}, failure=asyncio.get_running_loop().create_future())
        trace = Trace(program, overflow=family.failure.set_exception)
        outside = _Outside(run.uid, answers, family, clock, redaction)
        simulation = Simulation(
            effects=outside,
            children=outside,
            family=family,
            clock=clock,
            secrets=secrets,
            loader=_TracingLoader(self._programs, clock, trace, outside),
            real_time=False,
        )
        outside.end_child = simulation.end_child
        request = AcceptRequest(
            uid=run.uid,
            api="replay",
            digest="",
            revision=1,
            workflow=run.workflow,
            program=digest,
            input=run.input,
        )
        outcome: Outcome | None = None
        stopped_at = None
        try:
            outcome = await simulation.play(request, [*_arrivals(run)])
        except _Stopped as stopped:
            stopped_at = stopped.asked
        return _played(trace, outside, outcome, stopped_at)


def _arrivals(run: RecordedRun) -> Iterator[Arrival]:
    for task in run.record:
        if task.kind == "event" and isinstance(task.output, Mapping):
            # The timers of the same time come first: the task listened already when it got the event.
            yield Arrival(event=task.output, after_s=(max(0, task.at - run.started_ms) + 1) / 1000)


def _played(trace: Trace, outside: _Outside, outcome: Outcome | None, stopped_at: Asked | None) -> Played:
    ended = outcome is not None and outcome.status in ("completed", "faulted", "cancelled")
    waits_at = ""
    if outcome is not None and not ended:
        waiting = outcome.waiting_for
        pending = next((asked for asked in outside.asked if asked.awaited and asked.answer is None), None)
        waits_at = waiting.task if waiting is not None else "" if pending is None else pending.pointer
    return Played(
        visits=trace.visits,
        notes=trace.notes,
        asked=outside.asked,
        status="" if outcome is None else outcome.status if ended else "waiting",
        output=None if outcome is None else outside.without_generated(outcome.output),
        error={} if outcome is None or outcome.error is None else outcome.error,
        waits_at=waits_at,
        stopped_at=stopped_at,
    )


class _Stopped(Exception):
    """The replay cannot go on beyond a request."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked.reference)
        self.asked = asked


class _Outside:
    """The outside of a replay, as effects and as children: it answers, and does nothing."""

    def __init__(
        self, uid: str, answers: Answers, family: Family, clock: VirtualClock, redaction: Redaction
    ) -> None:
        self._answers = answers
        self._family = family
        self._clock = clock
        self._redaction = redaction
        self.asked: list[Asked] = []
        self._keys = re.compile(re.escape(uid.encode()) + rb'/[^"\\\s&?#;,]*')
        """Idempotency keys of the run."""
        self._ids: set[bytes] = set()
        """Generated ids of events."""
        self.end_child: Any = None

    async def perform(self, perform: Perform, *, run: EffectContext) -> Performed:
        """Return the recorded result to the player after its time; never, if the task got none."""
        assert run.uid
        asked = await self._ask("effect", perform, perform.reference, awaited=perform.await_result)
        answer = asked.answer
        if not perform.await_result:
            return Performed(frame=perform.frame)
        if answer is None:
            await asyncio.Event().wait()
        assert answer is not None
        if answer.at > answer.began:
            await self._clock.sleep((answer.at - answer.began) / 1000)
        error = None if answer.error is None else _error(answer)
        return Performed(frame=perform.frame, output=answer.output, error=error, definite=answer.definite)

    async def resolve(self, claim: Claim, starts: Sequence[StartChild]) -> ResolvedChildren:
        """Return no children to the player; the recorded result of each arrives after its time."""
        ended: list[ChildEnded] = []
        for start in starts:
            asked = await self._ask("child", start, start.reference, awaited=start.awaits)
            answer = asked.answer
            if answer is None or not start.awaits:
                continue
            if not answer.started:
                ended.append(
                    ChildEnded(
                        frame=start.frame, number=0, status="faulted", error=answer.error, started=False
                    )
                )
                continue
            result = _encode({"status": answer.status, "output": answer.output, "error": answer.error})
            delay_s = max(0, answer.at - answer.began) / 1000
            self._clock.call_later(delay_s, self.end_child, claim.uid, start.frame, result)
        return ResolvedChildren(ended=ended)

    def emit(self, emits: Iterable[Emit]) -> None:
        """Note events that the player's run emits."""
        for emit in emits:
            if emit.generated:
                self._ids.add(emit.event["id"].encode())
            asked = Asked(kind="emit", reference=emit.reference, request=self._describe(emit))
            self.asked.append(asked)
            self._answers.find(asked)

    async def _ask(
        self, kind: Kind, asked_for: Perform | StartChild, reference: str, *, awaited: bool
    ) -> Asked:
        request = self._describe(asked_for.effect if isinstance(asked_for, Perform) else asked_for)
        asked = Asked(kind=kind, reference=reference, request=request, awaited=awaited)
        self.asked.append(asked)
        try:
            self._answers.find(asked)
        except NeverRecorded:
            self.asked.pop()
            await self._family.fail(_Stopped(asked))
        except Exception as error:  # noqa: BLE001 - the end of the replay, not of the run
            await self._fail(error)
        return asked

    async def _fail(self, error: Exception) -> NoReturn:
        await self._family.fail(error)

    def _describe(self, asked: Effect | StartChild | Emit) -> Mapping[str, Any]:
        described: dict[str, Any] = self.without_generated(redact_request(describe(asked), self._redaction))
        return described

    def without_generated(self, value: Any) -> Any:
        """Return data of the player's run without keys and ids of events, which name places of tasks."""
        plain = _encode(value)
        text = self._keys.sub(_KEY, plain)
        if self._ids:
            text = _UUID.sub(lambda found: _ID if found[0] in self._ids else found[0], text)
        return value if text == plain else msgspec.json.decode(text)


def _error(answer: RecordedTask) -> WorkflowError:
    known = answer.error or {}
    kind = RaisedError if answer.raised else WorkflowError
    return kind(
        known.get("type", "runtime"),
        status=known.get("status"),
        title=known.get("title"),
        detail=known.get("detail"),
        response=known.get("response"),
        process=known.get("process"),
    )


class _TracingLoader(Loader):
    """Loader whose runs report each step to a trace."""

    def __init__(
        self,
        programs: Programs,
        clock: VirtualClock,
        trace: Trace,
        outside: _Outside,
    ) -> None:
        super().__init__(programs, Sinks(), clock, modes=None, record_progress=None)
        self._trace = trace
        self._outside = outside

    def load(self, claim: Claim, held_until: float) -> tuple[Run, RunFault | None] | None:
        """Create the traced run of a claim, for the player."""
        loaded = super().load(claim, held_until)
        if loaded is not None:
            loaded[0].outgoing = TracingOutgoing(self._trace, self._outside.emit)
        return loaded

    def _make_recorder(self, _: Claim, program: Program | None) -> TracingRecorder | None:
        return None if program is None else TracingRecorder(self._trace)
