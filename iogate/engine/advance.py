"""The engine's entry point: `advance` a run by what has happened; a run that has not begun is a `State()`.

Called by the worker, the harness of `testing` and `iogate run`; nothing else in the engine moves a run.
It is a pure function: equal arguments give equal results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iogate.compiler.program import Program
from iogate.engine.commands import (
    Arrived,
    Cancelled,
    ChildEnded,
    Emit,
    Expired,
    Happening,
    Note,
    Perform,
    Performed,
    Resumed,
    StartChild,
)
from iogate.engine.interpreter import steps
from iogate.engine.interpreter.context import Walk
from iogate.engine.scope import Environment, RunFacts
from iogate.engine.state.frame_tree import Tree
from iogate.engine.state.run_state import State, followed
from iogate.timing import durations

__all__ = ["BUDGET", "Advance", "Environment", "RunFacts", "advance"]

BUDGET = 200
"""Steps between two moments at which a worker can do something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    state: State
    """An effect whose frame is no longer in it is not waited for any more: end it."""
    performs: tuple[Perform, ...] = ()
    emits: tuple[Emit, ...] = ()
    """To be published by the commit of this state."""
    children: tuple[StartChild, ...] = ()
    """To be started by the commit of this state."""
    notes: tuple[Note, ...] = ()
    more: bool = False
    """True: the budget was used up, call again with nothing happened."""


def advance(
    program: Program,
    state: State,
    happened: Sequence[Happening],
    now_ms: int,
    facts: RunFacts,
    environment: Environment | None = None,
    budget: int = BUDGET,
) -> Advance:
    """Walk on as far as the news, the time and the budget allow."""
    if state.ended:
        return Advance(state=state)
    walk = Walk(
        program=program,
        facts=facts,
        environment=environment or Environment(),
        now_ms=now_ms,
        tree=Tree(state),
        budget=budget,
        inbox_done=state.inbox_done,
    )
    _happen(walk, state, happened)
    if walk.ended is None:
        steps.wake(walk)
    if walk.ended is None:
        steps.run(walk)
    return _result(walk, state)


def _happen(walk: Walk, state: State, happened: Sequence[Happening]) -> None:
    """Take in the news: an end first, then answers, then what was lost with another worker."""
    for each in happened:
        if isinstance(each, Cancelled):
            walk.end_cancelled(each.reason)
            return
    for each in happened:
        if isinstance(each, Expired):
            length = durations.format_seconds(each.limit_s)
            steps.expire(walk, f"the run took longer than the timeout of its API, {length}")
            return
    if state.status == "pending":
        walk.begin_run()
    for each in happened:
        if isinstance(each, Performed) and walk.ended is None:
            steps.answered(walk, each)
        elif isinstance(each, Arrived | ChildEnded) and (each.number == 0 or each.number > walk.inbox_done):
            walk.inbox_done = max(walk.inbox_done, each.number)
            if walk.ended is None:
                steps.received(walk, each)
    for each in happened:
        if isinstance(each, Resumed) and walk.ended is None:
            steps.asked_again(walk, each.worker)


def _result(walk: Walk, before: State) -> Advance:
    tree = walk.tree
    if walk.ended is not None:
        state = State(
            frames=walk.kept,
            next_id=tree.next_id,
            status=walk.ended,
            output=walk.output,
            error=walk.error,
            inbox_done=walk.inbox_done,
        )
    else:
        if walk.more:
            tree.index.turns(walk.ready)
        state = State(
            frames=tree.frames,
            next_id=tree.next_id,
            status="running" if walk.more or tree.index.effects else "waiting",
            inbox_done=walk.inbox_done,
            index=tree.index,
            trail=followed(before, tree.touched()),
        )
    # What nobody waits for happens even where the run has ended since; the rest went with its frame.
    return Advance(
        state=state,
        performs=tuple(each for each in walk.performs if not each.await_result or each.frame in tree),
        emits=tuple(walk.emits),
        children=tuple(each for each in walk.children if not each.awaits or each.frame in tree),
        notes=tuple(walk.notes),
        more=walk.more,
    )
