"""Display of the gates of APIs, from their JSON: state and override as cells of a table.

Used by `api list`, `api show`, `status` and `override list`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


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
