"""Check that no two APIs have the same path."""

from __future__ import annotations

from collections.abc import Iterator

from iogate.compiler.diagnostics import Document, problem_at
from iogate.documents.problems import Problem
from iogate.json_pointer import Pointer


class Routes:
    """The ids and own paths seen so far.

    Two ids that differ in case only are one to a person, so they are refused; and so are two paths.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, Document, Pointer]] = {}
        self._paths: dict[str, tuple[str, str, Document, Pointer]] = {}

    def enter(
        self, identity: str, document: Document, pointer: Pointer, path: str | None = None
    ) -> Iterator[Problem]:
        """Note the routes of an API; yield a problem for each of its paths that is taken."""
        first = self._seen.setdefault(identity.lower(), (identity, document, pointer))
        if first != (identity, document, pointer):
            other, holder, place = first
            where = f"{holder.path}:{holder.at(place, key=True).line}"
            message = (
                f"API {identity} is declared twice: first in {where}"
                if other == identity
                else f"API {identity} differs only in case from {other} in {where}"
            )
            yield problem_at(
                document, pointer, "IOG301", message, key=True, hint="give one of them another name"
            )
        if path is not None:
            yield from self._enter_path(path, identity, document, (*pointer, "path"))

    def _enter_path(
        self, path: str, identity: str, document: Document, pointer: Pointer
    ) -> Iterator[Problem]:
        first = self._paths.setdefault(path.lower(), (path, identity, document, pointer))
        other, owner, holder, place = first
        if (holder, place) == (document, pointer):
            return
        where = f"{owner} in {holder.path}:{holder.at(place).line}"
        message = (
            f"path {path} of {identity} is that of {where}"
            if other == path
            else f"path {path} of {identity} differs only in case from {other} of {where}"
        )
        yield problem_at(document, pointer, "IOG159", message, hint="give one of them another path")
