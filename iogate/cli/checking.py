"""Documents read and compiled for a command: the one way from paths to problems and a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from iogate.documents.problems import Problem
    from iogate.documents.source import Source
    from iogate.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Checked:
    problems: tuple[Problem, ...]
    sources: Mapping[str, Source]
    """Each file that was read, by the path that problems name."""


def check(settings: Settings, paths: Sequence[Path] | None) -> Checked:
    raise SystemExit(settings, paths)
