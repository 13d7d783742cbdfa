"""Files become typed documents here; every node knows its line and column.

May read files. May not know Redis, HTTP, the engine or what other documents say: checks across
documents are the compiler's.
"""

from iogate.documents.editors import schema
from iogate.documents.loader import ApiDocument, Documents, WorkflowDocument, load, load_text
from iogate.documents.problems import Problem, in_order, render, render_all
from iogate.documents.reader import Reading, read_file, read_text, read_yaml
from iogate.documents.source import Source, Span

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
