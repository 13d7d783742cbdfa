"""Phrases of messages: a count with its noun, and the nearest known name."""

from __future__ import annotations

from collections.abc import Iterable


def counted(number: int, noun: str, nouns: str = "") -> str:
    """Format a count: `1 file`, `2 files`; `nouns` is the plural of `noun` if it is irregular."""
    return f"{number} {noun if number == 1 else nouns or f'{noun}s'}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint with the nearest known name; empty if none is near."""
    from iogate.messages import nearest

    near = nearest(name, known)
    return f'; did you mean "{near}"?' if near else ""
