"""External documents that workflows name, taken into the revision: workers need no checkout.

Called by compile. A relative URI resolves against the document's file and stays in the project. A
script's content is kept beside the programs, under a URI that carries its digest, so that a run
pinned to a program is pinned to the script as well; a schema becomes part of the program.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from iogate.compiler import features, outline
from iogate.compiler.checks import schemas
from iogate.compiler.faults import Placed, fault
from iogate.compiler.outline import Pointer
from iogate.compiler.revision import resource_uri
from iogate.documents.problems import Problem, quoted
from iogate.documents.reader import read_text

MAX_BYTES = 5 * 1024 * 1024

Read = Callable[[str, str], bytes]
"""Content of a file, by the folder that bounds it (empty: the project) and its path there; raises OSError."""


@dataclass(slots=True)
class Taken:
    """What has been read so far, over all workflows."""

    uris: dict[str, str] = field(default_factory=dict)
    """URI to digest."""
    contents: dict[str, bytes] = field(default_factory=dict)
    """Digest to content."""

    def keep(self, path: str, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        uri = resource_uri(path, digest)
        self.uris[uri] = digest
        self.contents[digest] = content
        return uri


def take(document: Placed, read: Read, taken: Taken) -> tuple[dict[str, Any], list[Problem]]:
    """The definition with its resources bound to their content, and what was wrong with them."""
    folder, start = _bounds(document)
    found = [
        (pointer, path)
        for pointer, resource in features.resources(document.data)
        if (path := _path(start, features.endpoint_uri(resource))) is not None
    ]
    definition = deepcopy(dict(document.data)) if found else dict(document.data)
    problems: list[Problem] = []
    for pointer, path in found:
        problems.extend(_bind(document, definition, pointer, path, lambda path: read(folder, path), taken))
    return definition, problems


def _bounds(document: Placed) -> tuple[str, str]:
    """The folder that resources may not leave, and where in it relative paths start."""
    folder = posixpath.dirname(document.path)
    # A file outside the project, named on the command line, is a project of its own.
    return (folder, "") if posixpath.isabs(document.path) else ("", folder)


def _path(start: str, uri: Any) -> str | None:
    """The path that a URI means; None: it is no file, another check says so."""
    if not isinstance(uri, str) or "${" in uri or "{" in uri or features.REMOTE.match(uri):
        return None
    path = uri.removeprefix("file:")
    path = path.removeprefix("//") if uri != path and path.startswith("//") else path
    return posixpath.normpath(posixpath.join(start, unquote(path)))


def _bind(
    document: Placed,
    definition: dict[str, Any],
    pointer: Pointer,
    path: str,
    read: Callable[[str], bytes],
    taken: Taken,
) -> Iterator[Problem]:
    at = (*pointer, "endpoint")
    if path.startswith("../") or PurePosixPath(path).is_absolute():
        yield fault(
            document,
            at,
            "IOG306",
            f"{quoted(path)} is outside the project; only files of the project become part of a revision",
        )
        return
    try:
        content = read(path)
        text = content.decode("utf-8") if len(content) <= MAX_BYTES else ""
    except UnicodeDecodeError:
        yield fault(document, at, "IOG306", f"{path} is not UTF-8 text")
        return
    except OSError as error:
        why = (
            "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        )
        yield fault(document, at, "IOG306", f"{path} {why}", hint="a path is relative to this file")
        return
    if len(content) > MAX_BYTES:
        yield fault(document, at, "IOG306", f"{path} is over 5 MiB")
        return
    holder = outline.at(definition, pointer[:-1])
    if pointer[-1] == "source":
        holder["source"] = {"endpoint": taken.keep(path, content)}
        return
    reading = read_text(text, path)
    if reading.problems:
        first = reading.problems[0]
        yield fault(document, at, "IOG306", f"{path}:{first.line}:{first.column}: {first.message}")
        return
    schema = reading.data
    why_not = schemas.first_fault(schema)
    if why_not is not None:
        place, why = why_not
        where = "/".join(map(str, place))
        yield fault(
            document,
            at,
            "IOG304",
            f"{path} is not a JSON Schema: {why}" + (f" (at {where})" if where else ""),
        )
        return
    del holder["resource"]
    holder["document"] = schema
