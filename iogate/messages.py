"""Texts in messages for people: names that are quoted, listed, cut, counted and suggested. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from functools import lru_cache


def shorten(text: str, most: int) -> str:
    """Truncate a text to `most` characters for a message, with an ellipsis at the end."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def quoted(text: object) -> str:
    """Return a name for a message in double quotes, cut if it is long, and safe for a terminal."""
    return printable(json.dumps(shorten(str(text), 80), ensure_ascii=False))


def listed(names: Iterable[str]) -> str:
    """Return the names for a message as `a, b or c`."""
    *rest, last = names
    return f"{', '.join(rest)} or {last}" if rest else last


def conjoined(names: Iterable[str]) -> str:
    """Return the names for a message as `a, b and c`."""
    *rest, last = names
    return f"{', '.join(rest)} and {last}" if rest else last


def counted(number: int, noun: str, nouns: str = "") -> str:
    """Format a count: `1 file`, `2 files`; `nouns` is the plural of `noun` if it is irregular."""
    return f"{number} {noun if number == 1 else nouns or f'{noun}s'}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint with the nearest known name; empty if none is near."""
    near = nearest(name, known)
    return f'; did you mean "{near}"?' if near else ""


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice to suggest in a message for a misspelt `word`; None if no choice is near."""
    return _nearest(word, tuple(choices)) if 2 <= len(word) <= 60 else None


@lru_cache(maxsize=64)  # each entry keeps all known names
def _nearest(word: str, choices: tuple[str, ...]) -> str | None:
    by_lower = {choice.lower(): choice for choice in choices}
    lower = word.lower()
    if lower in by_lower:
        return by_lower[lower]
    found = difflib.get_close_matches(lower, by_lower, n=1, cutoff=0.66)
    return by_lower[found[0]] if found else None


def printable(text: str) -> str:
    """Return a text for messages without characters that a terminal would interpret."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in text
    )
