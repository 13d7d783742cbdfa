"""Lock file `iogate.lock`: digests of all documents that a project fetches, kept in git.

Loaded by whatever compiles with the network, which fetches through `Lock.guard`; saved by `apply` and `up`.
Invariant: a document whose digest differs from its entry never becomes part of a revision, unless the
lock is being updated.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from iogate.atomic_files import write_atomically
from iogate.compiler.resources.document_sources import Fetch, Unreadable
from iogate.errors import InvalidFiles
from iogate.json_values import JsonObject

FILE_NAME: Final = "iogate.lock"
SCHEMA: Final = "iogate.lock/v1"
CHANGED: Final = "IOG325"
UNREADABLE: Final = "IOG326"
MISSING: Final = "IOG327"

Mode = Literal["add", "update", "frozen"]
"""`add` takes documents without an entry and refuses changed ones; `update` takes both, `frozen` neither."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Malformed(Exception):
    """The reason why the text of a lock file cannot be used."""


@dataclass(slots=True, kw_only=True)
class Lock:
    """Entries of the lock file, and documents fetched since it was read."""

    entries: Mapping[str, str] = field(default_factory=dict)
    """URL to `sha256:HEX`."""
    mode: Mode = "add"
    fetched: dict[str, str] = field(default_factory=dict)

    def guard(self, fetch: Fetch) -> Fetch:
        """Wrap a fetcher of documents so that it raises Unreadable for one that the lock file refuses."""

        def guarded(uri: str, policy: JsonObject | None, *, foreign: bool) -> bytes:
            content = fetch(uri, policy, foreign=foreign)
            self._check(uri, content)
            return content

        return guarded

    def _check(self, url: str, content: bytes) -> None:
        # A document that is fetched twice, as two callers or policies may, is one document.
        known = self.entries.get(url, self.fetched.get(url))
        found = self.fetched[url] = "sha256:" + hashlib.sha256(content).hexdigest()
        if known == found or self.mode == "update":
            return
        if known is not None:
            raise Unreadable(
                CHANGED,
                f"{url} has changed: {FILE_NAME} has {known}, what is there now has {found}",
                hint="look at what changed, then accept it with `iogate apply --update-lock`",
            )
        if self.mode == "frozen":
            raise Unreadable(
                MISSING,
                f"{url} has no entry in {FILE_NAME}; what is there now has {found}",
                hint="run `iogate apply` without --locked where you can commit the file",
            )

    @property
    def added(self) -> tuple[str, ...]:
        return tuple(sorted(self.fetched.keys() - self.entries.keys()))

    @property
    def changed(self) -> tuple[str, ...]:
        return tuple(
            sorted(
                url
                for url in self.fetched.keys() & self.entries.keys()
                if self.fetched[url] != self.entries[url]
            )
        )

    @property
    def unused_urls(self) -> tuple[str, ...]:
        """URLs in the lock file that no document names any more; only a whole project can tell."""
        return tuple(sorted(self.entries.keys() - self.fetched.keys()))


def parse(text: str) -> dict[str, str]:
    """Return the entries of the text of iogate.lock.

    Raises Malformed with the reason in words for people.
    """
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = (
            f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else "not JSON"
        )
        raise Malformed(reason) from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise Malformed(f'expected "schema": "{SCHEMA}"')
    entries = data.get("resources")
    if not isinstance(entries, dict):
        raise Malformed('expected "resources" with a digest for each URL')
    for url, digest in entries.items():
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise Malformed(f"{url}: expected sha256: and 64 hexadecimal digits")
    return entries


def render(entries: Mapping[str, str]) -> str:
    """Return the text of a lock file: one line for each URL, sorted, so that changes are easy to review."""
    return json.dumps({"schema": SCHEMA, "resources": dict(sorted(entries.items()))}, indent=2) + "\n"


def load(root: Path, mode: Mode = "add") -> Lock:
    """Return the lock file of a project; an empty one if it has none yet.

    Raises InvalidFiles for a file that cannot be read.
    """
    try:
        entries = parse((root / FILE_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        entries = {}
    except (Malformed, UnicodeDecodeError, OSError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise InvalidFiles(
            f"{FILE_NAME} cannot be used: {reason}",
            code=UNREADABLE,
            hint="take the file from git, or delete it: `iogate apply` writes it again",
        ) from None
    return Lock(entries=entries, mode=mode)


def save(lock: Lock, root: Path) -> bool:
    """Write the digests of a project to iogate.lock if they have changed; return whether it was written.

    Raises OSError.
    """
    if lock.fetched == dict(lock.entries):
        return False
    path = root / FILE_NAME
    if lock.fetched:
        write_atomically(path, render(lock.fetched))
    else:
        path.unlink(missing_ok=True)
    return True
