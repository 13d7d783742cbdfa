"""Application of fixes to the text of a YAML file, with comments and formatting kept.

Called by `iogate lint --fix`. Invariant: the edited text reads as the old data with exactly these changes;
a fix for which that is not so, such as one inside an anchor, is not made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from iogate import json_pointer
from iogate.documents.fixes import Fix, RenameKey, ReplaceComment, ReplaceText
from iogate.documents.yaml.nodes import Node
from iogate.documents.yaml.reader import Reading, read_text
from iogate.documents.yaml.source import Source, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    """Replacement of a span of a file's text."""

    start: int
    end: int
    text: str


def apply_fixes(text: str, path: str, fixes: Iterable[Fix]) -> tuple[str, tuple[Fix, ...]]:
    """Apply as many fixes as possible as edits of a text; return the text and the applied fixes."""
    reading = read_text(text, path)
    if reading.root is None:
        return text, ()
    edits = {fix: edit for fix in dict.fromkeys(fixes) if (edit := _edit(reading, fix)) is not None}
    edited, made = text, dict[Fix, _Edit]()
    # All at once; where that fails by halves, as each trial reads the text.
    parts = [tuple(edits)]
    while parts:
        part = parts.pop()
        together = made | {fix: edits[fix] for fix in part}
        trial = _apply(reading, together) if part else None
        if trial is not None:
            edited, made = trial, together
        elif len(part) > 1:
            middle = len(part) // 2
            parts += [part[middle:], part[:middle]]
    return edited, tuple(made)


def _apply(reading: Reading, edits: Mapping[Fix, _Edit]) -> str | None:
    """Return the text with the edits of all fixes; None if that says something else."""
    expected = _copied(reading.data)
    # Deeper keys first, so that the pointers of the others remain valid.
    changes = sorted(
        (fix for fix in edits if not isinstance(fix, ReplaceComment)),
        key=lambda fix: len(fix.pointer),
        reverse=True,
    )
    if not all(_change(expected, fix) for fix in changes):
        return None
    edited = reading.source.text
    before = len(edited) + 1
    for edit in sorted(edits.values(), key=lambda each: each.start, reverse=True):
        if edit.end > before:
            return None
        edited = edited[: edit.start] + edit.text + edited[edit.end :]
        before = edit.start
    again = read_text(edited, reading.source.path)
    return edited if again.data == expected and len(again.problems) <= len(reading.problems) else None


def _edit(reading: Reading, fix: Fix) -> _Edit | None:
    """Return the edit that makes a fix; None if its place does not exist or cannot be edited."""
    try:
        return _edit_of(reading, fix)
    except (LookupError, TypeError):
        return None


def _edit_of(reading: Reading, fix: Fix) -> _Edit | None:
    assert reading.root is not None
    source = reading.source
    match fix:
        case RenameKey(pointer=pointer, name=name):
            span = reading.root.place(pointer, key=True)
            return _replacement(source, span, name, str(pointer[-1]))
        case ReplaceText(pointer=pointer, text=text):
            old = json_pointer.value_at(reading.data, pointer)
            return _replacement(source, reading.root.place(pointer), text, old)
        case ReplaceComment():
            return _comment(source, fix)


def _replacement(source: Source, span: Span, text: str, old: object) -> _Edit | None:
    """Return the edit of a YAML scalar that is on one line and reads as `old`."""
    start = source.index_of(span.line, span.column)
    written = source.text[start : start + span.length]
    if not isinstance(old, str) or read_text(f"- {written}", source.path).data != [old]:
        return None
    end = start + span.length
    for shown in _styles(text, written):
        # In a flow mapping, braces end a plain text.
        again = read_text(source.text[:start] + shown + source.text[end:], source.path)
        if again.root is not None and _has(again.root, span, text):
            return _Edit(start=start, end=end, text=shown)
    return None


def _styles(text: str, written: str) -> Iterator[str]:
    """Yield notations of a text for an edit: quoted as the replaced text, else as `iogate fmt` writes it."""
    if written.startswith('"'):
        yield json.dumps(text, ensure_ascii=False)
        return
    if not written.startswith("'"):
        yield text
        if '"' not in text and "\\" not in text:
            yield f'"{text}"'
    yield "'" + text.replace("'", "''") + "'"


def _has(root: Node, span: Span, text: str) -> bool:
    """Tell whether a key or a value to edit reads as the text."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.value == text and (node.span.line, node.span.column) == (span.line, span.column):
            return True
        for name, (key, child) in (node.entries or {}).items():
            if name == text and (key.line, key.column) == (span.line, span.column):
                return True
            waiting.append(child)
        waiting.extend(node.items)
    return False


def _comment(source: Source, fix: ReplaceComment) -> _Edit:
    start = source.index_of(fix.line, fix.column)
    end = source.index_of(fix.line, len(source.lines[fix.line - 1]) + 1)
    if fix.text:
        return _Edit(start=start, end=end, text=fix.text)
    before = source.lines[fix.line - 1][: fix.column - 1]
    if before.strip():
        return _Edit(start=start - len(before) + len(before.rstrip()), end=end, text="")
    following = source.index_of(fix.line + 1, 1) if fix.line < len(source.lines) else end
    return _Edit(start=start - len(before), end=following, text="")


def _change(data: Any, fix: RenameKey | ReplaceText) -> bool:
    """Make the edit of a fix in the data; False if it has no such place, or the new key exists."""
    *above, last = fix.pointer
    holder = json_pointer.value_at(data, tuple(above))
    if isinstance(fix, ReplaceText):
        if not isinstance(holder, dict | list):
            return False
        holder[last] = fix.text  # type: ignore[index] # the last step fits the type of its holder
        return True
    if not isinstance(holder, dict) or last not in holder or fix.name in holder:
        return False
    holder[fix.name] = holder.pop(last)
    return True


def _copied(value: Any) -> Any:
    """Return a copy of the data to edit, in which the values of aliases are copies of their own, too."""
    match value:
        case dict():
            return {name: _copied(each) for name, each in value.items()}
        case list():
            return [_copied(each) for each in value]
        case _:
            return value
