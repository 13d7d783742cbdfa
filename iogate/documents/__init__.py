"""Files become typed documents here; every node knows its line and column.

May read files. May not know Redis, HTTP, the engine or what other documents say: checks across
documents are the compiler's.

Names are imported when they are first asked for: the models cost half a second, which a command
that only reads its settings must not pay.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iogate.documents.editors import schema
    from iogate.documents.loader import ApiDocument, Documents, WorkflowDocument, load, load_text
    from iogate.documents.problems import Problem, in_order, render, render_all
    from iogate.documents.yaml.reader import Reading, read_file, read_text, read_yaml
    from iogate.documents.yaml.source import Source, Span

__all__ = [
    "ApiDocument",
    "Documents",
    "Problem",
    "Reading",
    "Source",
    "Span",
    "WorkflowDocument",
    "in_order",
    "load",
    "load_text",
    "read_file",
    "read_text",
    "read_yaml",
    "render",
    "render_all",
    "schema",
]

_HOMES = {
    "editors": ("schema",),
    "loader": ("ApiDocument", "Documents", "WorkflowDocument", "load", "load_text"),
    "problems": ("Problem", "in_order", "render", "render_all"),
    "yaml.reader": ("Reading", "read_file", "read_text", "read_yaml"),
    "yaml.source": ("Source", "Span"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"iogate.documents.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
