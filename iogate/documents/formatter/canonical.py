"""Canonical text of a document, and the proof that it means the same as the text before.

Called by `iogate fmt`. Invariant: a text is returned only if the reader reads the same value from it, and it
has the same comments; the digest of a compiled document depends on its values alone, so it stays, too.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from iogate.documents.formatter.key_order import sort_keys
from iogate.documents.formatter.lexer import Lexer
from iogate.documents.formatter.parser import keep_head, parse
from iogate.documents.formatter.printer import print_document
from iogate.documents.ignores import read_ignores
from iogate.documents.yaml.composer import join_surrogates
from iogate.documents.yaml.reader import read_text
from iogate.errors import Refused

if TYPE_CHECKING:
    from iogate.documents.validation_messages import Family
    from iogate.documents.yaml.reader import Reading

CHANGED_MEANING = "IOG720"


def canonical_text(reading: Reading, family: Family | None) -> str:
    """Return the canonical text of a file without errors; without a family its keys keep their order.

    Raises:
        Refused: the canonical text would not mean the same, which is an error of iogate.
    """
    assert reading.root is not None, "the reader has accepted the file"
    text = reading.source.text
    if text.lstrip().startswith("{"):
        text = join_surrogates(text)
    document = parse(text, _ignored(reading))
    if family is not None:
        sort_keys(document.root, reading.root, family)
        keep_head(document)
    made = print_document(document)
    if made != reading.source.text and (lost := _difference(reading, text, made)):
        raise Refused(
            f"{reading.source.path}: cannot be formatted: {lost}; the file stays as it is",
            code=CHANGED_MEANING,
            hint="write that part in a simpler form, and report this file: it is an error of iogate",
        )
    return made


def _ignored(reading: Reading) -> set[int]:
    """Return the lines of a text, from 0, to which ignore comments apply."""
    path = reading.source.path
    ignores = read_ignores({path: reading.source}).valid.get(path, ())
    return {line - 1 for each in ignores if not each.whole_file for line in each.comment.applies_to}


def _difference(reading: Reading, text: str, made: str) -> str:
    """Return the difference in meaning between the text and its canonical form; empty if there is none."""
    again = read_text(made, reading.source.path)
    if again.problems:
        return f"the result would not be valid ({again.problems[0].message})"
    if not _same(reading.data, again.data):
        return "the result would have other values"
    before, after = (Counter(each.text for each in Lexer(one).comments) for one in (text, made))
    return "" if before == after else "the result would lose a comment"


def _same(one: Any, other: Any) -> bool:
    """Tell whether a value and that of the canonical text are equal with equal types: 1, 1.0, true differ."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
