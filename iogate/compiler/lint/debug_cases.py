"""Rule IOG528: an API or a schedule without a debug case, so that `iogate test` tests nothing of it."""

from __future__ import annotations

from collections.abc import Iterator

from iogate.compiler.diagnostics import Document, problem_at
from iogate.compiler.lint.project import Project
from iogate.compiler.workflows import name_of
from iogate.documents.problems import Problem
from iogate.json_pointer import Pointer


def check(project: Project) -> Iterator[Problem]:
    """Report the APIs and the scheduled workflows without a debug case."""
    for api in project.apis:
        if not api.method.debug:
            place = 'add one under "debug"'
            yield _problem(api.document, ("methods", api.name), api.id, place)
    for document in project.documents.workflows:
        if document.data.get("schedule") and not document.model.cases:
            place = "add one under document.metadata.iogate.debug"
            yield _problem(document, ("schedule",), f"the schedule of {name_of(document)[0]}", place)


def _problem(document: Document, pointer: Pointer, what: str, place: str) -> Problem:
    return problem_at(
        document,
        pointer,
        "IOG528",
        f"{what} has no debug case, so no test notices if a change breaks it",
        key=True,
        hint=f'{place}; "iogate test" runs it',
        severity="advice",
    )
