"""Reads a function of a catalog: one task in its own file, read as a workflow with only this function.

Called by the compiler. All checks of workflows apply unchanged, and each position is one in the file that
was read.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from iogate.documents.document_checks import check_workflow
from iogate.documents.dsl import Workflow
from iogate.documents.loader import WorkflowDocument
from iogate.documents.problems import Problem
from iogate.documents.validation_messages import to_problems
from iogate.documents.yaml.nodes import Node
from iogate.documents.yaml.reader import read_text
from iogate.documents.yaml.source import Span

_HEAD = {"dsl": "1.0.3", "namespace": "function", "name": "function", "version": "1.0.0"}


def read_function(text: str, path: str, name: str) -> tuple[WorkflowDocument | None, list[Problem]]:
    """Return the task in the text of a catalog function, as `use.functions.NAME`, or its problems."""
    reading = read_text(text, path)
    if reading.root is None or reading.problems:
        return None, list(reading.problems)
    task = reading.root
    top = Span(1, 1)

    def holder(key: str, inner: Node, more: dict[str, Any] | None = None) -> Node:
        return Node(span=top, value={**(more or {}), key: inner.value}, entries={key: (top, inner)})

    calls: dict[str, Any] = {"document": _HEAD, "do": [{"call": {"call": name}}]}
    root = holder("use", holder("functions", holder(name, task)), calls)
    data: dict[str, Any] = root.value
    try:
        model = Workflow.model_validate(data)
    except ValidationError as error:
        return None, [*to_problems(error, root, path, "workflow"), *check_workflow(data, root, path)]
    document = WorkflowDocument(path=path, data=data, positions=root, source=reading.source, model=model)
    return document, list(check_workflow(data, root, path))
