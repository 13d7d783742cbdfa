"""Notation of scalars: plain where that means the same, otherwise in quotes.

Called by the printer. The author's notation of numbers, of plain texts and of escapes stays.
"""

from __future__ import annotations

import re
from typing import Final

import yaml

from iogate.documents.formatter.syntax import Scalar
from iogate.documents.yaml.scalars import UnfitNumber, resolve
from iogate.documents.yaml.source import LINE_BREAK

_INDICATORS: Final = re.compile(r"""[:#,\[\]{}&*!|>'"%@`\\]|^[-?]""")
_EXPRESSION: Final = re.compile(r"\$\{.*\}")
_NEVER_PLAIN: Final = re.compile(r": |:$| #|\s\s")
_UNPRINTABLE: Final = re.compile(
    "[^\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|[\u2028\u2029]"
)
_RESOLVERS: Final = yaml.SafeLoader.yaml_implicit_resolvers
_ONE_LETTER: Final = frozenset("yYnN")
"""Booleans of YAML 1.1 that PyYAML does not know."""
_ESCAPE: Final = re.compile(r"\\(?:\r\n|.)", re.DOTALL)
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}


def one_line(scalar: Scalar, *, flow: bool) -> str:
    """Return a scalar in its style on one line, without properties; `flow`: inside brackets, or as a key."""
    raw, style, value = scalar.raw, scalar.style, scalar.value
    if style in {"|", ">"} or LINE_BREAK.search(raw):
        if not style and not _UNPRINTABLE.search(value):
            return value
        # The rules of a text on one line apply to it, so that formatting it again changes nothing.
        raw, style = double_quoted(value), '"'
    if style == "":
        return raw
    if "!" in scalar.properties.split("&")[0] or "!" in scalar.properties.partition(" ")[2]:
        return raw
    if is_plain(value, flow=flow):
        return value
    if style == '"' and _has_escapes(raw):
        return raw
    if _UNPRINTABLE.search(value):
        return raw if style == "'" else double_quoted(value)
    if '"' in value:
        return raw if "'" in value else f"'{value}'"
    return raw if "\\" in value else f'"{value}"'


def is_plain(text: str, *, flow: bool) -> bool:
    """Tell whether a quoted scalar is better off without quotes.

    That is the case if it has no character with a meaning in YAML, or is an expression in block style, and no
    reader of YAML 1.1 or 1.2 takes it for another type.
    """
    if not text or text != text.strip() or not text.isprintable():
        return False
    if _INDICATORS.search(text) and (flow or not _EXPRESSION.fullmatch(text) or _NEVER_PLAIN.search(text)):
        return False
    try:
        if not isinstance(resolve(text), str):
            return False
    except UnfitNumber:
        return False
    resolvers = _RESOLVERS.get(text[0], ())
    return text not in _ONE_LETTER and not any(regexp.match(text) for _, regexp in resolvers)


def _has_escapes(raw: str) -> bool:
    """Tell whether a scalar in double quotes has escapes other than of quotes and backslashes."""
    return any(found[0][1] not in '"\\' for found in _ESCAPE.finditer(raw))


def double_quoted(text: str) -> str:
    """Return a text as a scalar in double quotes on one line, with the escapes that YAML requires."""
    return '"' + "".join(_ESCAPES.get(char) or _printable(char) for char in text) + '"'


def _printable(char: str) -> str:
    if not _UNPRINTABLE.match(char):
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def several_lines(scalar: Scalar) -> list[str] | None:
    """Return the lines of a plain or quoted scalar over several lines; None if it is better on one.

    The lines are without indentation, which has no meaning in them.
    """
    if scalar.style in {"|", ">"} or any(char in scalar.raw for char in "\x85\u2028\u2029"):
        return None
    lines = LINE_BREAK.split(scalar.raw)
    if len(lines) == 1:
        return None
    first, *middle, last = lines
    return [_right(first), *(_right(line.lstrip(" \t")) for line in middle), last.lstrip(" \t")]


def _right(line: str) -> str:
    """Return a line of a scalar without spaces at its end, except one that is escaped."""
    cut = line.rstrip(" \t")
    escapes = len(cut) - len(cut.rstrip("\\"))
    return cut + line[len(cut)] if escapes % 2 and len(line) > len(cut) else cut
