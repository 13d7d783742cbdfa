"""Sources of the documents that other documents name, with their content: files of the project, and URLs.

Used by `document_collector`, `lock_file` and `function_addresses`. A relative address is meant from the
document that names it. What is read is kept for as long as one compilation, so that a document named twice is
one document.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, Protocol
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from iogate import json_values
from iogate.compiler.resources.document_addresses import REMOTE, is_computed
from iogate.documents.yaml.reader import read_text
from iogate.json_values import JsonObject
from iogate.messages import quoted

MAX_BYTES: Final = 5 * 1024 * 1024

Read = Callable[[str, str], bytes]
"""Content of a file, by the folder that bounds it (empty: the project) and its path there; raises OSError."""


class Fetch(Protocol):
    """Content at a URL, with an authentication policy, `{scheme: members}`; raises FetchFailed.

    Raises Unreadable for content that is there and must not be used.
    """

    def __call__(self, uri: str, policy: JsonObject | None, *, foreign: bool) -> bytes:
        """Return the content of a document at a URL.

        `foreign`: a fetched document, not the project, names this URL.
        """


class FetchFailed(Exception):
    """Why there is no content at a URL, in words for people."""


class Unreadable(Exception):
    """Reason why a document cannot be used."""

    def __init__(self, code: str, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Location of a document, to which its references are relative."""

    folder: str = ""
    """That its files may not leave; empty is the project."""
    start: str = ""
    """Where in it relative paths start."""
    url: str = ""
    """Of a document that was fetched."""
    foreign: bool = False
    """Of a document that was fetched: nobody of the project wrote its host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A document that another names."""

    name: str
    """As people call it: its URL, or its path in the project."""
    url: str = ""
    folder: str = ""
    foreign: bool = False
    """Nobody of the project wrote its host: a document that was fetched from another one names it."""

    @property
    def origin(self) -> Origin:
        start = "" if self.url else posixpath.dirname(self.name)
        return Origin(folder=self.folder, start=start, url=self.url, foreign=self.foreign)


def origin_of(path: str) -> Origin:
    """Return the origin of a document in a file to compile, to which addresses of sources are relative."""
    folder = posixpath.dirname(path)
    # A file outside the project, named on the command line, is a project of its own.
    return Origin(folder=folder) if posixpath.isabs(path) else Origin(start=folder)


def locate(origin: Origin, uri: Any) -> Place | None:
    """Return the location of a named document by its address; None if only a run knows it.

    Raises Unreadable for one that is none.
    """
    if not isinstance(uri, str) or is_computed(uri):
        return None
    try:
        return _place(origin, uri)
    except ValueError:
        raise Unreadable("IOG307", f"{quoted(uri)} is no address") from None


def _place(origin: Origin, uri: str) -> Place:
    path = uri.removeprefix("file:")
    if REMOTE.match(uri) or (origin.url and path == uri):
        # A relative one may name a host as well: `//host/path`.
        url = urldefrag(urljoin(origin.url, uri))[0]
        elsewhere = bool(origin.url) and urlsplit(origin.url).hostname != urlsplit(url).hostname
        return Place(name=url, url=url, foreign=origin.foreign or elsewhere)
    path = path.removeprefix("//") if uri != path and path.startswith("//") else path
    if origin.url:
        return Place(name=f"../{path}")  # a fetched document names no files of ours
    return Place(name=posixpath.normpath(posixpath.join(origin.start, unquote(path))), folder=origin.folder)


class Sources:
    """Sources of documents, with everything that was read from them."""

    def __init__(self, read: Read, fetch: Fetch | None = None, *, needed: bool = True) -> None:
        self._read = read
        self._fetch = fetch
        self._needed = needed
        self._fetched: dict[tuple[str, str, bool], bytes | Unreadable] = {}

    def reaches(self, place: Place) -> bool:
        """Tell whether to ask the sources for a document: not for a URL without a fetcher, unless needed."""
        return not place.url or self._fetch is not None or self._needed

    def text(self, place: Place, policy: JsonObject | None = None) -> str:
        """Return the text of a document that another names.

        Raises Unreadable.
        """
        content = self.content(place, policy)
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise Unreadable(code_of(place), f"{place.name} is not UTF-8 text") from None

    def content(self, place: Place, policy: JsonObject | None = None) -> bytes:
        content = self._fetch_once(place, policy) if place.url else self._file(place)
        if len(content) > MAX_BYTES:
            raise Unreadable(code_of(place), f"{place.name} is over 5 MiB")
        return content

    def _fetch_once(self, place: Place, policy: JsonObject | None) -> bytes:
        key = (place.url, repr(policy), place.foreign)
        if key not in self._fetched:
            self._fetched[key] = self._ask(place, policy)
        found = self._fetched[key]
        if isinstance(found, Unreadable):
            raise found
        return found

    def _ask(self, place: Place, policy: JsonObject | None) -> bytes | Unreadable:
        if self._fetch is None:
            return Unreadable("IOG307", f"{place.url} is not fetched here")
        try:
            return self._fetch(place.url, policy, foreign=place.foreign)
        except Unreadable as refused:
            return refused
        except FetchFailed as failed:
            return Unreadable(
                "IOG307",
                f"{place.url} cannot be fetched: {failed}",
                hint='the setting "endpoints" can send it elsewhere',
            )

    def _file(self, place: Place) -> bytes:
        if place.name.startswith("../") or PurePosixPath(place.name).is_absolute():
            raise Unreadable(
                "IOG306",
                f"{quoted(place.name)} is outside the project; "
                "only files of the project become part of a revision",
                hint="a path is relative to this file",
            )
        try:
            return self._read(place.folder, place.name)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            why = "does not exist" if missing else f"cannot be read: {error.strerror}"
            raise Unreadable(
                "IOG306", f"{place.name} {why}", hint="a path is relative to this file"
            ) from None


def code_of(place: Place) -> str:
    """Return the error code of an unusable document by its source: a URL or a file."""
    return "IOG307" if place.url else "IOG306"


def plain_data(text: str, name: str, *, code: str = "IOG307") -> Any:
    """Parse the text of a named document: JSON, or YAML as documents have it.

    Raises Unreadable, with the place in the document that people call `name`.
    """
    if text.lstrip().startswith(("{", "[")):
        try:
            return json_values.parse(text)
        except json_values.InvalidNumber as fault:
            raise Unreadable(code, f"{name}: {fault}") from None
        except ValueError:
            pass  # perhaps YAML in flow style, and if not, YAML's message has a place
    reading = read_text(text, name)
    if reading.problems:
        first = reading.problems[0]
        raise Unreadable(code, f"{name}:{first.line}:{first.column}: {first.message}")
    return reading.data
