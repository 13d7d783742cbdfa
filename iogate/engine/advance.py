"""Entry point of the engine: `advance` a run by the events received since the last step.

Called by the worker, the harness of `testing` and `iogate run`; nothing else in the engine advances a run.
`advance` is a pure function: equal arguments give equal results. A run that has not begun is a `State()`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from iogate.compiler.program import Program
from iogate.engine.commands import (
    Arrived,
    Cancelled,
    ChildEnded,
    Emit,
    EngineEvent,
    Expired,
    Note,
    Perform,
    Performed,
    Resumed,
    StartChild,
    TaskEnd,
    TaskFault,
)
from iogate.engine.expression_scope import Environment, RunFacts
from iogate.engine.interpreter import loop
from iogate.engine.interpreter.execution_context import ExecutionContext
from iogate.engine.state.frame_tree import FrameTree
from iogate.engine.state.run_state import State, extend_change_log
from iogate.timing import durations

__all__ = ["BUDGET", "Advance", "Environment", "RunFacts", "advance"]

BUDGET = 200
"""Steps per slice: the worker serves other runs between two slices."""


class Advance(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one call of `advance`."""

    state: State
    """The caller cancels an effect whose frame is no longer in the state."""
    performs: tuple[Perform, ...] = ()
    emits: tuple[Emit, ...] = ()
    """To be published by the commit of this state."""
    children: tuple[StartChild, ...] = ()
    """To be started by the commit of this state."""
    notes: tuple[Note, ...] = ()
    faulted: tuple[TaskFault, ...] = ()
    """Tasks that have failed, also those whose error was caught."""
    completed: tuple[TaskEnd, ...] = ()
    """Tasks that have completed, of a traced run; without those that call, start or receive something."""
    more: bool = False
    """True if the budget was used up: call again without events."""


def advance(
    program: Program,
    state: State,
    events: Sequence[EngineEvent],
    now_ms: int,
    facts: RunFacts,
    environment: Environment | None = None,
    budget: int = BUDGET,
    *,
    traced: bool = False,
) -> Advance:
    """Process the events, then execute steps until every branch waits or the budget is used up.

    `traced`: the result has the data of tasks that complete, for the record of the run.
    """
    if state.ended:
        return Advance(state=state)
    ctx = ExecutionContext(
        program=program,
        facts=facts if state.links is None else msgspec.structs.replace(facts, links=state.links),
        environment=environment or Environment(),
        now_ms=now_ms,
        tree=FrameTree(state),
        budget=budget,
        inbox_done=state.inbox_done,
        traced=traced,
    )
    _handle_events(ctx, state, events)
    if ctx.ended is None:
        loop.fire_timers(ctx)
    if ctx.ended is None:
        loop.run(ctx)
    return _result(ctx, state)


def _handle_events(ctx: ExecutionContext, state: State, events: Sequence[EngineEvent]) -> None:
    """Process events before a run advances: its end first, then results and messages, then effects."""
    for each in events:
        if isinstance(each, Cancelled):
            ctx.cancel_run(each.reason)
            return
    for each in events:
        if isinstance(each, Expired):
            length = durations.format_seconds(each.limit_s)
            loop.expire_run(ctx, f"the run took longer than the timeout of its API, {length}")
            return
    if state.status == "pending":
        ctx.begin_run()
    for each in events:
        if isinstance(each, Performed) and ctx.ended is None:
            loop.finish_effect(ctx, each)
        elif isinstance(each, Arrived | ChildEnded) and (each.number == 0 or each.number > ctx.inbox_done):
            ctx.inbox_done = max(ctx.inbox_done, each.number)
            if ctx.ended is None:
                loop.handle_message(ctx, each)
    for each in events:
        if isinstance(each, Resumed) and ctx.ended is None:
            loop.resume_effects(ctx, each.worker)


def _result(ctx: ExecutionContext, before: State) -> Advance:
    """Return the result of `advance`: the next state and its commands."""
    tree = ctx.tree
    if ctx.ended is not None:
        state = State(
            frames=ctx.frames_at_fault,
            next_id=tree.next_id,
            status=ctx.ended,
            output=ctx.output,
            error=ctx.error,
            faulted_at=ctx.faulted_at,
            inbox_done=ctx.inbox_done,
            links=before.links,
        )
    else:
        if ctx.more:
            tree.index.reorder_leaves(ctx.ready)
        state = State(
            frames=tree.frames,
            next_id=tree.next_id,
            status="running" if ctx.more or tree.index.effects else "waiting",
            inbox_done=ctx.inbox_done,
            links=before.links,
            index=tree.index,
            trail=extend_change_log(before, tree.changed_ids()),
        )
    # Effects and children that are not awaited start even if the run has ended.
    return Advance(
        state=state,
        performs=tuple([each for each in ctx.performs if not each.await_result or each.frame in tree]),
        emits=tuple(ctx.emits),
        children=tuple([each for each in ctx.children if not each.awaits or each.frame in tree]),
        notes=tuple(ctx.notes),
        faulted=tuple(ctx.faulted),
        completed=tuple(ctx.completed),
        more=ctx.more,
    )
