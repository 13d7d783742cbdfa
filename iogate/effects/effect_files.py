"""Files of a run in its effects: as bodies of HTTP calls, and in folders of processes and functions.

Used by `dispatcher`, `scripts` and the encoders of HTTP bodies. Invariants: an effect gets the files that its
own arguments name, and no others; after the effect has ended, a file is at no path that it knew.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from iogate import file_references
from iogate.compiler.openapi import Operation
from iogate.effects.http import multipart
from iogate.effects.http.multipart import FileContent
from iogate.engine.commands import CallHttp, CallOpenApi
from iogate.errors import Unreachable, WorkflowError
from iogate.file_references import FileReference
from iogate.http_syntax import media_type

STORE_RETRY_S: Final = 0.5
MOST_BYTES: Final = 256 * 1024 * 1024
"""Bytes that one effect is handed, at most: eight times the largest files of a call. Data of others, such as
an event, may name one file thousands of times."""

ReadFile = Callable[[str, str], Awaitable[bytes]]
"""Returns a file by the uid of its run and the digest of its content; raises KeyError if there is none."""


async def no_files(_: str, sha256: str) -> bytes:
    """Refuse each file that an effect asks for: the call of its run had no files.

    Raises KeyError.
    """
    raise KeyError(sha256)


class EffectFiles:
    """The files of one run, for one effect."""

    def __init__(self, read: ReadFile, uid: str) -> None:
        self._read = read
        self._uid = uid
        self._handed = 0

    async def content(self, file: FileReference) -> bytes:
        """Return the content of a file that the effect uses; wait while the store is unreachable.

        Raises WorkflowError if the run has no such file, or if the effect was handed MOST_BYTES already.
        """
        content = await self._wait_for(file)
        self._handed += len(content)
        if self._handed > MOST_BYTES:
            raise WorkflowError(
                "data",
                title="Files too large",
                detail=f"the task is given files of more than {MOST_BYTES // 1024**2} MiB in all",
            )
        return content

    async def _wait_for(self, file: FileReference) -> bytes:
        while True:
            try:
                return await self._read(self._uid, file.sha256)
            except KeyError:
                raise WorkflowError(
                    "data",
                    title="File not found",
                    detail=f'"{file.filename}" is not a file of this run, or of a run that started it',
                ) from None
            except Unreachable:
                # The effect has not begun: retry until the store is back, or the lease is lost and the worker
                # cancels this task.
                await asyncio.sleep(STORE_RETRY_S)

    async def write(self, file: FileReference, folder: Path) -> str:
        """Write a file of an effect into a private folder of its own below `folder`, and return its path."""
        content = await self.content(file)
        # Two files of one name are in different folders.
        own = folder / f"file-{hashlib.sha256(file.placeholder.encode()).hexdigest()[:16]}"
        return await asyncio.to_thread(_write, own, file.filename, content)


NO_FILES: Final = EffectFiles(no_files, "")


def _write(folder: Path, filename: str, content: bytes) -> str:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)  # the process may run as another user
    path = folder / filename
    path.write_bytes(content)
    path.chmod(0o644)
    return str(path)


async def with_files(call: CallHttp, files: EffectFiles) -> CallHttp:
    """Return a call with the files of its effect in place of references: as its body, or as multipart fields.

    Raises WorkflowError as `EffectFiles.content` does.
    """
    if _is_form(call) and isinstance(call.body, dict):
        return replace(call, body=await _fields(call.body, files))
    return replace(call, body=await _file_or(call.body, files))


def _is_form(call: CallHttp) -> bool:
    declared = next((value for name, value in call.headers.items() if name.lower() == "content-type"), "")
    return media_type(declared) == multipart.MEDIA_TYPE


def with_empty_files(call: CallHttp) -> CallHttp:
    """Return a call with empty files in place of references to files; their names and types are kept."""
    if _is_form(call) and isinstance(call.body, dict):
        return replace(call, body={name: _all_empty(value) for name, value in call.body.items()})
    return replace(call, body=_empty(call.body))


def _all_empty(value: Any) -> Any:
    return [_empty(each) for each in value] if isinstance(value, list) else _empty(value)


def _empty(value: Any) -> Any:
    found = file_references.read(value)
    if found is None:
        return value
    return FileContent(filename=found.filename, content_type=found.content_type, data=b"")


async def with_operation_files(call: CallOpenApi, operation: Operation, files: EffectFiles) -> CallOpenApi:
    """Return a call of an operation with the effect's files in place of references, unless its body is JSON.

    Raises WorkflowError as `EffectFiles.content` does.
    """
    kind = "" if operation.body is None else media_type(operation.body.media)
    if not kind or kind.endswith("json") or kind == "application/x-www-form-urlencoded":
        return call
    parameters = {
        name: await (
            _fields(value, files)
            if isinstance(value, dict) and file_references.read(value) is None
            else _file_or(value, files)
        )
        for name, value in (await _fields(call.parameters, files)).items()
    }
    return replace(call, parameters=parameters)


async def with_paths(
    arguments: Mapping[str, Any], files: EffectFiles, folder: Callable[[], Path]
) -> dict[str, Any]:
    """Write the files in the arguments of a function, and return the arguments with a `path` in each file."""
    changed: dict[str, Any] = await _with_paths(dict(arguments), files, folder)
    return changed


async def _with_paths(value: Any, files: EffectFiles, folder: Callable[[], Path]) -> Any:
    """Return a value with a `path` in each file in it; the same object if there is none."""
    found = file_references.read(value)
    if found is not None:
        return {**value, "path": await files.write(found, folder())}
    members: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
    changed: dict[Any, Any] = {}
    for key, each in members:
        # Each object and list is visited once, and a scalar not at all: data may have a million values.
        if isinstance(each, dict | list):
            new = await _with_paths(each, files, folder)
            if new is not each:
                changed[key] = new
    if not changed:
        return value
    if isinstance(value, dict):
        return {**value, **changed}
    return [changed.get(index, each) for index, each in enumerate(value)]


async def _fields(fields: Mapping[str, Any], files: EffectFiles) -> dict[str, Any]:
    return {
        name: [await _file_or(each, files) for each in value]
        if isinstance(value, list)
        else await _file_or(value, files)
        for name, value in fields.items()
    }


async def _file_or(value: Any, files: EffectFiles) -> Any:
    found = file_references.read(value)
    if found is None:
        return value
    content = await files.content(found)
    return FileContent(filename=found.filename, content_type=found.content_type, data=content)
