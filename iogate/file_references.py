"""References to files of a call, as the data of its runs contains them: metadata, never the content.

Made by the gateway for the input of a run; read by the engine and the effects, which replace a reference by
the file. Pure. Invariant: a reference names a content by its digest, and only among the files of its own run,
so that data which a caller or a workflow has made up gives access to nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

MEMBER: Final = "reference"
"""Member of the JSON object of a file that makes it one."""
PREFIX: Final = "iogate:file:"
DEFAULT_TYPE: Final = "application/octet-stream"

MAX_NAME_BYTES: Final = 200
_DEFAULT_NAME: Final = "file"
_REFERENCE: Final = re.compile(re.escape(PREFIX) + r"([0-9a-f]{64})")
_MEDIA_TYPE: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*;[ -~]*)?")
_LEADING: Final = re.compile(r"\A[\s.]+")
"""Characters that a name does not begin with: after a blank, dots would begin it again."""
_MAX_DEPTH: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMetadata:
    """A file of a call, as its input describes it."""

    name: str
    """Name of the part of the form."""
    filename: str
    content_type: str
    size: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return the file reference in the data of a run: an object with the metadata of the file."""
        return {**asdict(self), MEMBER: PREFIX + self.sha256}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReference:
    """A file that a task names, with the name and the type that it is handed on with."""

    sha256: str
    filename: str
    content_type: str

    @property
    def placeholder(self) -> str:
        """Text that stands for the path of a referenced file in an argument or variable of a process."""
        return f"{PREFIX}{self.sha256}/{self.filename}"


def read(value: Any) -> FileReference | None:
    """Return the file reference in an object of a run's data; None for any other value."""
    if type(value) is not dict or not isinstance(named := value.get(MEMBER), str):
        return None
    found = _REFERENCE.fullmatch(named)
    if found is None:
        return None
    filename, content_type = value.get("filename"), value.get("content_type")
    return FileReference(
        sha256=found[1],
        filename=safe_filename(filename if isinstance(filename, str) else ""),
        content_type=content_type
        if isinstance(content_type, str) and _MEDIA_TYPE.fullmatch(content_type)
        else DEFAULT_TYPE,
    )


def references(value: Any, depth: int = 0) -> Iterator[FileReference]:
    """Yield the file references in a value, at any depth that the data of a run may have."""
    found = read(value)
    if found is not None:
        yield found
    elif depth < _MAX_DEPTH and isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from references(each, depth + 1)


def safe_filename(given: str) -> str:
    r"""Return the file name for a file reference, without folder, control characters and leading dots.

    Bidirectional characters count as control characters. The name has at most MAX_NAME_BYTES bytes, with the
    suffix kept; it is `file` if nothing is left.
    """
    base = given.replace("\\", "/").rpartition("/")[2]
    plain = "".join(
        char for char in unicodedata.normalize("NFC", base) if unicodedata.category(char)[0] != "C"
    )
    name = _LEADING.sub("", plain, count=1).rstrip()
    stem, dot, suffix = name.rpartition(".")
    if not dot or len(suffix.encode()) > MAX_NAME_BYTES // 4:
        stem, dot, suffix = name, "", ""
    left = MAX_NAME_BYTES - len((dot + suffix).encode())
    return stem.encode()[:left].decode(errors="ignore") + dot + suffix or _DEFAULT_NAME
