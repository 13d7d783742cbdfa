"""Crash attribution: a solitary worker records its current task; the supervisor reads it after a crash.

Each run of a solitary worker has a `TaskRecorder`, which writes to the heartbeat file of the worker; `pool`
turns the last note into the error of a poisoned run. Invariants: a note is written before its task begins, at
the cost of one local write; it contains no data, only the position in the program.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence

import msgspec

from iogate.compiler.program import Program
from iogate.engine import lookahead
from iogate.engine.commands import EngineEvent
from iogate.engine.state.run_state import State
from iogate.errors import in_family
from iogate.store.runs.leases import BOUND, DIED, UNENDING, poison
from iogate.supervision.supervisor import Exit

_UNMEASURED = f"most likely an expression that takes more memory than a worker may have. {BOUND}"
_ENDLESS = f"most likely an expression that does not end. {BOUND}"
_OUTSIDE = (
    "most likely a call of the task ended or blocked the worker: a Python function shares the process of the "
    "worker, a script has its own"
)
_OUT_OF_MEMORY = {-signal.SIGKILL, -signal.SIGABRT}
"""Signals that end a process without memory: the kernel sends the first, jq aborts with the second."""


class CrashNote(msgspec.Struct, frozen=True, kw_only=True):
    """Position of a run in its program."""

    uid: str
    pointer: str | None = None
    """Static pointer of the task; None if several tasks are possible."""
    name: str = ""
    calls: bool = False
    """An effect of the task is under way; the worker computes nothing."""


class TaskRecorder:
    """Recorder of the current task of one run, before the task begins."""

    def __init__(self, uid: str, program: Program, record_progress: Callable[[bytes], None]) -> None:
        self._uid = uid
        self._program = program
        self._record_progress = record_progress

    def before(self, state: State, happened: Sequence[EngineEvent], now_ms: int) -> int:
        """Record the next slice's task for a crash report; return a number of steps that reach no other."""
        self._note(lookahead.next_task(self._program, state, happened, now_ms))
        return 0 if lookahead.has_pending_events(state, happened, now_ms) else 1

    def resting(self, state: State) -> None:
        """Record the effect that is under way for a crash report, while the run rests."""
        self._note(lookahead.task_under_way(self._program, state), calls=True)

    def _note(self, found: lookahead.NextTask | None, *, calls: bool = False) -> None:
        pointer, name = (None, "") if found is None else (found.pointer, found.name)
        self._record_progress(
            msgspec.json.encode(CrashNote(uid=self._uid, pointer=pointer, name=name, calls=calls))
        )


def decode_note(text: bytes) -> CrashNote | None:
    """Decode the note of a crashed worker; return None if there is none."""
    try:
        return msgspec.json.decode(text, type=CrashNote)
    except msgspec.DecodeError:
        return None


def describe_crash(note: CrashNote, gone: Exit | None, error_types: str) -> bytes:
    """Return the error of a poisoned run as JSON; `gone` is the exit of its last worker, if observed."""
    task = f'task "{note.name}": ' if note.name else ""
    how, cause = _describe_exit(gone)
    if note.calls:
        cause = _OUTSIDE
    described = poison(f"{task}{DIED}{how}: {cause}", instance=note.pointer)
    return json.dumps(in_family(described, error_types)).encode()


def _describe_exit(gone: Exit | None) -> tuple[str, str]:
    """Describe the exit of the last worker of a crashed run, and its likely cause."""
    if gone is None or gone.reason == "stopped":
        return "", UNENDING
    if gone.reason == "hung":
        return f", the last time because it did not respond for {gone.silent_s:g} s", _ENDLESS
    if gone.code < 0:
        likely = _UNMEASURED if gone.code in _OUT_OF_MEMORY else UNENDING
        return f", the last time by signal {-gone.code}", likely
    return f", the last time with code {gone.code}", UNENDING
