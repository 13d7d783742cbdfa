"""Plain scalars by the YAML 1.2 core schema, limited to the values of JSON.

`on`, `yes`, `2024-01-01` and `1_000` are strings here; only the forms below are anything else.
"""

from __future__ import annotations

import math
import re

Plain = str | int | float | bool | None

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")

# What the wire formats of the product carry without loss of meaning.
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
_LONGEST_NUMBER = 400


class UnfitNumber(ValueError):
    """A number that JSON or a 64-bit integer cannot carry."""


def resolve(text: str) -> Plain:
    """Return the value of a plain (unquoted) YAML scalar.

    Raises UnfitNumber for `.inf`, `.nan` and numbers beyond 64 bits.
    """
    if text in NULLS:
        return None
    if text in BOOLEANS:
        return BOOLEANS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _NOT_FINITE.fullmatch(text):
        raise UnfitNumber(f"JSON has no {text}")
    if len(text) > _LONGEST_NUMBER:
        if _FLOAT.fullmatch(text):
            raise UnfitNumber("the number is too long")
        return text
    if _INTEGER.fullmatch(text):
        return _bounded(int(text))
    if _OCTAL.fullmatch(text):
        return _bounded(int(text, 0))
    if _HEXADECIMAL.fullmatch(text):
        return _bounded(int(text, 0))
    if _FLOAT.fullmatch(text):
        number = float(text)
        if math.isinf(number):
            raise UnfitNumber(f"{text} is beyond the range of a 64-bit number")
        return number
    return text


def _bounded(number: int) -> int:
    if not _SMALLEST <= number <= _LARGEST:
        raise UnfitNumber("the integer does not fit in 64 bits")
    return number
