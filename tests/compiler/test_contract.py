"""What passes the checks is what the engine executes; and no valid document makes a check fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from iogate.compiler import program
from iogate.compiler.checked_definition import read as definition_of
from iogate.compiler.compile import WORKFLOW_CHECKS
from iogate.compiler.diagnostics import CheckContext
from iogate.compiler.resources import document_collector
from iogate.compiler.resources.document_sources import Sources
from iogate.compiler.tasks import Raise, Unresolved, Unsupported
from iogate.documents import Source, Span
from iogate.documents.problems import Problem
from iogate.json_pointer import Pointer
from iogate.settings import Settings
from tests.documents.corpus import EXAMPLES, data_of, holds, needs_standard
from tests.documents.mutations import mutations


@dataclass
class Unplaced:
    """A document whose places nobody asks for."""

    data: Mapping[str, Any]
    path: str = "workflows.d/mutated.yaml"
    source: Source = field(default_factory=lambda: Source(path="", text=""))

    def at(self, pointer: Pointer, *, key: bool = False) -> Span:
        del pointer, key
        return Span(1, 1)


def absent(folder: str, path: str) -> bytes:
    raise FileNotFoundError(path)


def problems(definition: Mapping[str, Any]) -> Iterator[Problem]:
    read = definition_of(Unplaced(definition))
    context = CheckContext(settings=Settings(allow_run=("script", "shell", "container")), purpose="apply")
    for check in WORKFLOW_CHECKS:
        yield from check(read, context)
    yield from document_collector.take(
        read, Sources(absent), document_collector.Taken(), lambda _: (), context
    )[1]


@needs_standard
@pytest.mark.parametrize("part", range(3))
def test_mutations_either_have_an_error_or_only_what_the_engine_executes(part: int) -> None:
    judged = sound = 0
    for path in EXAMPLES[part::12]:
        for number, (what, mutated) in enumerate(mutations(data_of(path))):
            if number % 7:
                continue
            definition = mutated()
            if not holds(definition):
                continue
            judged += 1
            if any(problem.severity == "error" for problem in problems(definition)):
                continue
            sound += 1
            loaded = program.load(definition)
            for task in loaded.tasks.values():
                assert not isinstance(task.body, Unsupported | Unresolved), (
                    f"{path.name}: {what}: {task.pointer}"
                )
                assert not (isinstance(task.body, Raise) and task.body.missing), f"{path.name}: {what}"
    assert judged > 30
    assert sound > 10
