"""Problems in the formats of CI systems: GitHub annotations, SARIF, JUnit.

Used by `iogate lint` and `iogate validate`. No report contains a line of a file, since it may hold a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iogate.cli.render import Output

if TYPE_CHECKING:
    from iogate.documents.problems import Problem

FORMATS = (Output.GITHUB, Output.SARIF, Output.JUNIT)


@dataclass(frozen=True, kw_only=True)
class ProblemReport:
    """Problems of one command."""

    command: str
    files: Sequence[str]
    """Every file that was checked, also those without a problem."""
    problems: Sequence[Problem]

    def formats(self) -> Mapping[Output, Callable[[], str]]:
        """Return the makers of the CI formats of a problem report, for `Screen.data`."""
        return {Output.GITHUB: self._github, Output.SARIF: self._sarif, Output.JUNIT: self._junit}

    def _github(self) -> str:
        from iogate.cli.reports import github

        return github.render(self.problems)

    def _sarif(self) -> str:
        from iogate.cli.reports import sarif

        return sarif.render(self.problems)

    def _junit(self) -> str:
        """Return one JUnit suite: a case for each problem, and one for each file without a problem."""
        from iogate.cli.reports import junit

        with_problem = {problem.path for problem in self.problems}
        cases = [
            junit.TestCase(
                name=f"{problem.code} at {problem.path}:{problem.line}:{problem.column}",
                file=problem.path,
                line=problem.line,
                failures=_texts(problem) if problem.severity != "advice" else (),
                advice=one_line(problem) if problem.severity == "advice" else "",
                kind=problem.severity,
            )
            for problem in self.problems
        ]
        cases += [junit.TestCase(name=path, file=path) for path in self.files if path not in with_problem]
        return junit.render(f"iogate {self.command}", [junit.TestSuite(name=self.command, cases=cases)])


def _texts(problem: Problem) -> list[str]:
    return [one_line(problem), *([problem.hint] if problem.hint else [])]


def one_line(problem: Problem) -> str:
    """Return the problem for a report as `path:line:column: severity code: message`."""
    return (
        f"{problem.path}:{problem.line}:{problem.column}: "
        f"{problem.severity} {problem.code}: {problem.message}"
    )


def settings_problems(message: str, code: str) -> list[Problem]:
    """Return the errors of settings as problems; a line of the message may begin with `FILE:LINE: `."""
    import re

    from iogate.documents.problems import Problem
    from iogate.settings import FILE_NAME

    found: list[Problem] = []
    for line in message.splitlines():
        placed = re.match(r"(iogate(?:\.[\w.-]+)?\.yaml):(\d+)(?::(\d+))?: (.*)", line)
        if placed is None and line.startswith(" ") and found:
            continue  # source line and caret of a syntax error
        found.append(
            Problem(
                code=code,
                message=placed[4] if placed else line,
                path=placed[1] if placed else FILE_NAME,
                line=int(placed[2]) if placed else 1,
                column=int(placed[3] or 1) if placed else 1,
            )
        )
    return found
