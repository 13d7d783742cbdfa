"""Report of the results of debug cases, for `iogate debug` and `iogate test`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from iogate import messages
from iogate.cli.documents.case_selection import ApiCase, Case
from iogate.cli.render import Output, Screen, Table, result_stream
from iogate.errors import ExpectationFailed
from iogate.messages import counted
from iogate.security.redaction_patterns import REDACTED, is_secret, redact_text

MAX_VALUE_LENGTH = 60
"""Characters of a value in the table on a terminal."""


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


def report_results(screen: Screen, schema: str, results: list[Result]) -> None:
    """Print the result of each debug case beside its expectation.

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
    """Return a JUnit report of debug cases with one suite for each API and schedule."""
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
    """Redact secrets in the failure of a debug case for its JUnit report, which CI systems keep.

    The value of a member that is named like a secret counts as one.
    """
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
    """Return a value of a debug case as JSON, cut for a terminal; a pipe gets all of it."""
    text = json.dumps(value, ensure_ascii=False)
    return messages.shorten(text, MAX_VALUE_LENGTH) if result_stream().isatty() else text
