"""Checks that mocks of debug cases stand in for tasks of the workflow, with errors that such tasks raise.

Called by `checks.debug`. Invariant: a mock that no run of the case can use is reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from iogate.compiler.checked_definition import Definition
from iogate.compiler.diagnostics import Document, did_you_mean, problem_at, warning_at
from iogate.compiler.tasks import Child, Function, Inline, Task, Unresolved
from iogate.documents.debug_cases import Mock
from iogate.documents.problems import Problem
from iogate.errors import STANDARD_STATUS
from iogate.json_pointer import Pointer, value_at
from iogate.messages import listed, nearest, quoted

MOST_NAMED = 8
REACHING_OUT = frozenset({"call", "run"})
"""Kinds of tasks that call, run or start something: the only ones that ask for a mock."""

_ITERATION: Final = re.compile(r"/(for|foreach)/\d+/do(?=/)")

Definitions = Callable[[str], Definition | None]
"""Gives the definition of a workflow by its name; None if it is not known."""


@dataclass(kw_only=True)
class References:
    """The tasks that mocks may stand in for."""

    tasks: dict[str, Task] = field(default_factory=dict)
    """Each task, by its reference."""
    unknown: list[str] = field(default_factory=list)
    """References of tasks that run a workflow whose own tasks are not known."""

    def task(self, reference: str) -> Task | None:
        """Return, for the check of mocks, the task of a reference, which may have an index for each loop."""
        return self.tasks.get(reference) or self.tasks.get(_ITERATION.sub(r"/\1/do", reference))

    def has(self, reference: str) -> bool:
        if self.task(reference) is not None:
            return True
        forms = {reference, _ITERATION.sub(r"/\1/do", reference)}
        return any(form.startswith(f"{each}/") for each in self.unknown for form in forms)

    @property
    def reaching_out(self) -> list[str]:
        return [reference for reference, task in self.tasks.items() if task.kind in REACHING_OUT]


def references(definition: Definition, child: Definitions) -> References:
    """Return the tasks that mocks may stand in for, also of child workflows, which `child` gives."""
    found = References()
    _collect(found, "", definition, child, frozenset())
    return found


def check(
    document: Document, at: Pointer, mocks: Mapping[str, Sequence[Mock]], known: References, where: str
) -> Iterator[Problem]:
    """Check the mocks of the case at `at`; `where` names the workflow in messages."""
    for reference, answers in mocks.items():
        place = (*at, "mocks", reference)
        task = known.task(reference)
        if not known.has(reference):
            message = f"no task at {quoted(reference)} in {where}; it has {_some(known)}"
            hint = did_you_mean(_meant(reference, known))
            yield problem_at(document, place, "IOG318", message, key=True, hint=hint)
        elif task is not None and task.kind not in REACHING_OUT:
            message = (
                f"the mock of {reference} is never used: only tasks that call or run something ask for one"
            )
            inside = [each for each in known.reaching_out if each.startswith(f"{reference}/")]
            hint = did_you_mean(inside[0]) if len(inside) == 1 else "remove it"
            yield warning_at(document, place, "IOG318", message, key=True, hint=hint)
        elif task is not None:
            listed_ = isinstance(value_at(document.data, place), list)
            for index, answer in enumerate(answers):
                error_at = (*place, *((index,) if listed_ else ()), "error")
                yield from _error(document, error_at, answer, task)


def _error(document: Document, at: Pointer, mock: Mock, task: Task) -> Iterator[Problem]:
    """Check the type of a mock's error; functions and workflows may raise types of their own."""
    word = None if mock.error is None else mock.error.type
    if word is None or word in STANDARD_STATUS or ":" in word or "/" in word:
        return
    meant = nearest(word, STANDARD_STATUS)
    own = isinstance(task.body, Child | Function | Inline | Unresolved)
    if meant or not own:
        expected = f"a URI or one of the standard's types: {listed(sorted(STANDARD_STATUS))}"
        message = f'"type" of the error of a mock must be {expected}, not {quoted(word)}'
        yield problem_at(document, (*at, "type"), "IOG318", message, hint=did_you_mean(meant))


def _meant(reference: str, known: References) -> str | None:
    """Return the task that a mock most likely means: the only task of that name, or a similar text."""
    name = reference.rpartition("/")[2]
    by_name = [each for each in known.tasks if each.rpartition("/")[2] == name]
    return by_name[0] if len(by_name) == 1 else nearest(reference, known.tasks)


def _some(known: References) -> str:
    """Return references that a mock may have meant: first tasks that reach out, since only they use mocks."""
    ordered = sorted(known.tasks, key=lambda reference: known.tasks[reference].kind not in REACHING_OUT)
    more = len(ordered) - MOST_NAMED
    return f"{', '.join(ordered[:MOST_NAMED])} and {more} more" if more > 0 else listed(ordered)


def _collect(
    found: References, prefix: str, definition: Definition, child: Definitions, around: frozenset[str]
) -> None:
    """Collect the tasks that mocks may stand in for, of a workflow and of the workflows that it runs.

    Of workflows that run themselves, directly or not, the first round counts.
    """
    for task in sorted(definition.index.tasks, key=_order):
        reference = prefix + task.pointer
        found.tasks[reference] = task
        if not isinstance(task.body, Child) or task.body.reference in around:
            continue
        inner = child(task.body.reference)
        if inner is None:
            found.unknown.append(reference)
        else:
            _collect(found, reference, inner, child, around | {task.body.reference})


def _order(task: Task) -> list[tuple[int, str]]:
    """Return the sort key of a task for mocks: order of the lists, outer first, `try` before `catch`."""
    return [(step, "") if isinstance(step, int) else (step == "catch", step) for step in task.location]
