"""A project as the rules see it: its valid documents, the definitions of its workflows, its settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from iogate.compiler.checked_definition import Definition
from iogate.compiler.tasks import Child
from iogate.compiler.workflows import Workflows
from iogate.documents import ApiDocument, Documents, WorkflowDocument
from iogate.documents.api import Method
from iogate.json_pointer import Pointer
from iogate.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Api:
    """One method of an API document."""

    document: ApiDocument
    name: str
    method: Method
    workflow: str | None
    """`namespace/name:version`; None if the files have no such workflow."""

    @property
    def id(self) -> str:
        return f"{self.document.model.module}/{self.name}"


def declared(api: Api, key: str) -> Pointer:
    """Return where the project gives a key of a method: on the method, else on the module."""
    own = api.document.data["methods"][api.name]
    return ("methods", api.name, key) if key in own else (key,)


@dataclass(frozen=True, kw_only=True)
class Project:
    """Valid documents of a project, with their definitions and settings."""

    documents: Documents
    definitions: Mapping[str, Definition]
    """By `namespace/name:version`."""
    settings: Settings | None
    """None: they cannot be read, so rules that depend on them find nothing."""
    partial: bool
    """True if the documents are only a part of a project."""

    @property
    def complete(self) -> bool:
        """False if the linted project may have further APIs and workflows, in other or invalid files."""
        return not self.partial and not self.documents.errors

    @cached_property
    def workflows(self) -> Workflows[WorkflowDocument]:
        return Workflows(self.documents.workflows)

    @cached_property
    def apis(self) -> tuple[Api, ...]:
        return tuple(
            Api(
                document=document,
                name=name,
                method=method,
                workflow=self.workflows.resolve(method.workflow),
            )
            for document in self.documents.apis
            for name, method in document.model.methods.items()
        )

    def child(self, child: Child) -> str | None:
        """Return the workflow of the linted project that a task starts; None if no file defines it."""
        return self.workflows.resolve(child.reference)

    def reachable(self, workflow: str) -> Iterator[Definition]:
        """Yield the definition of a workflow in the linted project, and of all that its tasks start."""
        seen: set[str] = set()
        waiting = [workflow]
        while waiting:
            name = waiting.pop()
            definition = self.definitions.get(name)
            if name in seen or definition is None:
                continue
            seen.add(name)
            yield definition
            children = (task.body for task in definition.index.tasks if isinstance(task.body, Child))
            waiting += (found for each in children if (found := self.child(each)) is not None)
