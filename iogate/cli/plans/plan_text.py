"""Plan as text for a terminal: one block per object, the most severe first.

Used by the commands that show a plan. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from iogate.reconcile.plan import Action, ObjectChange, Plan
    from iogate.store.revisions.gates import Gate

MARKS: Final[Mapping[Action, str]] = {"add": "+", "change": "~", "delete": "-"}
_LABELS: Final = {"breaking": "BREAKING", "weakening": "WEAKENING", "caution": "caution", "neutral": ""}
_WIDTH: Final = max(map(len, _LABELS.values()))


def plan_lines(
    plan: Plan,
    gates: Mapping[str, Gate] | None = None,
    *,
    clear_overrides: bool = False,
    summary: str = "",
) -> list[str]:
    """Return the lines of a plan: its objects, the overrides that stay or are cleared, and the summary."""
    lines = [line for change in plan.changes for line in _change_lines(change)]
    mark = "-" if clear_overrides else "!"
    lines += [f"{mark}{line.removeprefix('!')}" for line in override_lines(gates or {})]
    if lines:
        lines.append("")
    return [*lines, summary or plan.summary()]


def _change_lines(change: ObjectChange) -> Iterator[str]:
    where = f"  ({change.source})" if change.source else ""
    yield f"{MARKS[change.action]} {change.type} {change.id}{where}"
    for meaning in change.meanings:
        yield f"    {_LABELS[meaning.severity]:<{_WIDTH}}  {meaning.text}"
    if change.used_by:
        shown = ", ".join(change.used_by[:5])
        more = f" and {len(change.used_by) - 5} more" if len(change.used_by) > 5 else ""
        yield f"    {'':<{_WIDTH}}  started by {shown}{more}"


def override_lines(gates: Mapping[str, Gate]) -> list[str]:
    """Return one line for each override that an apply keeps."""
    return [override_line(gate) for _, gate in sorted(gates.items()) if gate.override is not None]


def override_line(gate: Gate) -> str:
    """Return an override as one line, with its author, reason and end."""
    from iogate.store.runs.presentation import rfc3339

    override = gate.override
    assert override is not None, "the caller has checked it"
    reason = f": {override.reason}" if override.reason else ""
    until = f", until {rfc3339(override.expires_at_ms)}" if override.expires_at_ms else ""
    return f"! override {gate.api}: {override.state} by {override.author}{until}{reason}"
