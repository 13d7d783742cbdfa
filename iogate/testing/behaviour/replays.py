"""Replays of recorded runs with the old and the new definition of each changed workflow.

Called by the command `plan`. Invariants: nothing is written and nothing reaches the outside; a run counts
only if the old definition, played over its record, ends as the run did; memory holds the traces of one run.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from iogate.compiler.program import Program
from iogate.compiler.revision import Bundle, Revision
from iogate.errors import ExpectationFailed, NotFound
from iogate.store.keys import ENDED
from iogate.store.revisions.revisions import NotAuthentic
from iogate.store.runs.run_index import RunPage
from iogate.store.runs.views import RunView, Summary
from iogate.testing.behaviour.answers import EarlierAnswers, NotReplayable, RecordedAnswers
from iogate.testing.behaviour.places import Places
from iogate.testing.behaviour.player import Played, Player, RecordedRun
from iogate.testing.behaviour.replay_comparison import KINDS, Finding, compare
from iogate.testing.behaviour.trace import EndlessReplay
from iogate.testing.memory_store import MemoryRevisions
from iogate.worker.recording.recorded_tasks import decode_all
from iogate.worker.runs.programs import Programs

MOST_RUNS: Final = 1_000
LIMIT_S: Final = 60.0
"""Default limit of all replays, in seconds."""
RUN_S: Final = 30.0
"""Limit of one replay; an expression that does not end is not interrupted."""
SHOWN_RUNS: Final = 3
"""Number of runs that a finding names."""

CANCELLED: Final = "cancelled"
RETRIED: Final = "retried"
REDACTED: Final = "redacted value"
WITHHELD: Final = "secret needed"
DIFFERENT: Final = "not reproducible"
LONG: Final = "too long"
DAMAGED: Final = "damaged record"
EARLIER: Final = "earlier definition"


class Runs(Protocol):
    """Runs of a store."""

    async def search(
        self, *, api: str | None = ..., workflow: str = ..., statuses: Sequence[str] = ..., limit: int = ...
    ) -> RunPage:
        """List the runs to replay, newest first."""
        ...

    async def show(self, uid: str) -> RunView | None:
        """Return a run to replay."""
        ...

    async def recorded(self, uid: str) -> list[bytes]:
        """Return the recorded results of the tasks of a run to replay."""
        ...


class Definitions(Protocol):
    """Definitions of published programs."""

    async def program(self, digest: str) -> bytes:
        """Return a published definition to replay runs with.

        Raises NotFound or NotAuthentic.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Change:
    """A changed definition, and the runs to replay: those of APIs, or all of the workflow."""

    workflow: str
    """Full name of the new workflow."""
    before: str
    """Full name of the workflow of the runs."""
    old: str
    new: str
    """Digests of the programs."""
    apis: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CountedFinding:
    finding: Finding
    count: int
    runs: tuple[str, ...]
    """Uids of some of the runs."""


