"""Meanings of changed attributes, by which runs of an API are found.

Called by apis. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from iogate import json_pointer
from iogate.reconcile.meanings.change_kinds import Meaning


def meanings(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Meaning]:
    """Yield the meanings of the differences between the attributes of two forms of an API."""
    for name in sorted({*before, *after}):
        place = f"/attributes/{json_pointer.escape(name)}"
        old, new = before.get(name), after.get(name)
        if old is None:
            text = f"attribute {name} added: new runs are found by the input at {new}"
            yield Meaning(kind="attribute.added", text=text, pointer=place)
        elif new is None:
            text = f"attribute {name} removed: new runs are not found by the input at {old}"
            yield Meaning(kind="attribute.removed", text=text, pointer=place)
        elif old != new:
            text = f"attribute {name} changed ({old} → {new}): earlier runs keep their value"
            yield Meaning(kind="attribute.changed", text=text, pointer=place)
