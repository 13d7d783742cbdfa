"""What a run was at when its worker died: noted by the worker beforehand, read by who buries it.

Each run of a solitary worker has a `TaskRecorder`, which leaves word in the worker's sign of life; `pool`
makes of the last note the error of a run that is poisoned. Invariants: a note is there before what it speaks
of begins, at the cost of one local write; it holds no data, only where in the program the run is.
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
    "most likely what the task calls ended the worker or held it up: a Python function shares the worker's "
    "process, a script has one of its own"
)
_OUT_OF_MEMORY = {-signal.SIGKILL, -signal.SIGABRT}
"""The kernel's way to end a process for its memory, and jq's to end its own."""


class CrashNote(msgspec.Struct, frozen=True, kw_only=True):
    uid: str
    pointer: str | None = None
    """Static, of the task; None: nobody can tell, there are several."""
    name: str = ""
    calls: bool = False
    """It does not compute: what it calls or runs is under way."""


class TaskRecorder:
    """Writes down what one run comes to, before it does."""

    def __init__(self, uid: str, program: Program, record_progress: Callable[[bytes], None]) -> None:
        self._uid = uid
        self._program = program
        self._record_progress = record_progress

    def before(self, state: State, happened: Sequence[EngineEvent], now_ms: int) -> int:
        """Note what the next slice comes to; how many steps it may have, so that it comes to nothing else."""
        self._note(lookahead.next_task(self._program, state, happened, now_ms))
        return 0 if lookahead.has_pending_events(state, happened, now_ms) else 1

    def resting(self, state: State) -> None:
        """Note what goes on outside, while there is nothing to work out."""
        self._note(lookahead.task_under_way(self._program, state), calls=True)

    def _note(self, found: lookahead.NextTask | None, *, calls: bool = False) -> None:
        pointer, name = (None, "") if found is None else (found.pointer, found.name)
        self._record_progress(
            msgspec.json.encode(CrashNote(uid=self._uid, pointer=pointer, name=name, calls=calls))
        )


def decode_note(text: bytes) -> CrashNote | None:
    """The note; None where none was written."""
    try:
        return msgspec.json.decode(text, type=CrashNote)
    except msgspec.DecodeError:
        return None


def describe_crash(note: CrashNote, gone: Exit | None, error_types: str) -> bytes:
    """The error of a run that ended its last worker; `gone`: how that went, where it was seen."""
    task = f'task "{note.name}": ' if note.name else ""
    how, cause = _last(gone)
    if note.calls:
        cause = _OUTSIDE
    described = poison(f"{task}{DIED}{how}: {cause}", instance=note.pointer)
    return json.dumps(in_family(described, error_types)).encode()


def _last(gone: Exit | None) -> tuple[str, str]:
    """How the last worker died, and what that speaks for."""
    if gone is None or gone.reason == "stopped":
        return "", UNENDING
    if gone.reason == "hung":
        return f", the last time since it gave no sign of life for {gone.silent_s:g} s", _ENDLESS
    if gone.code < 0:
        likely = _UNMEASURED if gone.code in _OUT_OF_MEMORY else UNENDING
        return f", the last time by signal {-gone.code}", likely
    return f", the last time with code {gone.code}", UNENDING
