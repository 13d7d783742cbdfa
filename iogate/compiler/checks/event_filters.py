"""Filters of events that name an attribute which is probably a misspelt one.

CloudEvents lets anybody add attributes, so the standard accepts every name: this can only be a warning.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Final

from iogate.compiler.checked_definition import Definition
from iogate.compiler.diagnostics import CheckContext, Document, did_you_mean, warning_at
from iogate.documents.problems import Problem
from iogate.json_pointer import Pointer
from iogate.json_values import JsonObject
from iogate.messages import quoted

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


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    del context
    for attributes in definition.index.events:
        yield from _misspelt(definition.document, attributes.pointer, attributes.element)


def _misspelt(document: Document, pointer: Pointer, given: JsonObject) -> Iterator[Problem]:
    free = [name for name in _ATTRIBUTES if name not in given and len(name) >= _SHORTEST]
    for name in given:
        if name in _ATTRIBUTES or name in _EXTENSIONS:
            continue
        for meant in difflib.get_close_matches(name.lower(), free, 1, _NEAR):
            yield warning_at(
                document,
                (*pointer, name),
                "IOG520",
                f"{quoted(name)} is no attribute of CloudEvents, and taken for one of your own",
                key=True,
                hint=did_you_mean(meant),
            )
