"""Files of settings with their positions: `iogate.yaml`, and `iogate.ENV.yaml` of an environment on top.

Called by `session`. Invariants: an error names the file and the line of the value that it is about, and shows
no value that may contain a secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iogate.errors import InvalidFiles
from iogate.settings import FILE_NAME, WRONG_SETTING, project_environments
from iogate.settings.table import SENSITIVE

if TYPE_CHECKING:
    from iogate.documents.yaml.nodes import Node
    from iogate.documents.yaml.source import Source, Span
    from iogate.value_types.faults import ValuePath


@dataclass(frozen=True, kw_only=True)
class SettingsFile:
    """A file with settings."""

    root: Node
    source: Source

    @property
    def values(self) -> dict[str, Any]:
        """Return the settings in one file, such as `iogate.yaml`."""
        found: dict[str, Any] = self.root.value
        return found

    def depth(self, path: ValuePath) -> int:
        """Return how many steps of a path exist in the file with settings."""
        node = self.root
        for depth, step in enumerate(path):
            found = node.child(step)
            if found is None:
                return depth
            node = found[1]
        return len(path)


@dataclass(frozen=True, kw_only=True)
class SettingsFiles:
    """The settings in the files of a project, and the place of each value."""

    base: SettingsFile | None
    """`iogate.yaml`; None if it is absent or empty."""
    over: SettingsFile | None = None
    """The file of the environment."""

    @property
    def values(self) -> dict[str, Any]:
        """Return the settings of `iogate.yaml` with those of the environment's file on top."""
        return project_environments.merge(_values(self.base), _values(self.over))

    def place(self, path: ValuePath) -> str:
        """Return file and line of a setting: in the file of the environment, if that has the value."""
        file, span = self._find(path)
        return FILE_NAME if span is None else f"{file}:{span.line}"

    def _find(self, path: ValuePath) -> tuple[str, Span | None]:
        depth = -1 if self.base is None else self.base.depth(path)
        file = self.over if self.over is not None and self.over.depth(path) >= depth else self.base
        return (FILE_NAME, None) if file is None else (file.source.path, file.root.place(path))

    def warnings(self) -> Iterator[str]:
        """Yield the warnings about variables in files of settings that no comment ignores, with places."""
        undeclared = project_environments.undeclared(_values(self.base), _values(self.over))
        found = [*undeclared, *project_environments.revealing(self.values)]
        if not found:
            return
        from iogate.documents.ignores import without_ignored
        from iogate.documents.problems import Problem

        problems = []
        for path, code, message in found:
            file, span = self._find(path)
            assert span is not None, "a file has the value that the warning is about"
            name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
            text = f"{name.removeprefix('.')}: {message}"
            problems.append(Problem.at(span, path=file, code=code, message=text, severity="warning"))
        sources = {each.source.path: each.source for each in (self.base, self.over) if each is not None}
        for problem in without_ignored(problems, sources, {}):
            yield f"{problem.path}:{problem.line}: {problem.message} [{problem.code}]"


def read_files(environment: str | None, *, required: bool = True, folder: Path = Path()) -> SettingsFiles:
    """Read the files of settings in a folder, by default in the current one.

    Raises:
        InvalidFiles: a file is not a map of settings, or the required one of the environment does not exist.
        Misused: the name of the environment cannot be part of a file name.
    """
    base = _read(FILE_NAME, folder)
    if not environment:
        return SettingsFiles(base=base)
    name = project_environments.file_name(environment)
    if required and not (folder / name).exists():
        raise InvalidFiles(
            f"{name}: no such file; environment {environment} reads it",
            code="IOG363",
            hint=f"write the settings in which it differs from {FILE_NAME}; an empty file changes nothing",
        )
    return SettingsFiles(base=base, over=_read(name, folder))


def _read(name: str, folder: Path) -> SettingsFile | None:
    """Read a file of settings; return None if it does not exist or has no content."""
    if not (folder / name).exists():
        return None
    from iogate.documents.problems import render_all
    from iogate.documents.yaml.reader import read_file

    reading = read_file(folder / name, name)
    reading.source.sensitive = SENSITIVE
    problems = [each for each in reading.problems if each.code != "IOG129"]  # an empty file is fine here
    if problems:
        rendered = render_all(problems, {name: reading.source})
        raise InvalidFiles(
            rendered.rstrip("\n"),
            code=problems[0].code,
            where=[f"{each.path}:{each.line}:{each.column}" for each in problems],
        )
    if reading.root is None:
        return None
    if reading.root.entries is None:
        raise InvalidFiles(f"{name}: expected a map of settings", code=WRONG_SETTING)
    return SettingsFile(root=reading.root, source=reading.source)


def _values(file: SettingsFile | None) -> dict[str, Any]:
    return {} if file is None else file.values
