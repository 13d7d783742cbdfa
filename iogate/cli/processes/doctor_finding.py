"""Finding of a check of `iogate doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Result of one check."""

    about: str
    verdict: Verdict
    message: str
    hint: str = ""
