"""Idempotency keys that calls keep in later attempts of a `try`, since their outcome is unknown.

Used by `frame_tree`, and by `retry` for a retry of the run. The outermost `try` that repeats a call holds its
entry, which so outlives the inner ones:

    CALL: [NUMBERS, OUTCOME]   the call, by its reference, and the numbers at the end of its key

    unknown ── definite answer ──► known ── attempt with new keys ──► removed
       └── retry of the run ──► permitted: also an effect that must happen at most once is repeated

Invariants: within one attempt, no two calls have the same name; mappings of entries are never changed, since
frames share them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from iogate.engine.state.frame import Frame

MOST: Final = 1_000
"""Maximum number of entries of one `try`: as many as a parallel loop may have calls under way. A `try` with
so many gives no new keys."""

_UNKNOWN, _KNOWN, _PERMITTED = "unknown", "known", "permitted"

Entries = Mapping[str, Any]


def find_holder(frames: Mapping[int, Frame], scope: Frame) -> tuple[Frame | None, str]:
    """Return the `try` that holds the entries of the calls in a scope, and the end of their names.

    The holder is the outermost `try` whose list the scope is in. The end of the names counts the jumps back
    in the lists up to it, which tell apart calls of the same reference.
    """
    holder: Frame | None = None
    laps: list[int] = []
    upto = 0
    while True:
        task = _parent(frames, scope)
        if task.parent is None:
            break
        laps.append(scope.laps)
        if scope.pointer == f"{task.pointer}/try":
            holder, upto = task, len(laps)
        scope = _parent(frames, task)
    inside = laps[:upto]
    return holder, f"#{'.'.join(map(str, inside))}" if any(inside) else ""


def count_attempts(frames: Mapping[int, Frame], scope: Frame) -> list[int]:
    """Return the attempts with new keys of each `try` around a scope, outermost first."""
    attempts: list[int] = []
    while (task := _parent(frames, scope)).parent is not None:
        if scope.pointer in {f"{task.pointer}/try", f"{task.pointer}/catch/do"}:
            attempts.append(task.definite)
        scope = _parent(frames, task)
    return attempts[::-1]


def _parent(frames: Mapping[int, Frame], frame: Frame) -> Frame:
    assert frame.parent is not None
    return frames[frame.parent]


def keep(entries: Entries, call: str, numbers: str) -> Entries:
    """Keep the key of a call that ends without a definite answer, if there is room."""
    if is_full(entries) and call not in entries:
        return entries
    return {**entries, call: [numbers, _UNKNOWN]}


def settle(entries: Entries, call: str) -> Entries:
    """Record that a call has a definite answer: it keeps its key until an attempt has new keys."""
    return {**entries, call: [entries[call][0], _KNOWN]} if call in entries else entries


def renew(entries: Entries, below: str) -> Entries:
    """Remove the keys of answered calls in the list with the reference `below`."""
    return {
        call: entry for call, entry in entries.items() if entry[1] != _KNOWN or not call.startswith(below)
    }


def permit(entries: Entries) -> Entries:
    """Permit the repetition of all calls, with the keys that they have."""
    return {
        call: [numbers, _PERMITTED if outcome == _UNKNOWN else outcome]
        for call, (numbers, outcome) in entries.items()
    }


def is_full(entries: Entries) -> bool:
    """Tell whether there may be calls of unknown outcome without an entry."""
    return len(entries) >= MOST


def is_unknown(entries: Entries, call: str, *, in_retry: bool) -> bool:
    """Tell whether a call would be the repetition, not permitted, of a call of unknown outcome.

    `in_retry`: it is in a further attempt, so that it may be one of those without an entry.
    """
    if call in entries:
        return bool(entries[call][1] == _UNKNOWN)
    return in_retry and is_full(entries) and any(outcome == _UNKNOWN for _, outcome in entries.values())
