"""Plain paths and literals, evaluated without jq: exact integers, in a tenth of the time.

Called by `language`. Invariant: for text that `parse` accepts, the result equals jq's, except for
integers beyond 2^53, which jq rounds. A literal of more than 640 digits is left to jq.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from iogate.json_values import type_name

_STEP = r"""\.?\[\s*(?:-?[0-9]{1,9}|"[^"\\]*")\s*\]|\.(?:[A-Za-z_][A-Za-z0-9_]*|"[^"\\]*")"""
_PATH = re.compile(rf"(?:\$(?P<variable>[A-Za-z][A-Za-z0-9_]*))?(?P<steps>(?:{_STEP})*)")
_EACH = re.compile(_STEP)
_DIGITS = 640
"""Digits of an integer that Python converts with every setting; a longer literal is evaluated by jq."""
_INTEGER = re.compile(rf"-?(?:0|[1-9][0-9]{{0,{_DIGITS - 1}}})")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][+-]?[0-9]+)?")
_STRING = re.compile(r'"([^"\\]*)"')
_WORDS = {"null": None, "true": True, "false": False}


class UnfitError(Exception):
    """A step of a path that cannot be applied to the value; the message is jq's, and shows no data."""


@dataclass(frozen=True, slots=True)
class Constant:
    """An expression that is a literal."""

    value: Any


@dataclass(frozen=True, slots=True)
class Path:
    """An expression that is a plain path."""

    variable: str | None
    """Variable in which the path begins; None: the input."""
    steps: tuple[str | int, ...]

    def of(self, value: Any) -> Any:
        """Return the part of `value` that a plain path reads; absent parts are null.

        Raises UnfitError if a step cannot be applied.
        """
        for step in self.steps:
            if value is None:
                return None
            if type(step) is str:
                if not isinstance(value, dict):
                    raise UnfitError(f'cannot index {type_name(value)} with "{step}"')
                value = value.get(step)
            else:
                if not isinstance(value, list):
                    raise UnfitError(f"cannot index {type_name(value)} with number")
                value = value[step] if -len(value) <= step < len(value) else None  # type: ignore[operator,index] # an int, as the other branch took str
        return value


@lru_cache(maxsize=4096)
def parse(text: str) -> Path | Constant | None:
    """Parse an expression as a plain path or literal; return None for one that only jq can evaluate."""
    text = text.strip()
    if text == ".":
        return Path(None, ())
    if text in _WORDS:
        return Constant(_WORDS[text])
    if _INTEGER.fullmatch(text):
        return Constant(int(text)) if text != "-0" else None
    if _DECIMAL.fullmatch(text):
        number = float(text)
        return Constant(number) if math.isfinite(number) else None
    if string := _STRING.fullmatch(text):
        return Constant(string[1])
    found = _PATH.fullmatch(text)
    if (
        found is None
        or not text
        or (found["variable"] is None and text[0] != ".")
        or found["variable"] == "ENV"
    ):
        return None
    return Path(found["variable"], tuple(_step(each) for each in _EACH.findall(found["steps"])))


def _step(text: str) -> str | int:
    inner = text.removeprefix(".")
    if inner[0] == "[":
        inner = inner[1:-1].strip()
        if inner[0] != '"':
            return int(inner)
    return inner[1:-1] if inner[0] == '"' else inner
