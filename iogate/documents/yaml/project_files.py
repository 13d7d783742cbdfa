"""Files of a project: the YAML files of its folders, and their names in problems."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

FOLDERS: Final = ("apis.d", "workflows.d")
SUFFIXES: Final = (".yaml", ".yml")


def project_files(
    root: Path, paths: Sequence[Path] | None, on_error: Callable[[OSError], None]
) -> list[tuple[Path, str]]:
    """Return the files of a project's two folders, or of the files and folders given, with their names.

    A file that several names lead to is returned once. `on_error` is called for unreadable folders.
    """
    given = [root / folder for folder in FOLDERS if (root / folder).is_dir()] if paths is None else paths
    found: dict[str, tuple[Path, str]] = {}
    folders: dict[str, tuple[str, str]] = {}
    """Beginning of the paths without links, and of the names, of the files in each folder."""
    for path in given:
        for file in find_files(path, on_error):
            text = str(file)
            folder, _, base = text.rpartition(os.sep)
            if folder and base.isascii() and not os.path.islink(text):  # noqa: PTH114 -- of thousands of files
                if folder not in folders:
                    name = name_in_project(Path(folder), root)
                    folders[folder] = f"{os.path.realpath(folder)}/", "" if name == "." else f"{name}/"
                real, name = (f"{each}{base}" for each in folders[folder])
            else:
                real, name = os.path.realpath(text), name_in_project(file, root)
            found.setdefault(real, (file, name))
    return list(found.values())


def find_files(path: Path, on_error: Callable[[OSError], None]) -> Iterator[Path]:
    """Yield the YAML files of a folder and its subfolders, without hidden ones, or the file itself."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, files in os.walk(path, onerror=on_error):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        within = Path(folder)
        for name in sorted(files):
            if name.endswith(SUFFIXES) and not name.startswith("."):
                file = within / name
                # A pipe or device would block; a broken link is read, and reported.
                if file.is_file() or not file.exists():
                    yield file


def name_in_project(file: Path, root: Path) -> str:
    """Return the name of the file in problems: its path within the project."""
    # Absolute and not resolved: a link keeps its own name.
    absolute, top = file.absolute(), root.absolute()
    name = absolute.relative_to(top) if absolute.is_relative_to(top) else file
    return name.as_posix().encode(errors="replace").decode()
