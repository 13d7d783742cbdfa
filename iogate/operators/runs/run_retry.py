"""Retry of faulted runs, from the task that faulted or from an earlier one.

Used by `run_actions`, by `runs retry` of the command line, and by batches. The engine computes the new state
in this process, so that errors are reported at once; the store swaps it in.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from iogate.compiler.program import load
from iogate.engine import link_renewal, retry
from iogate.errors import IogateError, NotFound, Refused
from iogate.operators.activity import clean_reason
from iogate.operators.runs.run_details import run_not_found
from iogate.store.connection.failures import CommandFailed
from iogate.store.revisions.due_schedules import LIVE_REVISION
from iogate.store.runs.retry import RetryRequest
from iogate.store.state_codec import Codec
from iogate.value_types.semantic_versions import newest_version

if TYPE_CHECKING:
    from iogate.compiler.program import Program
    from iogate.compiler.revision import Revision
    from iogate.engine.state.run_state import State
    from iogate.store.runs.retry import RetryState
    from iogate.store.store import Store

LOST = "its state is lost; start a new run with `iogate api call --from-run`"


@dataclass(kw_only=True)
class Retrier:
    """Retry of one or more runs with the same options."""

    store: Store
    pointer: str | None
    """Task to resume from; None: the task that faulted."""
    current: bool
    """Whether to use the live definition."""
    by: str
    """Author of the retry."""
    now_ms: int
    """Time of the timers of the store."""
    reason: str = ""
    """Reason of the author, for the journal."""
    operation: str = ""
    """Id of the command; repeated with the same id, it retries no run twice."""
    compare: bool = False
    """Whether to remark that the live definition is not that of the run, which reads the live revision."""
    remarks: list[str] = field(default_factory=list)
    _programs: dict[str, Program] = field(default_factory=dict)
    _live: dict[int, Revision] = field(default_factory=dict)

    async def retry(self, uid: str, attempt: int = 0) -> bool:
        """Retry a run by this retrier's options, and return True; `attempt` is the faulted one, 0: any.

        Raises NotFound if there is no such run, and Refused if it cannot be retried.
        """
        if self.operation and await self.store.runs.was_retried(uid, self.operation):
            return True
        start = await self.store.runs.load_state(uid)
        if start is None:
            view = await self.store.runs.show(uid, most=0)
            if view is None:
                raise run_not_found(uid)
            raise _refused(uid, view.status)
        if attempt and start.attempt != attempt:
            raise _refused(uid, "changed")
        placed = await self._prepare(start)
        revision = placed.facts.revision if self.current else None
        reason = clean_reason(self.reason)
        request = RetryRequest(by=self.by, origin=self.pointer, revision=revision, reason=reason)
        outcome = await self.store.runs.retry(uid, placed, request, operation=self.operation)
        if outcome == "unknown":
            raise NotFound(f"no run {uid}", hint="its retention has passed meanwhile")
        if outcome != "retried":
            raise _refused(uid, outcome)
        return True

    async def _prepare(self, start: RetryState) -> RetryState:
        facts = start.facts
        if facts.revision == LIVE_REVISION:
            # Nothing would end it with its schedule, and each event would start a run twice.
            raise Refused(
                f"run {start.uid} is the standing run of a schedule, which has a new one",
                hint="it needs no retry; `iogate schedule list` shows the run that listens now",
            )
        program = old = await self._program(facts.program)
        if self.current:
            number, workflow, digest = await self._current(start.api, facts.workflow)
            facts = msgspec.structs.replace(facts, revision=number, workflow=workflow, program=digest)
            program = await self._program(digest)
        elif self.compare:
            await self._compare_with_live(start)
        if start.head is None:
            if self.pointer is not None:
                raise Refused(f"run {start.uid} has not started: retry it without --from")
            return msgspec.structs.replace(start, facts=facts)
        try:
            state = Codec(input=start.input).load(start.head, start.frames, start.values)
        except (ValueError, TypeError) as error:
            raise Refused(f"run {start.uid}: this release cannot read its state: {error}") from None
        if not state.ended:
            # Its fault could not be stored in its state: the run continues from its last commit.
            state = replace(state, status="faulted")
        if self.pointer is None:
            if self.current:
                state = retry.migrate(old, program, retry.restart_call(old, state))
            resumed = retry.resume_faulted(program, state, self.now_ms)
            if self.current and (call := retry.enclosing_call(program, state)) is not None:
                self.remarks.append(
                    f"{start.uid}: the function that {call} calls resumes in the middle, with its original "
                    f"arguments; --from {call} calls it with new ones"
                )
        else:
            view = await self.store.runs.show(start.uid)
            given = None if view is None else msgspec.json.decode(view.input)
            if self.current:
                found = retry.migrate_and_resume_from(old, program, state, self.pointer, self.now_ms, given)
            else:
                found = retry.resume_from(program, state, self.pointer, self.now_ms, given)
            resumed = found.state
            if not found.is_original_input:
                self.remarks.append(
                    f"{start.uid}: {self.pointer} receives the data at the time of the fault, since its "
                    "original input is not stored"
                )
        resumed, links = await self._renew_links(start, old, program, resumed)
        delta = Codec(input=start.input).delta(resumed)
        return msgspec.structs.replace(
            start, facts=facts, head=delta.head, frames=delta.frames, values=delta.values, links=links
        )

    async def _renew_links(
        self, start: RetryState, old: Program, program: Program, state: State
    ) -> tuple[State, tuple[tuple[str, int, int], ...]]:
        """Renew, for a retry, the links that tasks send again and that were used or have expired.

        Return the state, and the renewed links that were used, as `RetryState` has them. Raises Refused if a
        task would wait for a link that nobody gets.
        """
        if not program.links:
            return state, ()
        used, events = await self.store.links.uses(start.uid, program.links)
        expired = link_renewal.expired(program, state, start.started_at_ms, self.now_ms) - events
        reasons = dict.fromkeys(expired, "has expired")
        if self.pointer is None:
            begun = link_renewal.tasks_ahead(program, state)
        else:
            begun = link_renewal.tasks_from(program, self.pointer)
            reasons |= dict.fromkeys(used, "was used")
        link_renewal.check_sent_again(program, begun, reasons)
        names = [
            each
            for each in reasons
            if (self.pointer is not None and each in used) or link_renewal.is_sent_again(program, begun, each)
        ]
        state, renewed = link_renewal.renew_links(
            old, program, state, names, start.started_at_ms, self.now_ms
        )
        self.remarks += [
            f"{start.uid}: link {each.name} {reasons[each.name]}; a task that sends it again gets a new URL"
            for each in renewed
        ]
        return state, tuple(
            (each.name, each.spent_s * 1000, each.ends_s * 1000) for each in renewed if each.name in used
        )

    async def _compare_with_live(self, start: RetryState) -> None:
        """Remark on a retry that the run keeps its definition, if the live one of its workflow differs.

        Without a live revision that can be read, there is no remark: the retry does not need it.
        """
        facts = start.facts
        try:
            number, revision = await self._live_revision(start.api)
            # An unchanged version is no reason for a remark, although `--on current` would use a newer one.
            is_live = facts.workflow in revision.workflows
            name = (
                facts.workflow
                if is_live
                else newest_version(revision.workflows, facts.workflow.partition(":")[0])
            )
        except (IogateError, CommandFailed):
            return
        if name is not None and revision.workflows[name].program != facts.program:
            self.remarks.append(
                f"{start.uid}: continues with the definition of revision {facts.revision}; revision "
                f"{number} has another one, which --on current uses"
            )

    async def _program(self, digest: str) -> Program:
        if digest not in self._programs:
            self._programs[digest] = load(msgspec.json.decode(await self.store.revisions.program(digest)))
        return self._programs[digest]

    async def _current(self, api: str, workflow: str) -> tuple[int, str, str]:
        """Return revision, name and program of the live workflow to retry with, in the project of an API."""
        number, revision = await self._live_revision(api)
        name = workflow.partition(":")[0]
        newest = newest_version(revision.workflows, name)
        if newest is None:
            raise Refused(f"revision {number} has no workflow {name}", hint="retry without --on current")
        return number, newest, revision.workflows[newest].program

    async def _live_revision(self, api: str) -> tuple[int, Revision]:
        """Return number and content of the live revision in the project of an API; Refused without one."""
        live = await self.store.revisions.live_for(api)
        if live is None:
            raise Refused("nothing has been applied: there is no current definition")
        number = live[0]
        if number not in self._live:
            self._live[number] = await self.store.revisions.load(number)
        return number, self._live[number]


def _refused(uid: str, outcome: str) -> Refused:
    match outcome:
        case "changed":
            return Refused(f"run {uid} was retried meanwhile and faulted again")
        case "lost":
            return Refused(f"run {uid} cannot be retried: {LOST}")
        case "running" | "pending" | "waiting" | "suspended":
            return Refused(f"run {uid} is still {outcome}: only faulted runs can be retried")
        case _:
            return Refused(f"run {uid} has status {outcome}: only faulted runs can be retried")
