"""YAML text to data and a positioned tree, by YAML 1.2 core rules and within fixed bounds.

Called by the loader for documents and by the command line for settings. Invariant: time and memory are
bounded for any file. The positions of a text without faults are composed when something asks for one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from iogate.documents.problems import Problem
from iogate.documents.yaml.composer import MAX_PROBLEMS, compose
from iogate.documents.yaml.data_reader import read_data
from iogate.documents.yaml.source import Source, Span

if TYPE_CHECKING:
    from pathlib import Path

    from iogate.documents.yaml.nodes import Node
    from iogate.json_pointer import Pointer

__all__ = ["MAX_BYTES", "MAX_PROBLEMS", "Reading", "read_bytes", "read_file", "read_text", "read_yaml"]

MAX_BYTES: Final = 5 * 1024 * 1024
_MAX_TAG_DIRECTIVES: Final = 16

_NOT_YAML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAG_DIRECTIVE = re.compile(r"^%TAG\b", re.MULTILINE)


@dataclass(kw_only=True)
class Reading:
    """Result of reading one file: its data, if it could be read, and its faults."""

    source: Source
    data: Any = None
    problems: list[Problem] = field(default_factory=list)
    _root: Node | None = None
    _composed: bool = True
    """False for a text without faults whose tree nothing has asked for."""

    @property
    def has_no_fault(self) -> bool:
        """True if the reading of a file has only its data, since nothing in the text is unusual."""
        return not self._composed

    @property
    def root(self) -> Node | None:
        """Tree of the reading, with the positions of the data; None if the file could not be read."""
        if not self._composed:
            self._composed = True
            self._root, problems = compose(self.source)
            assert self._root is not None, "the text was read before"
            assert not problems, "only texts without faults are read without positions"
        return self._root

    def place(self, pointer: Pointer, *, key: bool = False) -> Span:
        """Return the position of a value or its key in the reading of a file, or of its nearest parent."""
        return self.tree().place(pointer, key=key)

    def tree(self) -> Node:
        """Return the tree of the reading of a file that could be read."""
        root = self.root
        assert root is not None, "callers have checked that the file was read"
        return root


def read_file(path: Path, name: str) -> Reading:
    """Read the YAML of a file, which problems call `name`; never raise for the content of the file."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        why = error.strerror or type(error).__name__
        return _refused(name, "IOG134", f"cannot read the file: {why}")
    return read_bytes(raw, name)


def read_yaml(given: Path | str, name: str | None = None) -> Reading:
    """Read a file by its path, or YAML text: settings, inputs, anything that is no document."""
    if isinstance(given, str):
        return read_text(given, name or "input.yaml")
    return read_file(given, name or given.as_posix())


def read_bytes(raw: bytes, name: str) -> Reading:
    if len(raw) > MAX_BYTES:
        return _refused(name, "IOG126", "the file is over 5 MiB")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        good = raw[: error.start].decode("utf-8", errors="replace")
        span = Source(path=name, text=good).span_at(len(good))
        message = f"the file is not UTF-8: byte 0x{raw[error.start]:02x}"
        problem = Problem(code="IOG127", message=message, path=name, line=span.line, column=span.column)
        return Reading(source=Source(path=name, text=""), problems=[problem])
    return read_text(text, name)


def read_text(text: str, name: str) -> Reading:
    """Read YAML text that problems shall call `name`."""
    source = Source(path=name, text=text)
    if bad := _NOT_YAML.search(text):
        message = f"the character U+{ord(bad[0]):04X} is not allowed in YAML"
        return _faulty(source, "IOG127", message, source.span_at(bad.start()))
    if "%TAG" in text and sum(1 for _ in _TAG_DIRECTIVE.finditer(text)) > _MAX_TAG_DIRECTIVES:
        return _faulty(source, "IOG122", f"more than {_MAX_TAG_DIRECTIVES} %TAG directives", Span(1, 1))
    data = read_data(text)
    if data is not None:
        return from_data(source, data)
    root, problems = compose(source)
    source.read = root is not None
    return Reading(source=source, data=None if root is None else root.value, problems=problems, _root=root)


def from_data(source: Source, data: Any) -> Reading:
    """Return the reading of a text without faults, of which `read_data` has returned the data."""
    reading = Reading(source=source, data=data, _composed=False)
    source.read = True
    source.mask_later(lambda: reading.root)
    return reading


def _faulty(source: Source, code: str, message: str, span: Span) -> Reading:
    problem = Problem.at(span, path=source.path, code=code, message=message)
    return Reading(source=source, problems=[problem])


def _refused(name: str, code: str, message: str) -> Reading:
    return _faulty(Source(path=name, text=""), code, message, Span(1, 1))
