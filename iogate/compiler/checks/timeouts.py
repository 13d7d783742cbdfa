"""Check that the runs of an API end: its timeout, or that of its workflow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from iogate.compiler.definition import Definition
from iogate.compiler.diagnostics import Document, warning_at
from iogate.compiler.tasks import Container, Http, Listen, OpenApi, Process
from iogate.documents.problems import Problem
from iogate.messages import quoted

if TYPE_CHECKING:
    from iogate.documents.api import Method
    from iogate.json_pointer import Pointer

_EXTERNAL = (Http, OpenApi, Process, Container, Listen)


def check(
    document: Document, pointer: Pointer, identity: str, method: Method, definition: Definition | None
) -> Iterator[Problem]:
    """Warn if neither the method at `pointer` nor its workflow, if it is known, limits the time of a run."""
    if method.timeout is not None or (definition is not None and definition.program.timeout is not None):
        return
    tasks = definition.index.tasks if definition is not None else ()
    waiting = next((task.name for task in tasks if isinstance(task.body, _EXTERNAL)), None)
    because = "" if waiting is None else f", and task {quoted(waiting)} waits for another system"
    yield warning_at(
        document,
        pointer,
        "IOG502",
        f"runs of {identity} have no timeout{because}",
        key=True,
        hint="add one, such as timeout: 5m",
    )
