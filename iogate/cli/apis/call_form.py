"""Forms that `api call --file` sends: the files, and the members of the input as fields.

Used by `gateway_call`. Invariant: equal inputs and files make equal bodies, so that a repeated call is the
same call.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iogate.errors import Misused, NotFound

if TYPE_CHECKING:
    from iogate.effects.http.multipart import FileContent

FilesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--file",
        metavar="NAME=PATH",
        help="Send a file as this part of a form, with the input as its fields; may be repeated. "
        "NAME=PATH;type=TYPE states its type.",
    ),
]


def encode(value: Any, files: Sequence[str]) -> tuple[bytes, str]:
    """Return the body of a form with files, which `api call --file` sends, and its Content-Type.

    Raises:
        Misused: the input is not an object or has a member with the name of a file, or an option is invalid.
        NotFound: there is no such file.
    """
    from iogate.effects.http import multipart

    if not isinstance(value, dict):
        raise Misused("--file needs an input that is an object: its members become the fields of the form")
    fields: dict[str, Any] = dict(value)
    for each in files:
        name, content = _read(each)
        if name in value:
            raise Misused(f"--file {name}: the input has a member of this name, too")
        fields.setdefault(name, []).append(content)
    return multipart.encode(fields)


def _read(option: str) -> tuple[str, FileContent]:
    from iogate.effects.http.multipart import FileContent

    name, equals, rest = option.partition("=")
    where, _, given_type = rest.partition(";type=")
    if not (name and equals and where):
        raise Misused(f"--file {option}: expected NAME=PATH, such as scan=receipt.png")
    path = Path(where)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"--file {name}={where}: no such file") from None
    except OSError as error:
        raise Misused(f"--file {name}={where}: cannot be read: {error.strerror}") from None
    content_type = given_type or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return name, FileContent(filename=path.name, content_type=content_type, data=data)
