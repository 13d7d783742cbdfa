"""Files that a call has sent with its input: list, and content of one.

Used by `iogate runs file`, and by the routes of runs. Invariant: only a file that the input of the run names
is read, and only from among the files of this run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from iogate import file_references
from iogate.errors import NotFound
from iogate.messages import quoted
from iogate.operators.runs.run_details import find_run
from iogate.store.store import Store


async def list_files(store: Store, uid: str) -> list[dict[str, Any]]:
    """Return the metadata of the files of a run. Raises NotFound if there is no such run."""
    return files_of((await find_run(store, uid)).input)


def files_of(stored: bytes | None) -> list[dict[str, Any]]:
    """Return the metadata of the files that the stored input of a run names."""
    return list(_files(json.loads(stored or b"null")))


async def read_file(store: Store, uid: str, file: Mapping[str, Any]) -> bytes:
    """Return the content of a file of a run, given by its metadata.

    Raises NotFound if the store does not have it any more.
    """
    try:
        return await store.files.read(uid, file["sha256"])
    except KeyError:
        raise NotFound(f"run {uid}: the file {quoted(file['name'])} is no longer in the store") from None


def _files(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the metadata of each file in the input of a run, as it is shown."""
    found = file_references.read(value)
    if found is not None:
        yield {
            "name": str(value.get("name", "")),
            "filename": found.filename if value.get("filename") else "",
            "contentType": found.content_type,
            "size": value.get("size"),
            "sha256": found.sha256,
        }
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _files(each)
