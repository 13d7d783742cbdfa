"""Rule IOG527: an API takes GET, and its workflow changes something elsewhere.

Browsers, proxies, link previews and crawlers repeat a GET and follow links without asking.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from iogate.compiler.diagnostics import warning_at
from iogate.compiler.lint.project import Api, Project
from iogate.compiler.tasks import Container, Emit, Http, OpenApi, Process, Task
from iogate.documents.problems import Problem
from iogate.expressions.templates import plain_text
from iogate.messages import quoted

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def check(project: Project) -> Iterator[Problem]:
    """Report each API with GET and a workflow that has an effect, by itself or in a child workflow."""
    for api in project.apis:
        if api.workflow is None or "GET" not in (api.method.verbs or ()):
            continue
        effect = next(_effects(project, api.workflow), None)
        if effect is not None:
            yield _problem(api, effect)


def _problem(api: Api, effect: str) -> Problem:
    own = api.document.data["methods"][api.name]
    at = ("methods", api.name, "verbs") if "verbs" in own else ("verbs",)
    return warning_at(
        api.document,
        at,
        "IOG527",
        f"{api.id} takes GET, which browsers and crawlers repeat at will, and {effect}",
        hint="write verbs: [POST]",
    )


def _effects(project: Project, workflow: str) -> Iterator[str]:
    for definition in project.reachable(workflow):
        for task in definition.index.tasks:
            effect = _effect(task)
            if effect:
                where = "" if definition.program.name == workflow else f" of {definition.program.name}"
                yield f"task {quoted(task.name)}{where} {effect}"


def _effect(task: Task) -> str:
    """Return the side effect of a task as a clause; empty if it probably has none."""
    match task.body:
        case Http(method=method):
            verb = (plain_text(method) or "").upper()
            return "" if verb in _SAFE else f"sends {verb}" if verb else "sends a computed HTTP method"
        case OpenApi(operation=operation) if operation is not None:
            verb = operation.method.upper()
            return "" if verb in _SAFE else f"sends {verb}"
        case Process(kind="shell"):
            return "runs a shell command"
        case Container():
            return "runs a container"
        case Emit():
            return "emits an event"
        case _:
            # A script or a function may as well only compute.
            return ""
