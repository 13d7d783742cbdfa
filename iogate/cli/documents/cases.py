"""Debug cases of a project for `iogate debug` and `iogate test`: selection, results and report."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from iogate import messages
from iogate.cli.documents.bundle import CheckResult
from iogate.cli.messages import counted, did_you_mean
from iogate.cli.render import Output, Screen, Table, result_stream
from iogate.errors import ExpectationFailed, NotFound
from iogate.security.redaction_patterns import REDACTED, is_secret, redact_text

if TYPE_CHECKING:
    from iogate.compiler.revision import Api, Revision
    from iogate.documents.api import DebugCase
    from iogate.documents.dsl.metadata import ScheduleCase

MAX_VALUE_LENGTH = 60
"""Characters of a value in the table on a terminal."""


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


@dataclass(frozen=True, kw_only=True)
class Result:
    """Outcome of one case."""

    case: Case
    http: int | None = None
    message: str = ""
    run: Mapping[str, Any] = field(default_factory=dict)
    """Members `uid`, `status`, `output`, `error`, `tasks`; empty without a run."""
    failures: tuple[str, ...] = ()
    took_s: float = 0.0
    skipped: str = ""
    """Why the case was not replayed; empty if it was."""

    @property
    def verdict(self) -> str:
        return "skipped" if self.skipped else "failed" if self.failures else "passed"

    def to_json(self) -> dict[str, Any]:
        expect = self.case.stored.expect
        return {
            "api": self.case.id,
            "name": self.case.stored.name,
            "passed": None if self.skipped else not self.failures,
            "skipped": self.skipped or None,
            "http": self.http,
            "message": self.message or None,
            "uid": self.run.get("uid"),
            "status": self.run.get("status"),
            "output": self.run.get("output"),
            "error": self.run.get("error"),
            "expect": expect.model_dump(exclude_unset=True) if expect is not None else {},
            "failures": list(self.failures),
            "tookS": round(self.took_s, 3),
        }


def api_cases(checked: CheckResult) -> list[ApiCase]:
    """Return the cases of all APIs, in the order of the files."""
    known = _revision(checked).apis
    return [
        ApiCase(api=known[f"{document.model.module}/{method}"], stored=stored)
        for document in checked.documents.apis
        for method, definition in document.model.methods.items()
        for stored in definition.debug or ()
    ]


def schedule_cases(checked: CheckResult) -> list[TickCase]:
    """Return the cases of all schedules, in the order of the files."""
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
    """Return the ids that cases may have: of APIs and, if asked for, of schedules."""
    from iogate.compiler.schedules import PREFIX

    revision = _revision(checked)
    return {*revision.apis, *(PREFIX + name for name in revision.scheduled if schedules)}


def select_cases(
    cases: Sequence[_AnyCase], known: Collection[str], wanted: Sequence[str], names: Sequence[str]
) -> list[_AnyCase]:
    """Return the cases with the wanted ids and names; all cases if none are given.

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


def report_results(screen: Screen, schema: str, results: list[Result]) -> None:
    """Print each result beside its expectation.

    Raises ExpectationFailed if a case failed.
    """
    failed = [each for each in results if each.failures]
    skipped = [each for each in results if each.skipped]
    passed = len(results) - len(failed) - len(skipped)
    table = Table(
        columns=("case", "verdict", "expect", "got", "took"),
        rows=[
            (
                each.case.label,
                each.verdict,
                _expected(each.case),
                _got(each),
                f"{each.took_s:.2f}s",
            )
            for each in results
        ],
    )
    failures = [
        f"\n{each.case.label}\n" + "\n".join(f"  {line}" for line in each.failures) for each in failed
    ]
    screen.data(
        schema,
        {
            "passed": passed,
            "failed": len(failed),
            "skipped": len(skipped),
            "cases": [each.to_json() for each in results],
        },
        [table, *failures],
        {Output.JUNIT: lambda: _junit(f"iogate {schema}", results)},
    )
    if failed:
        raise ExpectationFailed(f"{counted(len(failed), 'case')} of {len(results)} failed")
    without = f", {len(skipped)} skipped" if skipped else ""
    screen.note(f"{counted(passed, 'case')} passed{without}", style="green" if passed else "yellow")


def _junit(title: str, results: Sequence[Result]) -> str:
    """Return a report with one suite for each API and schedule."""
    from iogate.cli.reports import junit

    by_id: dict[str, list[Result]] = {}
    for each in results:
        by_id.setdefault(each.case.id, []).append(each)
    suites = [
        junit.TestSuite(
            name=name,
            cases=[
                junit.TestCase(
                    name=each.case.stored.name,
                    took_s=each.took_s,
                    file=each.case.file,
                    failures=[_redacted(failure) for failure in each.failures],
                    kind="ExpectationFailed",
                    advice=each.skipped,
                )
                for each in group
            ],
        )
        for name, group in by_id.items()
    ]
    return junit.render(title, suites)


def _redacted(failure: str) -> str:
    """Return a difference without the values of members named like secrets: CI systems keep reports."""
    place, colon, _ = failure.partition(": ")
    if colon and any(is_secret(part) for part in re.split(r"[.\[\]]", place)):
        return f"{place}: {REDACTED}"
    return redact_text(failure)


def _expected(case: Case) -> str:
    expect = case.stored.expect
    http = 202
    if isinstance(case, ApiCase) and case.stored.expect is not None:
        http = case.stored.expect.http or http
    status = expect.status if expect is not None else None
    if status is None and http == 202:
        status = "faulted" if expect is not None and expect.error is not None else "completed"
    output = shorten(expect.output) if expect is not None and expect.has_output else ""
    return _joined([str(http) if isinstance(case, ApiCase) else "", status or "", output])


def _got(result: Result) -> str:
    if result.skipped:
        return result.skipped
    http = "" if result.http is None else str(result.http)
    if not result.run:
        return _joined([http, result.message]) or "-"
    run = result.run
    value = run.get("output") if run["status"] == "completed" else (run.get("error") or {}).get("detail")
    return _joined([http, run["status"], shorten(value) if value is not None else ""])


def _joined(parts: Iterable[str]) -> str:
    return " ".join(part for part in parts if part)


def shorten(value: Any) -> str:
    """Return the value as JSON, cut for a terminal; a pipe gets all of it."""
    text = json.dumps(value, ensure_ascii=False)
    return messages.shorten(text, MAX_VALUE_LENGTH) if result_stream().isatty() else text
