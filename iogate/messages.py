"""Texts in messages for people. Pure."""

from __future__ import annotations


def shorten(text: str, most: int) -> str:
    """Return at most `most` characters of a text; a text that is cut ends with an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
