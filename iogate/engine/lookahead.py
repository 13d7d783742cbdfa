"""What a run comes to next, said before it happens: so it is known where an expression without end stands.

Used by the worker for a run that may have ended another worker. Pure; nothing is evaluated here. Invariant:
what is said holds, and where the next slice may come to several tasks nothing is said.

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
    pointer: str
    """Static, of the task; `/input` and `/output` are of the workflow's own data flow."""
    name: str = ""
    """The task's; the workflow's own data flow has none."""


def has_pending_events(state: State, events: Sequence[EngineEvent], now_ms: int) -> bool:
    """Whether a slice takes something in before its first step: its input, news, a time that has come."""
    due_ms = state.due_ms
    return bool(events) or state.status == "pending" or (due_ms is not None and due_ms <= now_ms)


def next_task(program: Program, state: State, events: Sequence[EngineEvent], now_ms: int) -> NextTask | None:
    """What a slice comes to that takes in the news, where there is any, and else does one step."""
    if state.ended or any(isinstance(each, Cancelled | Expired) for each in events):
        return None
    if state.status == "pending":
        return NextTask(pointer="/input")
    if has_pending_events(state, events, now_ms):
        return _only(program, state, _concerned(state, events, now_ms))
    return _stepping(program, state)


def task_under_way(program: Program, state: State) -> NextTask | None:
    """The task whose effect is under way."""
    return _only(program, state, iter(state.under_way))


def _concerned(state: State, events: Sequence[EngineEvent], now_ms: int) -> Iterator[int]:
    for each in events:
        if isinstance(each, Performed | Arrived | ChildEnded):
            yield each.frame
        elif isinstance(each, Resumed):  # what was under way is asked for again
            yield from state.under_way
            yield from (key for key in state.waiting if _subscribes(state.frames[key]))
    yield from (key for key, moment in state.indexed().moments.items() if moment <= now_ms)


def _subscribes(frame: Frame) -> bool:
    return frame.phase == "event" and frame.wants is None


def _only(program: Program, state: State, keys: Iterator[int]) -> NextTask | None:
    """The one task that all these frames are of."""
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
    """None: the workflow itself, which is no task."""
    return NextTask(pointer=pointer, name=program.tasks[pointer].name) if pointer else None
