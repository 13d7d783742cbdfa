"""Canonical form of files: reads a file, decides on its kind, and returns its text as it should be.

Called by `iogate fmt`, which writes it. Invariant: nothing is returned for a file that cannot be read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from iogate.documents.formatter.canonical import canonical_text
from iogate.documents.loader import detect_family, unknown_family
from iogate.documents.problems import Problem
from iogate.documents.yaml.reader import MAX_BYTES, Reading, read_bytes, read_file
from iogate.settings.table import SENSITIVE

_SETTINGS: Final = re.compile(r"(?:.*/)?iogate(?:\.[^/]+)?\.ya?ml")
"""Files of settings, whose keys have no order."""


@dataclass(frozen=True, kw_only=True)
class Formatted:
    """Result for one file; `text` is None if the file has problems."""

    reading: Reading
    raw: bytes = b""
    """Content of the file as it was read."""
    text: str | None = None
    changed: bool = False
    problems: tuple[Problem, ...] = ()


def format_file(path: Path, name: str) -> Formatted:
    """Return the canonical form of a file for `iogate fmt`, which problems call `name`.

    Raises:
        Refused: the canonical form would not mean the same.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError:
        reading = read_file(path, name)
        return Formatted(reading=reading, problems=tuple(reading.problems))
    return format_bytes(raw, name)


def format_bytes(raw: bytes, name: str) -> Formatted:
    """Return the canonical form of the content of a file for `iogate fmt`, as `format_file` does."""
    reading = read_bytes(raw, name)
    problems = list(reading.problems)
    family = detect_family(reading.data)
    named = _SETTINGS.fullmatch(name) is not None
    if named and family is None:
        reading.source.sensitive = SENSITIVE
    settings = named and isinstance(reading.data, dict)
    if reading.root is not None and not problems and family is None and not settings:
        problems.append(unknown_family(reading))
    if problems or reading.root is None:
        return Formatted(reading=reading, problems=tuple(problems))
    text = canonical_text(reading, family)
    return Formatted(reading=reading, raw=raw, text=text, changed=text.encode() != raw)
