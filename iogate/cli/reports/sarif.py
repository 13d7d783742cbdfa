"""SARIF 2.1.0, the format of static analysis results that code hosts and editors import.

Columns count Unicode code points, as positions of problems do.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from iogate import __version__
from iogate.cli.documents.explanations import load_explanations

if TYPE_CHECKING:
    from iogate.documents.problems import Problem

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"error": "error", "warning": "warning", "advice": "note"}
_ROOT = "%SRCROOT%"


def render(problems: Sequence[Problem]) -> str:
    """Return the SARIF log with one run: the rules that found something, and their results."""
    codes = sorted({problem.code for problem in problems})
    index = {code: number for number, code in enumerate(codes)}
    levels = {problem.code: problem.severity for problem in problems}
    log = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "iogate",
                        "semanticVersion": __version__,
                        "rules": [_rule(code, levels[code]) for code in codes],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {
                    _ROOT: {"description": {"text": "Folder of the project, in which iogate was started."}}
                },
                "results": [_result(problem, index[problem.code]) for problem in problems],
            }
        ],
    }
    return json.dumps(log, ensure_ascii=False, indent=2)


def _rule(code: str, severity: str) -> dict[str, Any]:
    title, text = load_explanations().get(code, (code, ""))
    return {
        "id": code,
        "name": _name(title),
        "shortDescription": {"text": title},
        "help": {"text": text or title, "markdown": text or title},
        "defaultConfiguration": {"level": _LEVELS[severity]},
    }


def _name(title: str) -> str:
    """Return the title of an error code in the form of an identifier, as viewers of SARIF expect."""
    words = "".join(char if char.isalnum() else " " for char in title).split()
    return "".join(word[:1].upper() + word[1:] for word in words)


def _result(problem: Problem, rule: int) -> dict[str, Any]:
    text = f"{problem.message}\n{problem.hint}" if problem.hint else problem.message
    if "](" in text:  # a viewer would show a link (SARIF 2.1.0, section 3.11.6)
        text = text.replace("\\", r"\\").replace("[", r"\[").replace("]", r"\]")
    return {
        "ruleId": problem.code,
        "ruleIndex": rule,
        "level": _LEVELS[problem.severity],
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": _artifact(problem.path),
                    "region": {
                        "startLine": problem.line,
                        "startColumn": problem.column,
                        "endColumn": problem.column + max(problem.length, 1),
                    },
                }
            }
        ],
    }


def _artifact(path: str) -> dict[str, str]:
    pure = PurePath(path)
    if pure.is_absolute():
        return {"uri": Path(path).as_uri()}
    return {"uri": quote(path), "uriBaseId": _ROOT}
