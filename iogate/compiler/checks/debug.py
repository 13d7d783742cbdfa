"""Debug cases can be replayed: their verb is the API's, their file is there, their mocks meet a task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from iogate.compiler import outline
from iogate.compiler.faults import Placed, did_you_mean, fault
from iogate.compiler.outline import Pointer
from iogate.documents.api import DebugCase, Method
from iogate.documents.problems import Problem, listed, nearest, quoted

MOST_NAMED = 8
REACHING_OUT = frozenset({"call", "run"})
"""Kinds of tasks that call, run or start something."""


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
    kinds = None if definition is None else dict(_references(definition, child, frozenset()))
    for index, case in enumerate(method.debug or ()):
        at = (*pointer, "debug", index)
        yield from _request(document, at, case, method)
        for keys, path in case.files:
            if not exists(path):
                yield fault(
                    document,
                    (*at, *keys),
                    "IOG306",
                    f"{path} does not exist",
                    hint=f"{keys[-1]} is relative to the project",
                )
        if kinds is not None:
            yield from _mocks(document, at, case, kinds)


def _request(document: Placed, at: Pointer, case: DebugCase, method: Method) -> Iterator[Problem]:
    verbs = method.verbs or ["POST"]
    if case.verb is not None and case.verb not in verbs:
        yield fault(
            document,
            (*at, "verb"),
            "IOG317",
            f"this API does not take {case.verb}: its verbs are {listed(verbs)}",
            hint=did_you_mean(verbs[0]),
        )
    elif case.sends_body and (case.verb == "GET" or verbs == ["GET"]):
        yield fault(
            document,
            (*at, next(key for key in ("body", "body_file", "multipart") if key in case.model_fields_set)),
            "IOG317",
            "a GET has no body: its input is its query",
            key=True,
            hint='write "query"' + (', or "verb: POST"' if "POST" in verbs else ""),
        )


def _mocks(document: Placed, at: Pointer, case: DebugCase, kinds: Mapping[str, str]) -> Iterator[Problem]:
    for reference in case.mocks or ():
        if reference not in kinds:
            yield fault(
                document,
                (*at, "mocks", reference),
                "IOG318",
                f"no task at {quoted(reference)} in this API's workflow; it has {_some(kinds)}",
                key=True,
                hint=did_you_mean(nearest(reference, kinds)),
            )


def _some(kinds: Mapping[str, str]) -> str:
    """References that may have been meant: tasks that reach out first, since these are what one mocks."""
    ordered = sorted(kinds, key=lambda reference: kinds[reference] not in REACHING_OUT)
    more = len(ordered) - MOST_NAMED
    return f"{', '.join(ordered[:MOST_NAMED])} and {more} more" if more > 0 else listed(ordered)


def _references(
    definition: Mapping[str, Any],
    child: Callable[[str], Mapping[str, Any] | None],
    around: frozenset[str],
) -> Iterator[tuple[str, str]]:
    """The tasks of a workflow by reference and kind, below those that run another one the tasks of that.

    Of workflows that run themselves, directly or not, the first round counts.
    """
    for task in outline.tasks(definition):
        yield task.reference_text(), task.kind
        named = outline.child_of(task)
        inner = None if named is None or named in around else child(named)
        if named is not None and inner is not None:
            for reference, kind in _references(inner, child, around | {named}):
                yield task.reference_text() + reference, kind
