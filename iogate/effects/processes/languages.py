"""What runs a script in each language of the standard, and where it is found. Called by `scripts`.

A script in JavaScript is a module, as ES2024 has them, with `import` and `await` at its top; one that says
`require(…)` or `module.exports` and imports nothing is of the older kind that Node.js knows.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

JAVASCRIPT: Final = frozenset({"js", "javascript"})
RUNTIMES: Final = ("node", "qjs", "quickjs")
"""Of JavaScript, the first that PATH has."""

TO_INSTALL: Final = "install Node.js (node), or QuickJS (qjs), where the worker's PATH finds it"

_MODULE: Final = re.compile(r"^\s*(?:import\b(?!\s*[(.])|export\b)", re.MULTILINE)
_OLDER: Final = re.compile(r"\brequire\s*\(|\bmodule\.exports\b|\bexports\.\w")


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    argv: Sequence[str]
    """What stands before the script's file and its arguments."""
    suffix: str
    """Of the file, by which the interpreter knows what it is."""


def javascript() -> str | None:
    """Path of what runs JavaScript here; None where there is nothing."""
    return next((found for name in RUNTIMES if (found := shutil.which(name)) is not None), None)


def interpreter(language: str, code: str, *, python: str) -> Interpreter | None:
    """What runs this code; None for a language that is none of the standard's, or has no runtime here."""
    match language.lower():  # as the compiler reads it
        case "python":
            return Interpreter(argv=(python,), suffix=".py")
        case name if name in JAVASCRIPT:
            runtime = javascript()
            if runtime is None:
                return None
            older = _OLDER.search(code) is not None and _MODULE.search(code) is None
            return Interpreter(argv=(runtime,), suffix=".cjs" if older else ".mjs")
        case _:
            return None
