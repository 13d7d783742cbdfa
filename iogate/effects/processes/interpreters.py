"""Interpreters of the script languages of the standard. Called by `scripts`.

A script in JavaScript is an ES2024 module, with `import` and `await` at its top level; a script that uses
`require(…)` or `module.exports` and imports nothing is a CommonJS module of Node.js.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

JAVASCRIPT: Final = frozenset({"js", "javascript"})
RUNTIMES: Final = ("node", "qjs", "quickjs")
"""Runtimes of JavaScript; the first that PATH has is used."""

TO_INSTALL: Final = "install Node.js (node), or QuickJS (qjs), where the worker's PATH finds it"

_ES_MODULE: Final = re.compile(r"^\s*(?:import\b(?!\s*[(.])|export\b)", re.MULTILINE)
_COMMONJS: Final = re.compile(r"\brequire\s*\(|\bmodule\.exports\b|\bexports\.\w")


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """Command line and file suffix for scripts of a language."""

    argv: Sequence[str]
    """Arguments before the script's file and its arguments."""
    suffix: str
    """Suffix of the file, by which the interpreter detects the kind of module."""


def find_javascript() -> str | None:
    """Return the path of an interpreter of JavaScript; None if none is installed."""
    return next((found for name in RUNTIMES if (found := shutil.which(name)) is not None), None)


def find_interpreter(language: str, code: str, *, python: str) -> Interpreter | None:
    """Return the interpreter of this code; None for an unknown language or a missing runtime."""
    match language.lower():  # as the compiler reads it
        case "python":
            return Interpreter(argv=(python,), suffix=".py")
        case name if name in JAVASCRIPT:
            runtime = find_javascript()
            if runtime is None:
                return None
            older = _COMMONJS.search(code) is not None and _ES_MODULE.search(code) is None
            return Interpreter(argv=(runtime,), suffix=".cjs" if older else ".mjs")
        case _:
            return None
