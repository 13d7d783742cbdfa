"""Links of the workflow: `document.metadata.iogate.links`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from iogate.compiler.reader.index import Place
from iogate.compiler.reader.reader import EMPTY, Reader
from iogate.compiler.tasks import Link
from iogate.json_values import JsonObject
from iogate.timing.durations import parse_duration

POINTER: Final = ("document", "metadata", "iogate", "links")
READ: Final = re.compile(
    r"\$\s*runtime\s*\.\s*links\s*(?:\.([A-Za-z_]\w*)|\.?\[\s*\"([^\"\\]*)\"\s*\])", re.ASCII
)
"""Read of a link in an expression; a group has its name."""
TTL_S: Final = 604_800
"""Default lifetime of a link."""


def declared(definition: JsonObject) -> JsonObject:
    """Read the links of a definition as its author wrote them, by name."""
    metadata: JsonObject = definition["document"].get("metadata") or EMPTY
    return (metadata.get("iogate") or EMPTY).get("links") or EMPTY


def ttl_ms(link: JsonObject) -> int:
    """Read the lifetime of a link in a definition, in milliseconds; 7 days by default."""
    return int((parse_duration(link["ttl"]).seconds if "ttl" in link else TTL_S) * 1000)


def links(reader: Reader) -> Mapping[str, Link]:
    """Read the links of the workflow, by name."""
    made: dict[str, Link] = {}
    for name, source in declared(reader.definition).items():
        description = source.get("description")
        if description is not None:
            reader.note(Place((*POINTER, name, "description")), description)
        made[name] = Link(ttl_ms=ttl_ms(source), description=reader.optional(description))
    return made
