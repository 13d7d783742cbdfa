"""Replays debug cases of schedules: a tick at its moment, or the events that start a run.

Called by the command `test`. For `schedule.on` the engine executes the compiled schedule itself, so that its
filters, its correlations and `read` decide which run the events start, and with which input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iogate.engine.advance import Environment, RunFacts, advance
from iogate.engine.commands import Arrived, StartChild
from iogate.engine.event_prefilter import may_match
from iogate.engine.state.run_state import State
from iogate.errors import NotFound
from iogate.testing.case_replay import run_failures
from iogate.testing.clock import FakeClock
from iogate.testing.defaults import envelope_of
from iogate.testing.harness import NO_INPUT, UID, Harness
from iogate.testing.scripted_mock import scripted

if TYPE_CHECKING:
    from iogate.compiler.program import Program
    from iogate.compiler.schedules import Schedule
    from iogate.documents.dsl.metadata import ScheduleCase
    from iogate.testing.outcome import Outcome

Event = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Ticked:
    """Result of a case of a schedule."""

    outcome: Outcome | None
    """Of the run; None if the events start none."""
    failures: tuple[str, ...]
    """Differences from the expectation of the case; empty if it passed."""


async def replay_schedule(harness: Harness, workflow: str, case: ScheduleCase) -> Ticked:
    """Start a workflow, `namespace/name`, as its schedule does, and compare its end with the expectation.

    Raises:
        NotFound: the project has no such schedule.
        Unmocked: the run calls out and nothing stands in for the outside.
        StillRunning: the run does not end.
        ExpectationFailed: an event of the case is no CloudEvent.
    """
    known = harness.bundle.revision.scheduled
    if workflow not in known:
        raise NotFound(f"no schedule of {workflow}; there are: {', '.join(sorted(known)) or 'none'}")
    name, schedule = known[workflow]
    clock = FakeClock()
    clock.now_ms = _moment_ms(case, schedule, clock.now_ms)
    events: Sequence[Event] = [
        envelope_of(event, index, clock.now_ms) for index, event in enumerate(case.events or ())
    ]
    given = NO_INPUT
    if schedule.kind == "on":
        program = harness.program(schedule.program)
        listening = _Listening(program, harness.given_secrets().environment(program.secrets), clock.now_ms)
        taken = listening.take(events)
        if taken == 0:
            why = "more events are needed" if listening.gathers else "no event fits"
            return Ticked(outcome=None, failures=(f"no run is started: {why}",))
        given, events = listening.started[0].input, events[taken:]
    mocks = scripted(case.mocks)
    outcome = await harness.run(name, given, mocks=mocks, events=events, clock=clock)
    failures = run_failures(case.expect, outcome)
    return Ticked(
        outcome=outcome,
        failures=(*failures, *(failure for mock in mocks.values() for failure in mock.failures())),
    )


def _moment_ms(case: ScheduleCase, schedule: Schedule, now_ms: int) -> int:
    """Return the moment of the tick to replay: that of the case, else for `cron` the first from now on."""
    if case.at is not None:
        return case.at
    return schedule.next_ms(now_ms - 1) if schedule.kind == "cron" else now_ms


class _Listening:
    """The run behind `schedule.on`, until it starts a run of its workflow."""

    def __init__(self, program: Program, environment: Environment, now_ms: int) -> None:
        self._program = program
        self._environment = environment
        self._now_ms = now_ms
        self._facts = RunFacts(uid=UID, started_at_ms=now_ms, input=NO_INPUT)
        self._state = State()
        self.started: list[StartChild] = []
        self._walk(())

    @property
    def gathers(self) -> bool:
        """Tell whether the schedule's listening run in a replay has taken events and needs more of them."""
        return any(frame.kind == "round" for frame in self._state.frames.values())

    def take(self, events: Sequence[Event]) -> int:
        """Return how many events of a schedule's case start the replayed run; 0 if all of them start none."""
        for count, event in enumerate(events, 1):
            self._walk(
                [
                    Arrived(frame=frame.id, number=count, event=event)
                    for frame in self._state.frames.values()
                    if any(may_match(wanted, event) for wanted in frame.wants or ())
                ]
            )
            if self.started:
                return count
        return 0

    def _walk(self, news: Sequence[Arrived]) -> None:
        more = True
        while more:
            step = advance(self._program, self._state, news, self._now_ms, self._facts, self._environment)
            self._state, news, more = step.state, (), step.more
            self.started += step.children
