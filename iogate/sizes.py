"""Parsing of sizes in bytes, such as `1MiB`, `64KiB` and `500kB`.

Used by documents (limits of an API) and settings (budgets of a process). Pure.
"""

from __future__ import annotations

import re
from typing import Final

FORMS: Final = "a size such as 1MiB, 64KiB or 500kB"
PATTERN: Final = r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?(B|[kKMG]B|[KMG]iB|)"

_UNITS: Final = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
_SIZE = re.compile(PATTERN)


def parse_size(text: str) -> int | None:
    """Return the bytes of a size such as `64KiB`, or None if `text` is not one of FORMS."""
    found = _SIZE.fullmatch(text)
    return int(float(found[1]) * _UNITS[found[2]]) if found else None
