"""The `iogate` command that shows or does the same as a page, quoted for a POSIX shell.

Used by the pages. Pure. A test compares each line that a page shows with the commands.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping


def line(*words: str, options: Mapping[str, str | None] | None = None) -> str:
    """Return the command line of `iogate` for a page; options without a value are left out."""
    given = [part for name, value in (options or {}).items() if value for part in (f"--{name}", value)]
    return shlex.join(["iogate", *words, *given])
