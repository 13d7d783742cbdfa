"""Display of the gates of APIs: state and override, as text and as JSON.

Used by `api list`, `api show`, `status` and `override list`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iogate.store.revisions.gate_states import Gate, Override, Switch


def gate_json(gate: Gate | None) -> dict[str, Any]:
    """Return the JSON form of a gate; without a gate, an API is disabled."""
    if gate is None:
        return {
            "enabled": False,
            "held": False,
            "releasePerS": None,
            "override": None,
            "queued": 0,
            "running": 0,
        }
    return {
        "enabled": gate.enabled,
        "held": gate.held,
        "releasePerS": gate.release_per_s,
        "override": None if gate.override is None else override_json(gate.override),
        "queued": gate.queued,
        "running": gate.running,
    }


def override_json(override: Override) -> dict[str, Any]:
    """Return the JSON form of an override of a gate."""
    from iogate.store.runs.presentation import rfc3339

    return {
        "enabled": override.enabled,
        "held": override.held,
        "author": override.author,
        "reason": override.reason,
        "setAt": rfc3339(override.set_at_ms),
        "expiresAt": rfc3339(override.expires_at_ms),
    }


def switch_json(switch: Switch) -> dict[str, Any]:
    """Return the JSON form of the switch in a gate, of an API that git leaves to the commands."""
    from iogate.store.runs.presentation import rfc3339

    return {"author": switch.author, "reason": switch.reason, "setAt": rfc3339(switch.set_at_ms)}


def state_text(shown: dict[str, Any]) -> str:
    """Return the state in the JSON form of a gate or an override, as a cell of a table."""
    from iogate.store.revisions.gate_states import state_of

    state = state_of(enabled=shown["enabled"], held=shown["held"])
    rate = shown.get("releasePerS")
    return f"{state}, releasing {rate:g}/s" if rate is not None else state


def override_text(override: dict[str, Any] | None) -> str | None:
    """Return the override of a gate, in its JSON form, as a cell of a table: author, end and reason."""
    if override is None:
        return None
    end = f" until {override['expiresAt']}" if override["expiresAt"] else ""
    reason = f": {override['reason']}" if override["reason"] else ""
    return f"by {override['author']}{end}{reason}"


def with_overrides(
    columns: Sequence[str], rows: Sequence[Sequence[object]], overrides: Iterable[dict[str, Any] | None]
) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Return columns and rows of a table, with a column for overrides of gates if there are any."""
    cells = [override_text(each) for each in overrides]
    if not any(cells):
        return tuple(columns), [tuple(row) for row in rows]
    return (*columns, "override"), [(*row, cell) for row, cell in zip(rows, cells, strict=True)]
