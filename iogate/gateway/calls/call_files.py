"""Files of calls: the limits of an API, the reading of a body that has files, and the storing of them.

Used by `routing_table` and `call_handler`, and without a store by the tests of debug cases. Invariants: an
API that takes no files has no rules, so that its calls cost nothing; the files of a call are in the store
before the call is accepted, and those of a refused call are deleted or expire.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from iogate.compiler.revision import Files
from iogate.errors import Unreachable
from iogate.file_references import DEFAULT_TYPE, FileMetadata, safe_filename
from iogate.gateway.http import multipart_body, responses
from iogate.gateway.http.responses import ErrorResponse, HTTPError, Response, invalid, too_large
from iogate.gateway.state import STORE_TIMEOUT_S
from iogate.messages import quoted
from iogate.store.connection.connection import SLOWEST
from iogate.store.connection.failures import Drained, StoreFull
from iogate.store.runs.intake import Accepted
from iogate.store.runs.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iogate.compiler.revision import Api
    from iogate.gateway.http.request import Request
    from iogate.store.run_files import StoredFiles
    from iogate.store.runs.intake import Refusal
    from iogate.store.store import Store

ON_LOOP_BYTES: Final = 32 * 1024
"""Larger bodies are read in a thread."""
RAW_NAME: Final = "body"
"""Name of the file that is the whole body of a call."""

FILE_S: Final = 0.004
"""Time that the store gets for each file of a call, besides STORE_TIMEOUT_S and the time for its bytes."""
MAX_TYPE: Final = 255
"""Limit of the Content-Type of such a file, in characters."""

EXPIRED: Final = responses.unavailable(
    "The files of the call were lost before it was accepted; nothing was accepted: repeat the request"
)

Field = tuple[str, str | FileMetadata]
"""A field of a form: its name, and its text or its file."""


@dataclass(frozen=True, kw_only=True)
class Upload:
    """Files of one call."""

    fields: tuple[Field, ...] | None = None
    """Fields of a form; None for a body that is not one."""
    raw: FileMetadata | None = None
    """The whole body as a file, for an API that wants it."""
    contents: Mapping[str, memoryview] = field(default_factory=dict)
    """Content of each file, by its digest."""


class FileRules:
    """Rules of one API for the files of its calls."""

    def __init__(self, files: Files | None, *, raw: bool, body: int) -> None:
        self._files = files
        self._raw = raw
        self._body = body

    @classmethod
    def of(cls, api: Api) -> FileRules | None:
        """Return the rules of an API; None if its calls have no files."""
        files = api.files if isinstance(api.files, Files) else None
        return cls(files, raw=api.has_raw, body=api.limits.body) if files or api.has_raw else None

    def limit(self, request: Request) -> int:
        """Return the limit of the body of a call with files, in bytes."""
        if self._files is None or not multipart_body.is_multipart(_content_type(request)):
            return self._body
        return self._body + self._files.total

    async def read(self, request: Request) -> Upload | None:
        """Return the files in the body of a request, which was read before; None if it has none.

        Raises HTTPError: a 400 or 413.
        """
        if request.method != "POST":
            return None
        if len(request.body) > ON_LOOP_BYTES:
            return await asyncio.to_thread(self.split, request)
        return self.split(request)

    def split(self, request: Request) -> Upload | None:
        """Split the body of a call into the files and the rest, as `read` does, at once."""
        body = request.body
        kind = _content_type(request)
        if self._raw:
            content = memoryview(body)
            whole = _metadata(RAW_NAME, "", _type_with_parameters(kind), content)
            return Upload(raw=whole, contents={whole.sha256: content})
        if self._files is None or not body or not multipart_body.is_multipart(kind):
            return None
        return self._form(self._files, memoryview(body), multipart_body.read(body, kind))

    def _form(self, limits: Files, body: memoryview, parts: list[multipart_body.Part]) -> Upload:
        files = [part for part in parts if _has_file(part)]
        if len(files) > limits.count:
            raise invalid(f"The call has {len(files)} files; at most {limits.count} are allowed")
        for part in files:
            if part.size > limits.size:
                raise _file_too_large(f"The file {quoted(part.name)} is larger than {limits.size} bytes")
        if sum(part.size for part in files) > limits.total:
            raise _file_too_large(f"The files are larger than {limits.total} bytes")
        if len(body) - sum(part.size for part in files) > self._body:
            raise too_large(self._body)
        fields: list[Field] = []
        contents: dict[str, memoryview] = {}
        for part in parts:
            content = body[part.start : part.end]
            if _has_file(part):
                kind = part.content_type or DEFAULT_TYPE
                found = _metadata(part.name, safe_filename(part.filename or ""), kind, content)
                contents[found.sha256] = content
                fields.append((part.name, found))
            elif part.filename is None:
                fields.append((part.name, _text(part, content)))
        return Upload(fields=tuple(fields), contents=contents)


async def store(connected: Store | None, upload: Upload) -> StoredFiles | Response | None:
    """Store the files of a call; return None if it has none, and the 503 if the store does not take them.

    One limit of time holds for all their chunks.
    """
    if not upload.contents:
        return None
    if connected is None:
        return responses.STORE_DOWN
    contents = upload.contents
    limit_s = STORE_TIMEOUT_S + sum(len(each) / SLOWEST + FILE_S for each in contents.values())
    try:
        async with asyncio.timeout(limit_s):
            return await connected.files.store(contents)
    except (TimeoutError, Unreachable) as error:
        return responses.store_error(error, responses.STORE_DOWN)


def add_to(traffic: Traffic | None, files: StoredFiles | None) -> Traffic | None:
    """Add the files of a call to its rules for traffic."""
    if files is None:
        return traffic
    return msgspec.structs.replace(traffic or Traffic(), files=files.id, chunks=files.chunks)


async def drop_unless_kept(connected: Store | None, files: StoredFiles, verdict: Accepted | Refusal) -> None:
    """Delete the files of a call, unless it has become a run or a part of one."""
    kept = isinstance(verdict, Accepted) and not verdict.replayed
    if not kept:
        await _drop(connected, files)


async def refuse(connected: Store | None, files: StoredFiles | None, error: Unreachable) -> ErrorResponse:
    """Return the 503 for a call after an error of the store, and delete the files of a call that it refused.

    After an error without a verdict, the store may have accepted the call: its files stay, or expire.
    """
    if files is not None and isinstance(error, StoreFull | Drained):
        await _drop(connected, files)
    return responses.store_error(error, responses.UNANSWERED)


async def _drop(connected: Store | None, files: StoredFiles) -> None:
    """Delete the files of a call; if the store does not answer in time, they expire."""
    if connected is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STORE_TIMEOUT_S):
                await connected.files.drop(files)


def _has_file(part: multipart_body.Part) -> bool:
    """Tell whether a part of a call is a file; browsers send one with an empty name if none was chosen."""
    return bool(part.filename) or (part.filename is not None and part.size > 0)


def _metadata(name: str, filename: str, content_type: str, content: memoryview) -> FileMetadata:
    return FileMetadata(
        name=name,
        filename=filename,
        content_type=content_type,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _text(part: multipart_body.Part, content: memoryview) -> str:
    try:
        return str(content, "utf-8")
    except UnicodeDecodeError:
        raise invalid(f"The field {quoted(part.name)} of the multipart body is not UTF-8") from None


def _content_type(request: Request) -> bytes:
    return request.headers.get(b"content-type", b"")


def _type_with_parameters(header: bytes) -> str:
    """Return the Content-Type of files of a call with its parameters, such as a boundary.

    If it is too long it is cut to its media type.
    """
    media, semicolon, parameters = header.decode("latin-1").strip().partition(";")
    media = media.strip().lower() or DEFAULT_TYPE
    whole = media + semicolon + parameters
    return whole if len(whole) <= MAX_TYPE else media[:MAX_TYPE]


def _file_too_large(message: str) -> HTTPError:
    return HTTPError(ErrorResponse(413, "requestError.tooLarge", message))