@dataclass(frozen=True, kw_only=True)
class WorkflowReplay:
    """Result of the replays of one changed workflow."""

    change: Change
    replayed: int = 0
    unchanged: int = 0
    """Replays without a finding."""
    findings: tuple[CountedFinding, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Number of runs that could not be replayed, by reason."""
    timed_out: bool = False
    """The limit was reached before all runs were replayed."""
    problem: str = ""
    """Why no run could be replayed, such as a definition that this release cannot load."""


def changes(before: Revision | None, after: Revision) -> tuple[Change, ...]:
    """Return the changed definitions to replay: of APIs that call another program, and of other workflows."""
    if before is None:
        return ()
    by_pair: dict[tuple[str, str, str, str], list[str]] = {}
    for name, api in sorted(after.apis.items()):
        was = before.apis.get(name)
        if was is not None and was.program != api.program:
            by_pair.setdefault((api.workflow, was.workflow, was.program, api.program), []).append(name)
    pairs = {(old, new) for _, _, old, new in by_pair}
    for name, workflow in sorted(after.workflows.items()):
        known = before.workflows.get(name)
        if (
            known is not None
            and known.program != workflow.program
            and (known.program, workflow.program) not in pairs
        ):
            by_pair[name, name, known.program, workflow.program] = []
    return tuple(
        Change(workflow=workflow, before=was, old=old, new=new, apis=tuple(apis))
        for (workflow, was, old, new), apis in by_pair.items()
    )


async def replay_changes(
    runs: Runs,
    definitions: Definitions,
    before: Revision | None,
    after: Bundle,
    *,
    count: int,
    limit_s: float = LIMIT_S,
) -> tuple[WorkflowReplay, ...]:
    """Replay the last `count` runs of each changed workflow, at most `limit_s` seconds in all."""
    until = time.monotonic() + limit_s
    results = []
    for change in changes(before, after.revision):
        skipped: Counter[str] = Counter()
        found = _recorded_runs(runs, change, count, skipped)
        try:
            old = await definitions.program(change.old)
            new = after.programs[change.new]
            result = await replay_runs(change, old, new, found, skipped=skipped, until=until)
        except (NotFound, NotAuthentic) as error:
            result = WorkflowReplay(change=change, problem=error.message)
        results.append(result)
    return tuple(results)


async def _recorded_runs(
    runs: Runs, change: Change, count: int, skipped: Counter[str]
) -> AsyncIterator[RecordedRun]:
    """Yield the last runs of a change that can be replayed; count the others by reason."""
    summaries = await _summaries(runs, change, count)
    wanted = 0
    for summary in summaries:
        if wanted >= count:
            return
        view = await runs.show(summary.uid)
        if view is None or not view.ended:
            continue
        wanted += 1
        reason = _unusable(view, change)
        if reason is not None:
            skipped[reason] += 1
            continue
        try:
            record = decode_all(await runs.recorded(summary.uid))
        except msgspec.MsgspecError:
            skipped[DAMAGED] += 1
            continue
        yield RecordedRun(
            uid=view.uid,
            workflow=view.workflow,
            status=view.status,
            input=view.input,
            started_ms=view.started_at_ms or view.created_at_ms,
            record=record,
        )


async def _summaries(runs: Runs, change: Change, count: int) -> list[Summary]:
    listed: list[Summary] = []
    for api in change.apis or (None,):
        # With the workflow, since a child has the API of its parent.
        found = await runs.search(api=api, workflow=change.before, statuses=sorted(ENDED), limit=count)
        listed += found.runs
    return sorted(listed, key=lambda each: -each.created_at_ms)


def _unusable(view: RunView, change: Change) -> str | None:
    if view.program != change.old:
        return EARLIER
    if view.status == "cancelled":
        return CANCELLED
    return RETRIED if view.attempt > 1 else None


async def replay_runs(
    change: Change,
    old: bytes,
    new: bytes,
    runs: AsyncIterator[RecordedRun],
    *,
    skipped: Counter[str] | None = None,
    until: float = float("inf"),
) -> WorkflowReplay:
    """Replay runs with the JSON of both definitions; `until` is a time of the monotonic clock.

    Raises NotFound for a definition that this release cannot load.
    """
    pair = await _Pair.load(change, old, new)
    skipped = Counter() if skipped is None else skipped
    found: dict[Finding, list[str]] = {}
    replayed = unchanged = 0
    timed_out = False
    async for run in runs:
        if time.monotonic() > until:
            timed_out = True
            break
        try:
            async with asyncio.timeout(RUN_S):
                findings = await pair.compare(run)
        except NotReplayable as reason:
            skipped[str(reason)] += 1
            continue
        except (EndlessReplay, TimeoutError):
            skipped[LONG] += 1
            continue
        except ExpectationFailed:
            skipped[DAMAGED] += 1
            continue
        replayed += 1
        unchanged += not findings
        for finding in findings:
            found.setdefault(finding, []).append(run.uid)
    return WorkflowReplay(
        change=change,
        replayed=replayed,
        unchanged=unchanged,
        findings=_counted(found.items()),
        skipped=dict(skipped),
        timed_out=timed_out,
    )


def _counted(found: Iterable[tuple[Finding, list[str]]]) -> tuple[CountedFinding, ...]:
    counted = [
        CountedFinding(finding=finding, count=len(uids), runs=tuple(uids[:SHOWN_RUNS]))
        for finding, uids in found
    ]
    return tuple(
        sorted(counted, key=lambda each: (-each.count, KINDS.index(each.finding.kind), each.finding.pointer))
    )


class _Pair:
    """Both definitions of a change, ready to play."""

    def __init__(self, change: Change, programs: Programs, before: Program, after: Program) -> None:
        self._change = change
        self._player = Player(programs)
        self._before, self._after = Places(before), Places(after)

    @classmethod
    async def load(cls, change: Change, old: bytes, new: bytes) -> _Pair:
        """Load the programs of both definitions of a change to replay.

        Raises NotFound for one that this release cannot load.
        """
        revision = Revision(apis={}, workflows={})
        programs = Programs(
            MemoryRevisions(Bundle(revision=revision, programs={change.old: old, change.new: new}))
        )
        return cls(
            change, programs, await _program(programs, change.old), await _program(programs, change.new)
        )

    async def compare(self, run: RecordedRun) -> tuple[Finding, ...]:
        """Replay a run with both definitions of a change, and return the findings.

        Raises NotReplayable, EndlessReplay, ExpectationFailed and TimeoutError.
        """
        record = RecordedAnswers(run.record)
        old = await self._player.play(self._change.old, run, record)
        self._require_reproduced(run, old, record)
        answers = EarlierAnswers(old.asked, self._after)
        new = await self._player.play(self._change.new, run, answers)
        return compare(old, new, self._before, self._after, answers)

    def _require_reproduced(self, run: RecordedRun, old: Played, record: RecordedAnswers) -> None:
        """Raise NotReplayable if the replay with the old definition does not end as the run did."""
        if old.status == run.status and not record.left:
            return
        if any(task.redacted for task in run.record):
            raise NotReplayable(REDACTED)
        raise NotReplayable(WITHHELD if self._before.program.secrets else DIFFERENT)


async def _program(programs: Programs, digest: str) -> Program:
    loaded = asyncio.Event()
    programs.fetch(digest, loaded.set)
    await loaded.wait()
    found = programs.get(digest)
    if not isinstance(found, Program):
        raise NotFound("" if found is None else found.reason)
    return found
