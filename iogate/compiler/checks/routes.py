"""No two APIs answer one path."""

from __future__ import annotations

from iogate.compiler.diagnostics import Document, problem_at
from iogate.documents.problems import Problem
from iogate.json_pointer import Pointer


class Routes:
    """The ids seen so far. Two ids that differ in case only are one to a person, so they are refused."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, Document, Pointer]] = {}

    def enter(self, identity: str, document: Document, pointer: Pointer) -> Problem | None:
        """Note an API; a problem where its path is taken."""
        first = self._seen.setdefault(identity.lower(), (identity, document, pointer))
        if first == (identity, document, pointer):
            return None
        other, holder, place = first
        where = f"{holder.path}:{holder.at(place, key=True).line}"
        message = (
            f"API {identity} is declared twice: first in {where}"
            if other == identity
            else f"API {identity} differs only in case from {other} in {where}"
        )
        return problem_at(
            document, pointer, "IOG301", message, key=True, hint="give one of them another name"
        )
