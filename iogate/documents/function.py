"""A function of a catalog: one task in a file of its own, read as a workflow that has but this function.

Called by the compiler. Every check of workflows holds for it as it is, and each place in it is a place in
the file that was read.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from iogate.documents.checks import check_workflow
from iogate.documents.dsl import Workflow
from iogate.documents.loader import WorkflowDocument
from iogate.documents.problems import Problem
from iogate.documents.wording import problems_of
from iogate.documents.yaml.nodes import Node
from iogate.documents.yaml.reader import read_text
from iogate.documents.yaml.source import Span

_HEAD = {"dsl": "1.0.3", "namespace": "function", "name": "function", "version": "1.0.0"}


def read_function(text: str, path: str, name: str) -> tuple[WorkflowDocument | None, list[Problem]]:
    """Return the task in a text, as `use.functions.NAME` of a calling workflow, or its problems."""
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
        return None, [*problems_of(error, root, path, "workflow"), *check_workflow(data, root, path)]
    document = WorkflowDocument(path=path, data=data, root=root, source=reading.source, model=model)
    return document, list(check_workflow(data, root, path))
