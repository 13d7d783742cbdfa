"""JSON Schemas for editors: files of the package, copied into a project, and comments that name them.

Called by `schema --write`, `init` and `new`. The copies are in `.iogate`, which git ignores, so that each
clone has the schemas of its own release, and an editor needs no network. A test compares the files of the
package with the models.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Final, Literal

from iogate.errors import Refused

Kind = Literal["api", "workflow", "settings"]

KINDS: Final[tuple[Kind, ...]] = ("api", "workflow", "settings")
FOLDER: Final = Path(".iogate/schemas")


def packaged_schema(kind: Kind) -> str:
    """Return the text of the package's JSON Schema file for a kind of document."""
    file = resources.files("iogate").joinpath("schemas", _name(kind))
    return file.read_text(encoding="utf-8")


def write_schemas(folder: Path = FOLDER, kinds: Sequence[Kind] = KINDS) -> list[Path]:
    """Write the schemas of the package into a folder; return the paths of the files that changed.

    Raises:
        Refused: a file cannot be written.
    """
    from iogate.atomic_files import write_atomically

    written: list[Path] = []
    for kind in kinds:
        path, text = folder / _name(kind), packaged_schema(kind)
        try:
            if path.is_file() and path.read_text(encoding="utf-8") == text:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text)
        except OSError as error:
            raise Refused(
                f"{path}: cannot be written: {error.strerror}",
                code="IOG721",
                hint="give yourself the permission to write the folder, or name another one",
            ) from None
        written.append(path)
    return written


def schema_comment(path: Path, kind: Kind) -> str:
    """Return the line at the top of a file that tells editors its schema; `path` is within the project."""
    target = Path(os.path.relpath(FOLDER / _name(kind), path.parent)).as_posix()
    return f"# yaml-language-server: $schema={target}\n"


def _name(kind: Kind) -> str:
    return f"{kind}.schema.json"
