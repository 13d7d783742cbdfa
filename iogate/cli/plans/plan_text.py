"""Plan as text for a terminal: one block per object, the most severe first.

Used by the commands that show a plan. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from iogate.cli.render import Styled
from iogate.security.control_characters import escape_line

if TYPE_CHECKING:
    from iogate.reconcile.drift import Drift
    from iogate.reconcile.plan import Action, ObjectChange, Plan

MARKS: Final[Mapping[Action, str]] = {"add": "+", "change": "~", "delete": "-"}
_LABELS: Final = {"breaking": "BREAKING", "weakening": "WEAKENING", "caution": "caution", "neutral": ""}
_STYLES: Final = {"breaking": "bold red", "weakening": "bold yellow", "caution": "yellow", "neutral": ""}
_ACTION_STYLES: Final[Mapping[Action, str]] = {"add": "green", "change": "cyan", "delete": "red"}
_WIDTH: Final = max(map(len, _LABELS.values()))
_HANGING: Final = 4
"""Indentation below the head of an object."""


def plan_lines(
    plan: Plan,
    overrides: Sequence[Mapping[str, Any]] = (),
    *,
    clear_overrides: bool = False,
    summary: str = "",
) -> list[str]:
    """Return the text of a plan as lines: objects, overrides that stay or are cleared, and summary.

    `overrides` are those of a `PublicationPlan`.
    """
    lines: list[str] = [line for change in plan.changes for line in _change_lines(change)]
    mark = "-" if clear_overrides else "!"
    lines += [
        Styled(f"{mark}{line.removeprefix('!')}", "magenta", _HANGING)
        for line in map(override_line, overrides)
    ]
    if lines:
        lines.append("")
    return [*lines, Styled(summary or plan.summary(), "bold")]


def _change_lines(change: ObjectChange) -> Iterator[str]:
    where = f"  ({escape_line(change.source)})" if change.source else ""
    head = f"{MARKS[change.action]} {change.type} {escape_line(change.id)}{where}"
    yield Styled(head, _ACTION_STYLES[change.action], _HANGING)
    for meaning in change.meanings:
        text = f"{_margin(_LABELS[meaning.severity])}{escape_line(meaning.text)}"
        yield Styled(text, _STYLES[meaning.severity], len(_margin()))
    if change.used_by:
        shown = ", ".join(change.used_by[:5])
        more = f" and {len(change.used_by) - 5} more" if len(change.used_by) > 5 else ""
        yield Styled(f"{_margin()}started by {shown}{more}", hanging=len(_margin()))


def _margin(label: str = "") -> str:
    """Return the margin of a line in the text of a plan about an object."""
    return f"{'':<{_HANGING}}{label:<{_WIDTH}}  "


def drift_lines(drift: Sequence[Drift]) -> list[str]:
    """Return a line of a plan's text for each gate or schedule that differs from the live revision."""
    return [
        Styled(f"! {each.kind} {escape_line(each.id)}: {escape_line(each.text)}", "magenta", _HANGING)
        for each in drift
    ]


def override_line(override: Mapping[str, Any]) -> str:
    """Return an override as one line of a plan's text, with its author, reason and end."""
    from iogate.store.revisions.gate_states import state_of

    state = state_of(enabled=override["enabled"], held=override["held"])
    reason = f": {escape_line(override['reason'])}" if override["reason"] else ""
    until = f", until {override['expiresAt']}" if override["expiresAt"] else ""
    return f"! override {override['api']}: {state} by {escape_line(override['author'])}{until}{reason}"
