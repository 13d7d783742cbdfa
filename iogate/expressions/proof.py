"""Proof that many expressions compile, by one compilation of all of them.

Used by the checks of a project. jq takes two milliseconds for each program, mostly for its own functions, and
little for one more expression in it. Invariant: whatever is proven also compiles alone; what could change the
meaning of its neighbours is left out, and is compiled alone later.

    def NAME0: . as [$input] | ( EXPRESSION
    ); def NAME1: …; NAME0, NAME1, …
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

import jq

Unproven = tuple[str, tuple[str, ...]]
"""Text of an expression, and the variables that it names, sorted."""

_MOST: Final = 65_536
_PREFIX: Final = "__iogate_"
_STRING: Final = re.compile(r'"[^"\\()]*"')
_ALONE: Final = re.compile(r"[;#\"\\]|__")
"""Ends of definitions, comments, other strings, and names that begin like those of the proof."""
_TOGETHER: Final = 100
"""Size of a group: jq takes 2 ms for each, and time that grows with its square; 40 and 200 take longer."""
_SMALL: Final = 25
"""A group of this size that does not compile is not divided."""

_proven: set[Unproven] = set()


def is_proven(text: str, names: tuple[str, ...]) -> bool:
    """Tell whether there is a proof that an expression compiles with these variables."""
    return (text, names) in _proven


def prove(expressions: Iterable[Unproven]) -> None:
    """Prove which of these expressions compile, and remember these; the others stay unknown."""
    wanted = [each for each in dict.fromkeys(expressions) if each not in _proven and _can_share(each[0])]
    if len(_proven) + len(wanted) > _MOST:
        _proven.clear()
    for first in range(0, min(len(wanted), _MOST), _TOGETHER):
        _prove(wanted[first : first + _TOGETHER])


def _prove(wanted: Sequence[Unproven]) -> None:
    if len(wanted) < 2:
        return
    try:
        # jq does not check the variables of definitions that nothing uses.
        used = ",".join(f"{_PREFIX}{number}" for number in range(len(wanted)))
        jq.compile("".join(_definition(number, *each) for number, each in enumerate(wanted)) + used)
    except ValueError:
        if len(wanted) > _SMALL:
            half = len(wanted) // 2
            _prove(wanted[:half])
            _prove(wanted[half:])
    else:
        _proven.update(wanted)


def _definition(number: int, text: str, names: tuple[str, ...]) -> str:
    bound = f". as [{','.join(f'${name}' for name in names)}]|" if names else ""
    return f"def {_PREFIX}{number}: {bound}({text}\n);"


def _can_share(text: str) -> bool:
    """Tell whether a text can share a proof with others: paired brackets, separators only in strings."""
    bare = _STRING.sub("", text)
    if not text.strip() or _ALONE.search(bare):
        return False
    depth = 0
    for character in bare:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            return False
    return depth == 0
