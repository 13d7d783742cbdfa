"""Display of the callback of a run, and of the run that its fault started, for `runs show`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def end_lines(run: Mapping[str, Any]) -> list[str]:
    """Return the lines of `runs show` about the callback and the run of `on_fault`."""
    lines: list[str] = []
    if run.get("onFault"):
        lines.append(f"{'on fault':<10} {run['onFault']}")
    callback = run.get("callback")
    if callback is None:
        return lines
    attempts = f"{callback['attempts']} attempt{'' if callback['attempts'] == 1 else 's'}"
    at = callback["deliveredAt"] or callback["givenUpAt"] or callback["nextAttemptAt"]
    when = {"waiting": "next at", "delivered": "at", "given up": "at"}[callback["state"]]
    lines.append(f"{'callback':<10} {callback['state']}, {attempts}, {when} {at}  ({callback['id']})")
    if callback["lastError"]:
        said = " ".join(str(callback["lastError"]).split())
        status = f"{callback['lastStatus']}: " if callback["lastStatus"] else ""
        lines.append(f"{'':<10} last: {status}{said}")
    return lines
