"""Debug cases can be replayed: their verb is the API's, their file is there, their mocks meet a task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from iogate.compiler import outline
from iogate.compiler.faults import Placed, did_you_mean, fault
from iogate.compiler.outline import Pointer
from iogate.documents.api import DebugCase, Method
from iogate.documents.problems import Problem, listed, nearest, quoted


def check(
    document: Placed,
    pointer: Pointer,
    method: Method,
    definition: Mapping[str, Any] | None,
    exists: Callable[[str], bool],
    child: Callable[[str], Mapping[str, Any] | None],
) -> Iterator[Problem]:
    """Check the cases of the method at `pointer`; without a definition, mocks are not checked.

    `child` gives the definition of a workflow that another one runs.
    """
    references = None if definition is None else tuple(_references(definition, child, frozenset()))
    for index, case in enumerate(method.debug or ()):
        at = (*pointer, "debug", index)
        yield from _request(document, at, case, method)
        if case.body_file is not None and not exists(case.body_file):
            yield fault(
                document,
                (*at, "body_file"),
                "IOG306",
                f"{case.body_file} does not exist",
                hint="body_file is relative to the project",
            )
        if references is not None:
            yield from _mocks(document, at, case, references)


def _request(document: Placed, at: Pointer, case: DebugCase, method: Method) -> Iterator[Problem]:
    verbs = method.verbs or ["POST"]
    has_body = case.has_body or case.body_file is not None
    if case.verb is not None and case.verb not in verbs:
        yield fault(
            document,
            (*at, "verb"),
            "IOG317",
            f"this API does not take {case.verb}: its verbs are {listed(verbs)}",
            hint=did_you_mean(verbs[0]),
        )
    elif has_body and (case.verb == "GET" or verbs == ["GET"]):
        yield fault(
            document,
            (*at, "body" if case.has_body else "body_file"),
            "IOG317",
            "a GET has no body: its input is its query",
            key=True,
            hint='write "query"' + (', or "verb: POST"' if "POST" in verbs else ""),
        )


def _mocks(document: Placed, at: Pointer, case: DebugCase, references: tuple[str, ...]) -> Iterator[Problem]:
    for reference in case.mocks or ():
        if reference not in references:
            yield fault(
                document,
                (*at, "mocks", reference),
                "IOG318",
                f"no task at {quoted(reference)} in this API's workflow; it has {listed(references[:8])}",
                key=True,
                hint=did_you_mean(nearest(reference, references)),
            )


def _references(
    definition: Mapping[str, Any],
    child: Callable[[str], Mapping[str, Any] | None],
    around: frozenset[str],
) -> Iterator[str]:
    """The tasks of a workflow, and below those that run another one the tasks of that.

    Of workflows that run themselves, directly or not, the first round counts.
    """
    for task in outline.tasks(definition):
        yield task.reference_text()
        named = outline.child_of(task)
        inner = None if named is None or named in around else child(named)
        if named is not None and inner is not None:
            for reference in _references(inner, child, around | {named}):
                yield task.reference_text() + reference
