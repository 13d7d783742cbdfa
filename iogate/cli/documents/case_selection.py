"""Selection of the debug cases of a project, for `iogate debug` and `iogate test`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from iogate.cli.documents.bundle import CheckResult
from iogate.errors import NotFound
from iogate.messages import did_you_mean

if TYPE_CHECKING:
    from iogate.compiler.revision import Api, Revision
    from iogate.documents.api import DebugCase
    from iogate.documents.dsl.metadata import ScheduleCase


@dataclass(frozen=True, kw_only=True)
class ApiCase:
    """Debug case of an API: a request."""

    api: Api
    stored: DebugCase

    @property
    def id(self) -> str:
        return self.api.id

    @property
    def file(self) -> str:
        return self.api.source

    @property
    def label(self) -> str:
        return f"{self.id}: {self.stored.name}"


@dataclass(frozen=True, kw_only=True)
class TickCase:
    """Debug case of a schedule: a tick, or events."""

    id: str
    """`schedule:namespace/name`."""
    workflow: str
    """`namespace/name`."""
    stored: ScheduleCase
    file: str

    @property
    def label(self) -> str:
        return f"{self.id}: {self.stored.name}"


Case = ApiCase | TickCase
_AnyCase = TypeVar("_AnyCase", bound=ApiCase | TickCase)


def api_cases(checked: CheckResult) -> list[ApiCase]:
    """Return the debug cases of all APIs, in the order of the files."""
    known = _revision(checked).apis
    return [
        ApiCase(api=known[f"{document.model.module}/{method}"], stored=stored)
        for document in checked.documents.apis
        for method, definition in document.model.methods.items()
        for stored in definition.debug or ()
    ]


def schedule_cases(checked: CheckResult) -> list[TickCase]:
    """Return the debug cases of all schedules, in the order of the files."""
    from iogate.compiler.schedules import PREFIX

    scheduled = {name: workflow for workflow, (name, _) in _revision(checked).scheduled.items()}
    found: list[TickCase] = []
    for document in checked.documents.workflows:
        head = document.model.document
        workflow = scheduled.get(f"{head.namespace}/{head.name}:{head.version}")
        if workflow is not None:
            found += [
                TickCase(id=PREFIX + workflow, workflow=workflow, stored=stored, file=document.path)
                for stored in document.model.cases
            ]
    return found


def case_ids(checked: CheckResult, *, schedules: bool) -> set[str]:
    """Return the ids that debug cases may have: of APIs and, if asked for, of schedules."""
    from iogate.compiler.schedules import PREFIX

    revision = _revision(checked)
    return {*revision.apis, *(PREFIX + name for name in revision.scheduled if schedules)}


def select_cases(
    cases: Sequence[_AnyCase], known: Collection[str], wanted: Sequence[str], names: Sequence[str]
) -> list[_AnyCase]:
    """Return the debug cases with the wanted ids and names; all cases if none are given.

    Raises NotFound for an unknown id, an unknown name, and if there is no case.
    """
    from iogate.compiler.schedules import PREFIX

    for each in wanted:
        if each not in known:
            called = each if each.startswith(PREFIX) else f"API {each}"
            raise NotFound(
                f"no {called} in the files{did_you_mean(each, known)}",
                hint=f"available: {', '.join(sorted(known)) or 'none'}",
            )
    cases = [case for case in cases if not wanted or case.id in wanted]
    chosen = [case for case in cases if not names or case.stored.name in names]
    for name in names:
        if all(case.stored.name != name for case in cases):
            there = ", ".join(case.stored.name for case in cases) or "none"
            raise NotFound(f"no debug case named {name!r}", hint=f"available: {there}")
    if not cases:
        place = "`debug` of the method"
        if wanted and all(each.startswith(PREFIX) for each in wanted):
            place = "`document.metadata.iogate.debug` of the workflow"
        raise NotFound(f"{', '.join(wanted) or 'the files'}: no debug cases", hint=f"add one under {place}")
    return chosen


def _revision(checked: CheckResult) -> Revision:
    assert checked.bundle is not None, "compile_or_fail() raises without a bundle"
    return checked.bundle.revision
