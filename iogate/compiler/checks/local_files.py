"""Check of the files that APIs name for secrets and addresses: a relative path is a file of the project.

Called by `compile` for each API document. Gateways and workers read these files, so that an absent one is
only a warning. Absolute paths, and those that lead out of the project, belong to the machines of the
processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

from iogate.compiler.diagnostics import Document, warning_at
from iogate.documents.problems import Problem
from iogate.json_pointer import Pointer
from iogate.messages import quoted

_CONSEQUENCES: Final = {
    "auth": "a gateway without it refuses its callers",
    "allow_ips": "a gateway without it refuses every call",
    "callback": "a worker without it sends no callback",
}
"""Effect of the absence of a file, by the key that names it."""


def check(document: Document, exists: Callable[[str], bool]) -> Iterator[Problem]:
    """Warn about each file that an API names for secrets or addresses and the project lacks."""
    methods = document.data.get("methods") or {}
    for place in ((), *(("methods", name) for name in methods)):
        holder = methods.get(place[1]) if place else document.data
        for key, consequence in _CONSEQUENCES.items():
            value = holder.get(key) if isinstance(holder, Mapping) else None
            for pointer, path in _files(value, (*place, key)):
                if _is_of_project(path) and not exists(path):
                    yield warning_at(
                        document,
                        pointer,
                        "IOG560",
                        f"file {quoted(path)} of {key} does not exist in the project: {consequence}",
                        hint="create it, or correct the path; ignore this if only the other machine has it",
                    )


def _files(value: object, pointer: Pointer) -> Iterator[tuple[Pointer, str]]:
    """Yield the pointer and the path of each local file that a value names as `{file: PATH}`."""
    if isinstance(value, Mapping):
        if value.keys() == {"file"} and isinstance(value["file"], str):
            yield (*pointer, "file"), value["file"]
            return
        for name, member in value.items():
            yield from _files(member, (*pointer, name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _files(member, (*pointer, index))


def _is_of_project(path: str) -> bool:
    given = PurePosixPath(path)
    return not given.is_absolute() and ".." not in given.parts
