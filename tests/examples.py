"""How many examples a property is tried with: a third of its number, or all with HYPOTHESIS_PROFILE=thorough.

Examples are drawn anew in each run, so that many runs try as many as few thorough ones.
"""

from __future__ import annotations

import os

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
FEWEST = 20


def examples(number: int) -> int:
    return number if THOROUGH else max(FEWEST, number // 3)
