"""Counts, times and errors of runs as text, for `status`, `api show` and `runs stats`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from iogate import messages

MAX_MESSAGE_LENGTH: Final = 60
"""Most characters of the message of an error on its line."""


def format_time(seconds: float | None) -> str | None:
    """Format a time of statistics for display, with as many digits as its histogram has."""
    if seconds is None:
        return None
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds:.1f}s" if seconds < 60 else f"{seconds / 60:.1f}m"


def recent_text(counts: Mapping[str, Any]) -> str | None:
    """Display statistics of recent runs: `12 completed, 1 fault; p50 80ms, p95 1.2s`; None without runs."""
    faults = counts["faulted"]
    parts = [f"{counts['completed']} completed"] if counts["completed"] else []
    parts += [messages.counted(faults, "fault")] if faults else []
    parts += [f"{counts['cancelled']} cancelled"] if counts["cancelled"] else []
    if not parts:
        return None
    duration = counts["durationS"]
    times = [f"{share} {format_time(duration[share])}" for share in ("p50", "p95")] if duration else []
    return "; ".join(part for part in (", ".join(parts), ", ".join(times)) if part)


def error_lines(errors: Sequence[Mapping[str, Any]]) -> list[str]:
    """Display each distinct error of statistics on a line, with its number and its last run."""
    return [
        f"{each['count']} x {each['status']} {each['code']}"
        f"{' at ' + each['task'] if each['task'] else ''}: "
        f"{messages.shorten(each['message'], MAX_MESSAGE_LENGTH)} (last: {each['lastRun']})"
        for each in errors
    ]
