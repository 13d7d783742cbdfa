"""Meanings of changed rules for the files of calls, and for the body as a file.

Called by apis. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from iogate.compiler.revision import Api, Files
from iogate.reconcile.document_form import size_text
from iogate.reconcile.meanings.change_kinds import Meaning

_FILES = "/input/files"
_RAW = "/input/raw"


def meanings(before: Api, after: Api) -> Iterator[Meaning]:
    """Yield the meanings of changed rules for the files of an API's calls, and for a raw body."""
    if before.has_raw != after.has_raw:
        if after.has_raw:
            text = "input has the body as a file, in raw, whatever its type"
            yield Meaning(kind="input.raw", text=text, pointer=_RAW)
        else:
            text = (
                "input no longer has the body as a file: calls of other types than JSON and forms get a 415"
            )
            yield Meaning(kind="input.no_raw", text=text, pointer=_RAW)
    old = before.files if isinstance(before.files, Files) else None
    new = after.files if isinstance(after.files, Files) else None
    if old is None and new is not None:
        text = (
            f"files of calls are stored, up to {size_text(new.total)} per call: the input has their metadata"
        )
        yield Meaning(kind="files.added", text=text, pointer=_FILES)
    elif new is None and old is not None:
        text = "files of calls are no longer stored: the input has their contents, within limits.body"
        yield Meaning(kind="files.removed", text=text, pointer=_FILES)
    elif old is not None and new is not None:
        for name, was, now in (
            ("size", old.size, new.size),
            ("total", old.total, new.total),
            ("count", old.count, new.count),
        ):
            if was != now:
                word = "lowered" if now < was else "raised"
                shown = (was, now) if name == "count" else (size_text(was), size_text(now))
                text = f"input.files.{name} {word} ({shown[0]} → {shown[1]})"
                yield Meaning(kind=f"limit.{word}", text=text, pointer=f"{_FILES}/{name}")
