"""Comparison of values with expectations: objects by the expected keys, other values exactly.

Called by `case_replay` and by the command `debug`, so that both evaluate a case alike.
"""

from __future__ import annotations

import json
from typing import Any, Final

SHOWN: Final = 120
"""Characters of a value in a message."""


def differences(expected: Any, actual: Any, at: str = "output") -> tuple[str, ...]:
    """Return a message for each difference between a value and the expectation of a test."""
    match expected, actual:
        case dict(), dict():
            found: list[str] = []
            for key, value in expected.items():
                place = f"{at}.{key}"
                if key in actual:
                    found += differences(value, actual[key], place)
                else:
                    found.append(f"{place}: expected {shown(value)}, it is missing")
            return tuple(found)
        case list(), list():
            if len(expected) != len(actual):
                return (f"{at}: expected {len(expected)} items, got {len(actual)}: {shown(actual)}",)
            pairs = zip(expected, actual, strict=True)
            return tuple(d for n, (e, a) in enumerate(pairs) for d in differences(e, a, f"{at}[{n}]"))
        case _:
            if expected == actual and isinstance(expected, bool) == isinstance(actual, bool):
                return ()
            return (f"{at}: expected {shown(expected)}, got {shown(actual)}",)


def shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
