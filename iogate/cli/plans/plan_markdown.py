"""Plan as Markdown, for a comment on a pull request.

Used by `iogate plan`. Pure. Invariant: text of documents is escaped, so that it can neither form markup nor
mention a person.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from iogate.cli.plans.plan_text import MARKS
from iogate.reconcile.json_diff import ABSENT
from iogate.reconcile.meanings.change_kinds import MARKED
from iogate.reconcile.shown_values import as_text, shown
from iogate.security.control_characters import escape_line

if TYPE_CHECKING:
    from iogate.reconcile.plan import ObjectChange, Plan

MAX_CHARACTERS: Final = 60_000
"""A comment on GitHub has at most 65,536 characters."""
_SPECIAL: Final = re.compile(r"([\\`*_\[\]~$|]|:(?=//)|(?<=www)\.)", re.IGNORECASE)
"""Characters that start markup or a link within a line."""
_LABELS: Final = {"breaking": "🔴 **breaking**", "weakening": "🟠 **weakening**", "caution": "caution"}


def plan_markdown(plan: Plan, title: str, notes: list[str], summary: str = "") -> str:
    """Return the comment: a summary, the marked changes, and all changes in a part that can be opened."""
    parts = [f"### {escape(title)}", "", f"**{escape(summary or plan.summary())}**", ""]
    marked = [
        f"- {_LABELS[meaning.severity]} {escape(change.id)}: {escape(meaning.text)}"
        for change in plan.changes
        for meaning in change.meanings
        if meaning.severity in MARKED
    ]
    if marked:
        parts += [*marked, ""]
    parts += [f"- {escape(note)}" for note in notes]
    if notes:
        parts.append("")
    if plan.changes:
        parts += _details(plan, MAX_CHARACTERS - sum(len(part) + 1 for part in parts))
    return "\n".join(parts)


def _details(plan: Plan, room: int) -> list[str]:
    lines = ["<details><summary>All changes</summary>", ""]
    room -= 200
    for number, change in enumerate(plan.changes):
        block = list(_block(change))
        room -= sum(len(line) + 1 for line in block)
        if room < 0:
            lines += [f"… and {len(plan.changes) - number} more; `iogate plan` shows all", ""]
            break
        lines += block
    return [*lines, "</details>"]


def _block(change: ObjectChange) -> Iterator[str]:
    source = f" ({escape(change.source)})" if change.source else ""
    yield f"**{escape(MARKS[change.action])} {change.type} {escape(change.id)}**{source}"
    yield ""
    for meaning in change.meanings:
        label = _LABELS.get(meaning.severity, "")
        yield f"- {label}{' ' if label else ''}{escape(meaning.text)}"
    if change.used_by:
        yield f"- started by {escape(', '.join(change.used_by))}"
    yield ""
    if change.fields:
        yield "<table><tr><th>field</th><th>before</th><th>after</th></tr>"
        for field in change.fields:
            before, after = (
                "" if value is ABSENT else _cell(as_text(shown(field.path, value)))
                for value in (field.before, field.after)
            )
            yield f"<tr><td>{_cell(field.pointer)}</td><td>{before}</td><td>{after}</td></tr>"
        yield "</table>"
        yield ""


def escape(text: str) -> str:
    """Return a text of a plan as Markdown that shows exactly this text."""
    plain = _SPECIAL.sub(r"\\\1", html.escape(escape_line(text), quote=False))
    # A zero-width space prevents a mention of a person and a link to an issue.
    return plain.replace("@", "@\u200b").replace("#", "#\u200b")


def _cell(text: str) -> str:
    """Return a text of a plan for a cell of an HTML table, in which no Markdown is interpreted."""
    encoded = html.escape(escape_line(text)).replace("@", "&#64;")
    # Characters that start Markdown or a link become entities, which no renderer interprets.
    return "<code>" + re.sub(r"[`*_\[\]|~$:]", lambda found: f"&#{ord(found[0])};", encoded) + "</code>"
