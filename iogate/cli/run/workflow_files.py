"""Files of the workflows that one workflow file runs, directly or indirectly.

Used by `run_command`. Invariant: no other file is compiled, so that its problems are not reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iogate.documents import Documents

FOLDER = "workflows.d"
_WORKFLOW = re.compile(r"""^[{\s]*["']?document["']?\s*:""", re.MULTILINE)


def required_files(file: Path, root: Path) -> list[Path]:
    """Return the file and those of the workflows that it runs, from its folder and `workflows.d`."""
    from iogate.documents import load

    chosen = [file]
    read = load(root, chosen)
    have = set(_workflow_names(read))
    wanted = set(_children(read))
    looked: dict[Path, Documents] = {}
    while missing := {name for name in wanted if name not in have}:
        found = False
        for path in _candidates(file, root):
            if path in chosen or not _mentions(path, missing):
                continue
            if path not in looked:
                looked[path] = load(root, [path])
            there = set(_workflow_names(looked[path])) - have
            # Include a file without a readable name: its problems may explain a missing workflow.
            broken = bool(looked[path].errors) and not there
            if broken or any(_without_version(name) in map(_without_version, missing) for name in there):
                chosen.append(path)
                have |= there
                wanted |= set(_children(looked[path]))
                found = True
        have |= {_without_version(name) for name in have}
        if not found:
            break
    return chosen


def _workflow_names(read: Documents) -> Iterator[str]:
    """Yield `namespace/name:version` of each workflow that the files which were read declare."""
    from iogate.compiler.workflows import name_of
    from iogate.documents import WorkflowDocument
    from iogate.documents.placeholders import PLACEHOLDER_HEADER

    for document in (*read.workflows, *read.placeholders):
        if isinstance(document, WorkflowDocument) and document.data["document"] is not PLACEHOLDER_HEADER:
            yield ":".join(name_of(document))


def _children(read: Documents) -> Iterator[str]:
    from iogate.compiler import checked_definition
    from iogate.compiler.workflows import children

    for document in read.workflows:
        for _, child in children(checked_definition.read(document)):
            yield child.reference


def _without_version(name: str) -> str:
    return name.partition(":")[0]


def _mentions(path: Path, names: set[str]) -> bool:
    """Tell whether a file may define one of the workflows, without parsing it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return _WORKFLOW.search(text) is not None and any(
        _without_version(name).partition("/")[2] in text for name in names
    )


def _candidates(file: Path, root: Path) -> Iterator[Path]:
    """Yield the documents in the file's folder, then all of `workflows.d`, without duplicates."""
    from iogate.documents.yaml.project_files import SUFFIXES

    seen = {file.resolve()}
    folder = root / FOLDER
    there = [*file.parent.iterdir(), *(folder.rglob("*") if folder.is_dir() else ())]
    for path in sorted(there, key=lambda each: (each.parent != file.parent, each)):
        real = path.resolve()
        if real not in seen and path.name.endswith(SUFFIXES) and path.is_file():
            seen.add(real)
            yield path
