"""Filters of events that name an attribute which is probably a misspelt one.

CloudEvents lets anybody add attributes, so the standard accepts every name: this can only be a warning.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from iogate.compiler import outline
from iogate.compiler.faults import Placed, Surroundings, did_you_mean, warning
from iogate.compiler.outline import Pointer
from iogate.documents.problems import Problem, quoted

_ATTRIBUTES: Final = (
    "id",
    "source",
    "specversion",
    "type",
    "time",
    "subject",
    "datacontenttype",
    "dataschema",
    "data",
)
_SHORTEST: Final = 4
"""Characters of a name that can be misspelt: attributes of one's own such as `cid` resemble shorter ones."""
_NEAR: Final = 0.75
"""Ratio of difflib: `tpye` is that near to `type`, and `dataset` is less near to `data`."""
_EXTENSIONS: Final = frozenset(
    {"traceparent", "tracestate", "partitionkey", "sequence", "dataref", "sampledrate"}
)


def check(document: Placed, surroundings: Surroundings) -> Iterator[Problem]:
    del surroundings
    strategies: list[tuple[Pointer, Any]] = [
        (("schedule", "on"), (document.data.get("schedule") or {}).get("on"))
    ]
    for task in outline.tasks(document.data):
        if task.kind == "listen":
            strategies.append(((*task.pointer, "listen", "to"), task.data["listen"].get("to")))
        elif task.kind == "emit":
            event = task.data["emit"].get("event") or {}
            yield from _misspelt(document, (*task.pointer, "emit", "event", "with"), event.get("with"))
    for pointer, strategy in strategies:
        for place, one in _filters(pointer, strategy):
            yield from _misspelt(document, (*place, "with"), one.get("with"))


def _filters(pointer: Pointer, strategy: Any) -> Iterator[tuple[Pointer, Mapping[str, Any]]]:
    if not isinstance(strategy, Mapping):
        return
    for key, value in strategy.items():
        match key, value:
            case (("all" | "any"), list()):
                yield from (((*pointer, key, index), one) for index, one in enumerate(value))
            case "one", Mapping():
                yield (*pointer, key), value
            case "until", Mapping():
                yield from _filters((*pointer, key), value)


def _misspelt(document: Placed, pointer: Pointer, given: Any) -> Iterator[Problem]:
    if not isinstance(given, Mapping):
        return
    free = [name for name in _ATTRIBUTES if name not in given and len(name) >= _SHORTEST]
    for name in given:
        if name in _ATTRIBUTES or name in _EXTENSIONS:
            continue
        for meant in difflib.get_close_matches(name.lower(), free, 1, _NEAR):
            yield warning(
                document,
                (*pointer, name),
                "IOG520",
                f"{quoted(name)} is no attribute of CloudEvents, and taken for one of your own",
                key=True,
                hint=did_you_mean(meant),
            )
