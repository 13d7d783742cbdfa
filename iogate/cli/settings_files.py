"""Files of settings with their positions: `iogate.yaml`, and `iogate.ENV.yaml` of an environment on top.

Called by `session`. Invariant: an error names the file and the line of the value that it is about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iogate.errors import InvalidFiles
from iogate.settings import FILE_NAME, WRONG_SETTING, environments

if TYPE_CHECKING:
    from iogate.documents.yaml.nodes import Node
    from iogate.documents.yaml.reader import Reading
    from iogate.value_types.faults import ValuePath


@dataclass(frozen=True, kw_only=True)
class SettingsFiles:
    """The settings in the files of a project, and the place of each value."""

    base: Node | None
    """Mapping in `iogate.yaml`; None if the file is absent or empty."""
    over: Node | None = None
    """Mapping in the file of the environment."""
    over_name: str = ""

    @property
    def values(self) -> dict[str, Any]:
        """Return the merged settings."""
        return environments.merge(_value(self.base), _value(self.over))

    def place(self, path: ValuePath) -> str:
        """Return file and line of a value: in the file of the environment, if that has the value."""
        if self.over is not None and _depth(self.over, path) >= _depth(self.base, path):
            return f"{self.over_name}:{self.over.place(path).line}"
        return f"{FILE_NAME}:{self.base.place(path).line}" if self.base is not None else FILE_NAME

    def warnings(self) -> Iterator[str]:
        """Yield the warnings about variables, each with its place."""
        found = environments.undeclared(_value(self.base), _value(self.over))
        for path, message in (*found, *environments.revealing(self.values)):
            name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
            yield f"{self.place(path)}: {name.removeprefix('.')}: {message}"


def read_files(environment: str | None) -> SettingsFiles:
    """Read the files in the current folder.

    Raises:
        InvalidFiles: a file is not a map of settings, or that of the environment does not exist.
        Misused: the name of the environment cannot be part of a file name.
    """
    base = _mapping(FILE_NAME)
    if not environment:
        return SettingsFiles(base=base)
    name = environments.file_name(environment)
    if not Path(name).exists():
        raise InvalidFiles(
            f"{name}: no such file; environment {environment} reads it",
            code="IOG363",
            hint=f"write the settings in which it differs from {FILE_NAME}; an empty file changes nothing",
        )
    return SettingsFiles(base=base, over=_mapping(name), over_name=name)


def _mapping(name: str) -> Node | None:
    """Return the mapping in a file; None if the file does not exist or has no content."""
    reading = _read(Path(name), name)
    if reading is None:
        return None
    from iogate.documents.problems import render_all

    problems = [each for each in reading.problems if each.code != "IOG129"]  # an empty file is fine here
    if problems:
        rendered = render_all(problems, {name: reading.source})
        raise InvalidFiles(rendered.rstrip("\n"), code=problems[0].code)
    if reading.root is not None and reading.root.entries is None:
        raise InvalidFiles(f"{name}: expected a map of settings", code=WRONG_SETTING)
    return reading.root


def _read(path: Path, name: str) -> Reading | None:
    if not path.exists():
        return None
    from iogate.documents.yaml.reader import read_file

    return read_file(path, name)


def _value(node: Node | None) -> dict[str, Any]:
    return {} if node is None else node.value


def _depth(node: Node | None, path: ValuePath) -> int:
    """Return how many steps of the path exist below the node; -1 without a node."""
    if node is None:
        return -1
    for depth, step in enumerate(path):
        found = node.child(step)
        if found is None:
            return depth
        node = found[1]
    return len(path)
