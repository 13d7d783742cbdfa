"""Addresses of external functions: at a URL, or in a catalog of `use.catalogs`.

Used by `document_collector` and `checks.functions`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from iogate.compiler.resources.document_addresses import below, is_computed, raw
from iogate.compiler.resources.document_sources import Origin, Place, locate
from iogate.json_values import JsonObject

CATALOGED: Final = re.compile(r"(?P<name>[^:@/\s]+):(?P<version>[^:@/\s]+)@(?P<catalog>[^@/\s]+)")


def function_of(call: str, use: JsonObject, origin: Origin) -> tuple[Place, Any] | None:
    """Return the address of a catalog's or URL's function, and its authentication; None for other calls."""
    if call in (use.get("functions") or {}):
        return None
    if "://" in call:
        place = locate(origin, raw(call))
        return None if place is None else (place, None)
    found = CATALOGED.fullmatch(call)
    catalog = (use.get("catalogs") or {}).get(found["catalog"]) if found is not None else None
    if found is None or catalog is None:
        return None
    endpoint = catalog["endpoint"]
    root, authentication = (
        (endpoint.get("uri"), endpoint.get("authentication"))
        if isinstance(endpoint, Mapping)
        else (endpoint, None)
    )
    if is_computed(str(root)):
        return None
    place = locate(origin, below(str(root), f"functions/{found['name']}/{found['version']}/function.yaml"))
    return None if place is None else (place, authentication)
