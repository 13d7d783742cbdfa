"""Index of the workflows of a project by name, and the resolution of references to them.

Called by compile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from iogate.compiler.checked_definition import Definition
from iogate.compiler.diagnostics import Document, did_you_mean, problem_at
from iogate.compiler.tasks import Child, Task
from iogate.documents.problems import Problem
from iogate.json_pointer import Pointer
from iogate.messages import listed, nearest, quoted
from iogate.value_types.semantic_versions import version_precedence

_Document = TypeVar("_Document", bound=Document)


class Workflows(Generic[_Document]):
    """`namespace/name` to its versions to its document; a name that stands twice keeps its first."""

    def __init__(self, documents: Iterable[_Document]) -> None:
        self._versions: dict[str, dict[str, _Document]] = {}
        self.problems: list[Problem] = []
        for document in documents:
            name, version = name_of(document)
            first = self._versions.setdefault(name, {}).setdefault(version, document)
            if first is not document:
                self.problems.append(_twice(document, first))

    def __iter__(self) -> Iterator[tuple[str, _Document]]:
        """Yield each workflow of the index as `namespace/name:version`, with its document."""
        for name, versions in self._versions.items():
            for version, document in versions.items():
                yield f"{name}:{version}", document

    def resolve(self, reference: str) -> str | None:
        """Return the project's workflow for `namespace/name[:version]`, by default the newest, or None."""
        name, _, version = reference.partition(":")
        versions = self._versions.get(name, {})
        if not version:
            if len(versions) == 1:
                return f"{name}:{next(iter(versions))}"
            return f"{name}:{max(versions, key=version_precedence)}" if versions else None
        return reference if version in versions else None

    def document(self, resolved: str) -> _Document:
        name, _, version = resolved.partition(":")
        return self._versions[name][version]

    def unknown(self, user: Document, pointer: Pointer, reference: str) -> Problem:
        """Return the problem of a reference to a workflow that the project does not have."""
        name, _, version = reference.partition(":")
        versions = self._versions.get(name)
        if versions:
            known = sorted(versions, key=version_precedence)
            message = f"workflow {quoted(name)} has no version {quoted(version)}; it has {listed(known)}"
            near: str | None = f"{name}:{known[-1]}"
        elif self._versions:
            message = f"no workflow {quoted(reference)}"
            near = nearest(name, self._versions)
            if near is None:
                same = [full for full in self._versions if full.partition("/")[2] == name.partition("/")[2]]
                near = same[0] if same else None
            if near is None:
                message += f"; there is {listed(sorted(self._versions)[:8])}"
        else:
            message, near = f"no workflow {quoted(reference)}; there is none at all in workflows.d", None
        return problem_at(user, pointer, "IOG303", message, hint=did_you_mean(near))


def name_of(document: Document) -> tuple[str, str]:
    """Return `namespace/name` and version of a workflow's document, for the index of the workflows."""
    head = document.data["document"]
    return f"{head['namespace']}/{head['name']}", str(head["version"])


def children(definition: Definition) -> Iterator[tuple[Task, Child]]:
    """Yield every task of a definition that runs another workflow, with its reference to that workflow."""
    for task in definition.index.tasks:
        if isinstance(task.body, Child):
            yield task, task.body


def _twice(document: Document, first: Document) -> Problem:
    name, version = name_of(document)
    line = first.at(("document", "name"), key=True).line
    return problem_at(
        document,
        ("document", "name"),
        "IOG302",
        f"workflow {name}:{version} is declared twice: first in {first.path}:{line}",
        hint="give one of them another name or version",
    )
