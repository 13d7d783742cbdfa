"""Where a workflow says how it authenticates: every policy, reusable ones and those that stand in place.

Read by the checks, so that a policy is judged alike wherever it stands: at a call, at a document that the
workflow is made of, at a catalog.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from iogate.compiler import features, outline
from iogate.compiler.outline import Pointer


def policies(definition: Mapping[str, Any]) -> Iterator[tuple[Pointer, Mapping[str, Any]]]:
    """Every authentication policy, with its place."""
    use = definition.get("use") or {}
    for name, policy in (use.get("authentications") or {}).items():
        yield ("use", "authentications", name), policy
    for pointer, holder in _holders(definition, use):
        policy = holder.get("authentication")
        if isinstance(policy, Mapping):
            yield (*pointer, "authentication"), policy


def _holders(
    definition: Mapping[str, Any], use: Mapping[str, Any]
) -> Iterator[tuple[Pointer, Mapping[str, Any]]]:
    """Yield the places of a policy: endpoints, and the arguments of calls."""
    for task in outline.tasks(definition):
        arguments, at = task.data.get("with"), (*task.pointer, "with")
        if not isinstance(arguments, Mapping):
            continue
        match task.data.get("call"):
            case "http":
                yield from _endpoint(at, arguments)
            case "openapi":
                yield at, arguments
                yield from _endpoint((*at, "document"), arguments.get("document"))
    for pointer, resource in features.resources(definition):
        yield from _endpoint(pointer, resource)
    for name, catalog in (use.get("catalogs") or {}).items():
        yield from _endpoint(("use", "catalogs", name), catalog)


def _endpoint(pointer: Pointer, holder: Any) -> Iterator[tuple[Pointer, Mapping[str, Any]]]:
    endpoint = holder.get("endpoint") if isinstance(holder, Mapping) else None
    if isinstance(endpoint, Mapping):
        yield (*pointer, "endpoint"), endpoint
