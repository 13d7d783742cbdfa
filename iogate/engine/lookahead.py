"""Name of the task that the next slice executes, determined before the slice.

Used by the worker for a run that may have crashed another worker, to find an expression that does not end.
Pure; evaluates nothing. Invariant: a named task is right; None if the slice may execute several tasks.

    has_pending_events ──yes──▶ a slice without steps: `next_task` names the task of the events
        └─────no──────────────▶ a slice of one step:   `next_task` names the task of the step
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from iogate.compiler.program import Program
from iogate.engine.commands import Arrived, Cancelled, ChildEnded, EngineEvent, Expired, Performed, Resumed
from iogate.engine.state.frame import Frame
from iogate.engine.state.run_state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class NextTask:
    """The task that a slice executes."""

    pointer: str
    """Static pointer of the task; `/input` and `/output` denote the workflow's own data flow."""
    name: str = ""
    """Name of the task; empty for the workflow's own data flow."""


def has_pending_events(state: State, events: Sequence[EngineEvent], now_ms: int) -> bool:
    """Look ahead: tell whether a slice processes input, events or due timers before its first step."""
    due_ms = state.due_ms
    return bool(events) or state.status == "pending" or (due_ms is not None and due_ms <= now_ms)


def next_task(program: Program, state: State, events: Sequence[EngineEvent], now_ms: int) -> NextTask | None:
    """Look ahead to the task of a slice that processes the events, if any, or else executes one step."""
    if state.ended or any(isinstance(each, Cancelled | Expired) for each in events):
        return None
    if state.status == "pending":
        return NextTask(pointer="/input")
    if has_pending_events(state, events, now_ms):
        return _only(program, state, _concerned(state, events, now_ms))
    return _stepping(program, state)


def task_under_way(program: Program, state: State) -> NextTask | None:
    """Look ahead to the only task whose effect is under way; None if there is not exactly one."""
    return _only(program, state, iter(state.under_way))


def _concerned(state: State, events: Sequence[EngineEvent], now_ms: int) -> Iterator[int]:
    for each in events:
        if isinstance(each, Performed | Arrived | ChildEnded):
            yield each.frame
        elif isinstance(each, Resumed):  # repeats effects and subscriptions
            yield from state.under_way
            yield from (key for key in state.waiting if _subscribes(state.frames[key]))
    yield from (key for key, moment in state.indexed().moments.items() if moment <= now_ms)


def _subscribes(frame: Frame) -> bool:
    return frame.phase == "event" and frame.wants is None


def _only(program: Program, state: State, keys: Iterator[int]) -> NextTask | None:
    """Look ahead to the next task if all these frames belong to it; None if they belong to several."""
    pointers = {_task_of(state, frame) for key in keys if (frame := state.frames.get(key)) is not None}
    return _task(program, pointers.pop()) if len(pointers) == 1 else None


def _task_of(state: State, frame: Frame) -> str:
    while frame.kind != "task":
        assert frame.parent is not None
        frame = state.frames[frame.parent]
    return frame.pointer


def _stepping(program: Program, state: State) -> NextTask | None:
    leaf = next(iter(state.indexed().leaves), None)
    if leaf is None:
        return None
    scope = state.frames[leaf]
    tasks = program.lists[scope.pointer].tasks
    if scope.position < len(tasks):
        return _task(program, tasks[scope.position].pointer)
    return _task(program, _task_of(state, scope)) or NextTask(pointer="/output")


def _task(program: Program, pointer: str) -> NextTask | None:
    """Return the task at a pointer for a lookahead; None for the empty pointer of the workflow."""
    return NextTask(pointer=pointer, name=program.tasks[pointer].name) if pointer else None
