"""Check that the runs of an API end: its timeout, or that of its workflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iogate.compiler.checked_definition import Definition
from iogate.compiler.diagnostics import Document, warning_at
from iogate.compiler.tasks import Container, Http, Listen, OpenApi, Process
from iogate.documents.ignores import read_ignores
from iogate.documents.problems import Problem
from iogate.messages import conjoined, quoted

if TYPE_CHECKING:
    from iogate.documents.api import Method
    from iogate.json_pointer import Pointer

_EXTERNAL = (Http, OpenApi, Process, Container, Listen)
_MOST_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Unlimited:
    """An API without a timeout for its runs."""

    document: Document
    pointer: Pointer
    identity: str
    definition: Definition
    """The workflow of the API; of one that was not read, nothing is known."""


def is_limited(method: Method, definition: Definition) -> bool:
    """Tell whether a timeout of the method, or of its workflow, limits a run."""
    return method.timeout is not None or definition.program.timeout is not None


def problems(found: Iterable[Unlimited]) -> Iterator[Problem]:
    """Warn about APIs without a timeout, once for each workflow, at the first of its APIs.

    An API with an ignore comment has a warning of its own, so that the comment hides no other API.
    """
    unlimited = list(found)
    own = [_problem([api]) for api in unlimited]
    ignores = read_ignores({api.document.path: api.document.source for api in unlimited})
    reported = set(ignores.split(own, {})[0])
    groups: dict[str, list[Unlimited]] = {}
    for api, problem in zip(unlimited, own, strict=True):
        if problem in reported:
            groups.setdefault(api.definition.program.name, []).append(api)
        else:
            yield problem
    for apis in groups.values():
        yield _problem(apis)


def _problem(apis: list[Unlimited]) -> Problem:
    first = apis[0]
    waiting = next(
        (task.name for task in first.definition.index.tasks if isinstance(task.body, _EXTERNAL)), None
    )
    because = "" if waiting is None else f", and task {quoted(waiting)} waits for another system"
    names = [api.identity for api in apis[:_MOST_LISTED]]
    if len(apis) > _MOST_LISTED:
        names.append(f"{len(apis) - _MOST_LISTED} more")
    hint = "add one, such as timeout: 5m"
    if len(apis) > 1:
        workflow = first.definition.program.name
        hint += f", to each, to the module, or timeout: {{after: PT5M}} to workflow {workflow}"
    return warning_at(
        first.document,
        first.pointer,
        "IOG502",
        f"runs of {conjoined(names)} have no timeout{because}",
        key=True,
        hint=hint,
    )
