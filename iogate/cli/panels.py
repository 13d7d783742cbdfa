"""Panels of `iogate --help`: the groups that its commands are listed in.

Used by the modules that register commands; the order is that of the registrations.
"""

from __future__ import annotations

from typing import Final

DOCUMENTS: Final = "Documents"
DEBUG_CASES: Final = "Debug cases"
LIVE: Final = "Live"
RUNS: Final = "Runs"
PROCESSES: Final = "Processes"
