"""Display of the callback of a run, and of the run that its fault started, for `runs show`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iogate.store.events.due_callbacks import EndRecord
    from iogate.store.maintenance.process_presence import Process


def end_json(record: EndRecord | None) -> dict[str, Any]:
    """Return the members `callback` and `onFault` of a run, without those that are absent."""
    from iogate.store.runs.presentation import rfc3339

    if record is None:
        return {}
    found: dict[str, Any] = {}
    if record.id:
        state = "waiting"
        if record.delivered_ms is not None:
            state = "delivered"
        elif record.stopped_ms is not None:
            state = "given up"
        found["callback"] = {
            "id": record.id,
            "state": state,
            "attempts": record.tries,
            "lastStatus": record.status,
            "lastError": record.error,
            "nextAttemptAt": rfc3339(record.due_ms) if state == "waiting" else None,
            "deliveredAt": rfc3339(record.delivered_ms),
            "givenUpAt": rfc3339(record.stopped_ms),
        }
    if record.handler is not None:
        found["onFault"] = record.handler
    return found


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


def describe_redelivery(uid: str, api: str, workers: Sequence[Process]) -> tuple[str, bool]:
    """Describe the next attempt of a redelivered callback, and tell whether a worker can send it."""
    due = f"the callback of run {uid} is due now"
    if not workers:
        return f"{due}, and is sent when a worker runs", False
    if lacks := _unsigned(workers, api):
        return f"{due}, but workers cannot sign it: {lacks}", False
    return f"{due}: a worker sends it at once", True


def _unsigned(workers: Sequence[Process], api: str) -> str:
    """Return, for display, why workers cannot sign the callbacks of an API, and how many; else empty."""
    from iogate.operators.secrets.missing_secrets import of_callbacks

    lacking = [texts for each in workers if (texts := of_callbacks([each]).get(api))]
    reasons = "; ".join(dict.fromkeys(text for texts in lacking for text in texts))
    count = f" on {len(lacking)} of {len(workers)} workers" if 0 < len(lacking) < len(workers) else ""
    return reasons + count
