"""APIs are worth publishing as they stand: no two of one path, and warnings where one is likely unwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from iogate.compiler.faults import Placed, fault, warning
from iogate.compiler.walk import Pointer
from iogate.documents.api import Method
from iogate.documents.problems import Problem, quoted


class Routes:
    """The ids seen so far. Two ids that differ in case only are one to a person, so they are refused."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, Placed, Pointer]] = {}

    def enter(self, identity: str, document: Placed, pointer: Pointer) -> Problem | None:
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
        return fault(document, pointer, "IOG301", message, key=True, hint="give one of them another name")


def check(document: Placed, pointer: Pointer, method: Method, input_schema: Any) -> Iterator[Problem]:
    """Lint one method, given the schema that the gateway will judge its input by."""
    if method.timeout is None:
        yield warning(
            document,
            pointer,
            "IOG502",
            "no timeout: a run of this API may last forever",
            key=True,
            hint='write "timeout: 5m" on the method or the module',
        )
    if "GET" in (method.verbs or ()) and input_schema in (None, {}, True):
        yield warning(
            document,
            pointer,
            "IOG503",
            "GET without a schema: every value of the query reaches the workflow as text",
            key=True,
            hint=f"describe the query under {quoted('input')}: {{schema: …}}",
        )
