"""References inside of an OpenAPI document, followed without walking in circles. Used by `document`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from iogate import json_pointer
from iogate.json_values import JsonObject
from iogate.messages import quoted

MAX_STEPS: Final = 32
"""References that lead to references: followed for each path of a document, long ways take for ever."""


class Unusable(Exception):
    """Why a document does not serve a call; `near` is the name that was perhaps meant."""

    def __init__(self, reason: str, *, near: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.near = near


class References:
    def __init__(self, document: JsonObject) -> None:
        self.document = document

    def follow(self, value: Any) -> Any:
        """Return a part of an OpenAPI document, or the target of its `$ref`.

        Raises Unusable for a reference out of the document, into nothing, or in a circle.
        """
        passed: set[str] = set()
        while isinstance(value, Mapping) and isinstance(value.get("$ref"), str):
            reference = value["$ref"]
            if not reference.startswith("#"):
                raise Unusable(f"it refers to another document, {quoted(reference)}; make it one document")
            if reference in passed:
                raise Unusable(f"its reference {quoted(reference)} leads back to itself")
            if len(passed) == MAX_STEPS:
                raise Unusable(f"its reference {quoted(reference)} comes after {MAX_STEPS} others in a row")
            passed.add(reference)
            value = self._at(reference)
        return value

    def _at(self, reference: str) -> Any:
        try:
            return json_pointer.resolve_fragment(self.document, reference)
        except LookupError:
            raise Unusable(f"its reference {quoted(reference)} leads nowhere") from None


def mapping(value: Any) -> JsonObject:
    """Return the target of an OpenAPI reference as a mapping, an empty one if it is of another type."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: Any) -> list[Any]:
    """Return the target of an OpenAPI reference as a list, an empty one if it is of another type."""
    return value if isinstance(value, list) else []
