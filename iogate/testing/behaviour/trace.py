"""Trace of a replay: the tasks that it has visited, in order, with the data that they got.

Made by `player`, read by `replay_comparison`. It takes the place of the recorder of a solitary worker, which
is told the state before each step. Invariant: at most MOST_VISITS are kept; a longer replay is ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from iogate.compiler.program import Program
from iogate.engine import lookahead
from iogate.engine.commands import Emit, EngineEvent, Note
from iogate.engine.state.frame import Frame
from iogate.engine.state.frame_tree import scope_reference
from iogate.engine.state.run_state import State
from iogate.testing.behaviour.places import place_of
from iogate.worker.events.sinks import Sinks
from iogate.worker.pool.crash_report import TaskRecorder
from iogate.worker.runs.journal import Outgoing

MOST_VISITS: Final = 20_000


class EndlessReplay(Exception):
    """A replay with more than MOST_VISITS visits."""


@dataclass(eq=False, slots=True)
class Visit:
    """A task at which a replay arrived, or the end of a list of tasks."""

    pointer: str
    """Static pointer of the task; of the list, at its end."""
    static: str
    """Place of the task in the definition; empty at the end of a list."""
    place: str
    """Place of the task, with the iterations around it."""
    scope: str
    """Place of its list, with the iterations around it."""
    value: Any
    context: Any
    outcome: str = ""
    """`started` or `skipped`, once it is known."""
    case: str = ""
    """The case that a `switch` has chosen."""


@dataclass(eq=False)
class Trace:
    """Visits and notes of one replay."""

    program: Program
    overflow: Callable[[Exception], object]
    """Ends the replay with an error."""
    visits: list[Visit] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    _seen: dict[int, tuple[int | None, int, int]] = field(default_factory=dict)
    """Iteration, position and identity of the data of each scope, at its last visit."""
    _open: dict[str, deque[Visit]] = field(default_factory=dict)
    """Visits without outcome, by pointer."""

    def look(self, state: State) -> None:
        """Trace the tasks at which scopes of the state have arrived."""
        for frame in state.frames.values():
            if frame.kind == "scope" and frame.phase == "inside":
                now = (frame.turn, frame.position, id(frame.value))
                if self._seen.get(frame.id) != now:
                    self._seen[frame.id] = now
                    self._visit(state, frame)
        if len(self.visits) > MOST_VISITS:
            self.overflow(EndlessReplay())

    def _visit(self, state: State, frame: Frame) -> None:
        tasks = self.program.lists[frame.pointer].tasks
        scope = scope_reference(state.frames, frame)
        pointer = tasks[frame.position].pointer if frame.position < len(tasks) else frame.pointer
        visit = Visit(
            pointer=pointer,
            static=place_of(pointer) if frame.position < len(tasks) else "",
            place=place_of(scope + pointer[len(frame.pointer) :]),
            scope=place_of(scope),
            value=frame.value,
            context=_context(state, frame),
        )
        self.visits.append(visit)
        if visit.static:
            self._open.setdefault(pointer, deque()).append(visit)

    def note(self, notes: Sequence[Note]) -> None:
        """Trace notes of the engine, and the outcomes of visits that they tell."""
        self.notes.extend(notes)
        for note in notes:
            match note.kind:
                case "task.started" | "task.skipped":
                    visit = self._take_open(note)
                    if visit is not None:
                        visit.outcome = note.kind.removeprefix("task.")
                case "task.completed" if "case" in note.detail:
                    place = _iteration_place(note)
                    for visit in reversed(self.visits):
                        if visit.pointer == note.reference and place in (None, visit.place):
                            visit.case = note.detail["case"]
                            break
                case _:
                    pass

    def _take_open(self, note: Note) -> Visit | None:
        """Return the visit in the trace that a note is about: the oldest one, or that of its iteration."""
        waiting, place = self._open.get(note.reference), _iteration_place(note)
        found = next((each for each in waiting or () if place in (None, each.place)), None)
        if waiting is not None and found is not None:
            waiting.remove(found)
        return found


def _iteration_place(note: Note) -> str | None:
    """Return the place of the iteration of a parallel loop that a note is about; None outside such loops."""
    reference = note.detail.get("iteration") if note.detail else None
    return None if reference is None else place_of(reference)


def _context(state: State, frame: Frame) -> Any:
    while not frame.owns_context:
        if frame.parent is None:
            return None
        frame = state.frames[frame.parent]
    return frame.context


class _Emits(list[Emit]):
    """List of events that reports each addition."""

    def __init__(self, emitted: Callable[[Iterable[Emit]], None]) -> None:
        super().__init__()
        self._emitted = emitted

    def extend(self, emits: Iterable[Emit]) -> None:
        added = tuple(emits)
        self._emitted(added)
        super().extend(added)


class TracingRecorder(TaskRecorder):
    """Recorder of a run that makes each step a slice of its own."""

    def __init__(self, trace: Trace) -> None:
        super().__init__("", trace.program, lambda _: None)
        self._trace = trace

    def before(self, state: State, happened: Sequence[EngineEvent], now_ms: int) -> int:
        """Trace the state before a slice; return its number of steps."""
        self._trace.look(state)
        return 0 if lookahead.has_pending_events(state, happened, now_ms) else 1

    def resting(self, state: State) -> None:
        """Trace the state of a run that waits."""
        self._trace.look(state)


class TracingOutgoing(Outgoing):
    """Buffer of a run that passes its notes on to a trace, and its events to `emitted`."""

    __slots__ = ("_emitted", "_trace")

    def __init__(self, trace: Trace, emitted: Callable[[Iterable[Emit]], None]) -> None:
        self._trace = trace
        self._emitted = emitted
        super().__init__(Sinks())

    def clear(self) -> None:
        """Clear the buffer of a run with a trace, which keeps its notes."""
        super().clear()
        self.emits = _Emits(self._emitted)

    def note(self, notes: Sequence[Note]) -> None:
        """Add notes to the buffer of a run and to its trace."""
        self._trace.note(notes)
        super().note(notes)
