"""Recorded results of tasks, from which a replay answers: their stored form and its limits.

Written by `recorder`, read by replays of `testing`. Invariants: an entry contains no known secret; a result
over RESULT_BYTES is left out, and its size is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from iogate.store import keys

RESULT_BYTES: Final = 64 * 1024
"""Largest result that is kept, as JSON."""


class RecordedTask(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Result of an effect or of a child workflow, or an event that a task received."""

    kind: Literal["effect", "child", "event", "full"]
    """`full` marks a record that lacks the later entries of the run."""
    reference: str = ""
    """Pointer of the task with the index of each loop around it."""
    began: int = 0
    at: int = 0
    output: Any = None
    error: dict[str, Any] | None = None
    raised: bool = False
    """The error is raised by the author, such as in a function, and keeps its text."""
    definite: bool = True
    status: str = ""
    """Of a child: completed, faulted or cancelled."""
    started: bool = True
    """False for a child that could not be started."""
    redacted: bool = False
    """Something of the result was redacted."""
    omitted: int = 0
    """Size of a result that is left out because it is too large, in bytes."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RecordedTask)


def encode(task: RecordedTask) -> bytes:
    """Encode the recorded result of a task; a large one is left out."""
    text = _encoder.encode(task)
    if len(text) <= RESULT_BYTES:
        return text
    error = task.error and {name: task.error[name] for name in ("type", "status") if name in task.error}
    return _encoder.encode(msgspec.structs.replace(task, output=None, error=error, omitted=len(text)))


def decode_all(stored: Iterable[bytes]) -> tuple[RecordedTask, ...]:
    """Decode the recorded results of a run.

    Raises msgspec.MsgspecError for what another program wrote.
    """
    return tuple(_FULL if entry == _MARK else _decoder.decode(entry) for entry in stored)


_FULL: Final = RecordedTask(kind="full")
_MARK: Final = keys.RECORDED_FULL.encode()
