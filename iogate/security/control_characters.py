r"""Escaping of characters that control a terminal.

Used by the command line and by logs for all texts that they write, since many contain data of callers.
A terminal executes C0, C1 and DEL; the Unicode controls for bidirectional text reorder what it shows.
Lone surrogates are escaped too: no stream can encode them.

Invariant: a terminal shows an escaped text literally, and escaping is idempotent. In a JSON string or a
double-quoted YAML string the escaped form (`\u001b`) means the same character.
"""

from __future__ import annotations

import re
from typing import Final

_BEYOND_C0: Final = r"\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_IN_BLOCK: Final = re.compile(rf"[\x00-\x08\x0b-\x1f{_BEYOND_C0}]")
_IN_LINE: Final = re.compile(rf"[\x00-\x1f{_BEYOND_C0}]")


def escape(text: str) -> str:
    r"""Return the text with control characters as `\u001b`; line feeds and tabs stay."""
    return _IN_BLOCK.sub(_escaped, text)


def escape_line(text: str) -> str:
    r"""Escape control characters as `escape` does, with line feeds and tabs as `\n` and `\t`."""
    return _IN_LINE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    match found[0]:
        case "\n":
            return r"\n"
        case "\t":
            return r"\t"
        case char:
            return f"\\u{ord(char):04x}"
