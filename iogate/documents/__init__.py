"""Documents: YAML files are read, validated by models, and returned with the line and column of every node.

    loader                       files and folders to documents and problems
    yaml/                        YAML text to data and a tree with positions
    api/ dsl/                    models of API documents and of workflows
    base_model field_types value_type_fields  base class of the models, types of their fields
    task_kinds json_schema debug_cases  parts of the models that several of them share
    catalog_function             function of a catalog, as a workflow with only this function
    validation_messages          messages of validation errors
    formatter/                   canonical form of documents, with their comments
    editor_schemas               JSON Schemas of the documents for editors
    placeholders                 replacements for invalid documents, for checks only
    document_checks              checks of one document that models cannot make
    problems fixes               a problem and its rendering with source line and caret; its correction
    ignores                      comments that switch a lint rule off at one place

Called by the command line and the compiler. The package reads files, and does not know Redis, HTTP or the
engine; checks across documents are the compiler's.

Names are imported at their first use: the models take half a second to import, which a command that only
reads its settings must not pay.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iogate.documents.editor_schemas import schema
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
    "editor_schemas": ("schema",),
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
