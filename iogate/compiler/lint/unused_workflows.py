"""Rule IOG531: a workflow that no API, schedule or other workflow starts."""

from __future__ import annotations

from collections.abc import Iterator

from iogate.compiler.diagnostics import problem_at
from iogate.compiler.lint.project import Project
from iogate.compiler.workflows import children
from iogate.documents.problems import Problem
from iogate.messages import quoted


def check(project: Project) -> Iterator[Problem]:
    """Report the unused workflows: nothing starts them; without all files, there may be something."""
    if not project.complete:
        return
    used = {api.workflow for api in project.apis}
    used |= {
        project.workflows.resolve(api.method.on_fault)
        for api in project.apis
        if api.method.on_fault is not None
    }
    for definition in project.definitions.values():
        used |= {project.child(child) for _, child in children(definition)}
    for name, definition in project.definitions.items():
        if name not in used and not definition.document.data.get("schedule"):
            yield problem_at(
                definition.document,
                ("document", "name"),
                "IOG531",
                f"nothing starts workflow {quoted(name)}: no API, no schedule and no other workflow",
                hint="remove it, or name it in an API",
                severity="advice",
            )
