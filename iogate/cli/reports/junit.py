"""JUnit XML, which GitLab, Jenkins and most other CI systems show as test results.

Used by `iogate test` for debug cases, and by `iogate lint` and `validate` for problems. Invariant: the
output is well-formed XML 1.0 whatever the texts contain.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from iogate.security.control_characters import escape

_INVALID = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 forbids, after `escape`."""


@dataclass(frozen=True, kw_only=True)
class TestCase:
    """One test case; without `failures` it passed."""

    name: str
    took_s: float = 0.0
    file: str = ""
    line: int | None = None
    failures: Sequence[str] = ()
    kind: str = "failure"
    """Type of the failure."""
    advice: str = ""
    """Text of a case that neither passed nor failed; JUnit calls it skipped."""


@dataclass(frozen=True, kw_only=True)
class TestSuite:
    name: str
    cases: Sequence[TestCase]


def render(name: str, suites: Sequence[TestSuite]) -> str:
    """Return the report `name` as a JUnit XML document."""
    total = [case for suite in suites for case in suite.cases]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<testsuites{_attributes(name=name, **_counts(total))}>",
    ]
    for suite in suites:
        lines.append(f"  <testsuite{_attributes(name=suite.name, **_counts(suite.cases))}>")
        for case in suite.cases:
            lines += _case_lines(case, suite.name)
        lines.append("  </testsuite>")
    return "\n".join((*lines, "</testsuites>"))


def _case_lines(case: TestCase, suite: str) -> list[str]:
    place = {"file": case.file} if case.file else {}
    if case.line is not None:
        place["line"] = str(case.line)
    head = _attributes(name=case.name, classname=suite, time=_seconds(case.took_s), **place)
    if case.advice:
        return [
            f"    <testcase{head}>",
            f"      <skipped{_attributes(message=case.advice)}/>",
            "    </testcase>",
        ]
    if not case.failures:
        return [f"    <testcase{head}/>"]
    text = "\n".join(case.failures)
    return [
        f"    <testcase{head}>",
        f"      <failure{_attributes(message=case.failures[0], type=case.kind)}>{_text(text)}</failure>",
        "    </testcase>",
    ]


def _counts(cases: Sequence[TestCase]) -> dict[str, str]:
    return {
        "tests": str(len(cases)),
        "failures": str(sum(bool(case.failures) for case in cases)),
        "errors": "0",
        "skipped": str(sum(bool(case.advice) for case in cases)),
        "time": _seconds(sum(case.took_s for case in cases)),
    }


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _attributes(**values: str) -> str:
    # A parser turns a raw line feed or tab in an attribute into a space.
    return "".join(
        f' {name}="{_text(value).replace(chr(10), "&#10;").replace(chr(9), "&#9;")}"'
        for name, value in values.items()
    )


def _text(value: str) -> str:
    return html.escape(_INVALID.sub("\N{REPLACEMENT CHARACTER}", escape(value)))
