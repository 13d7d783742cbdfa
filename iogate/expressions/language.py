"""Expressions of the language, compiled once: plain ones natively, the others by jq.

Called by `templates`, the compiler's checks and the engine. Compiling in jq takes about 2 ms and
binding arguments requires a new compilation, so the text is wrapped once in a program that takes its
arguments as data:

    . as [$__given,$__now,$context] | def now: $__now; {} as $ENV | def env: {}; … $__given | (TEXT

    )

The empty line ends a comment that a backslash at the end of TEXT continues. Invariant: before it is
wrapped, the text has compiled on its own, so `.a) | (.b` cannot pass, and not at the start of a program, so
that `import` and `include` are syntax errors there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import Any

import jq

from iogate.errors import WorkflowError
from iogate.expressions import paths
from iogate.expressions.arguments import Arguments
from iogate.expressions.proof import is_proven, prove
from iogate.messages import shorten

_RESULTS = 1_000_000
"""Maximum number of results, so that `repeat(1)` does not exhaust the memory."""

_REFUSED = ("input", "inputs", "halt", "halt_error", "halt_error(f)", "modulemeta")
_SHUT = (
    "{} as $ENV|def env:{};"
    "def debug:.;def debug(f):.;def stderr:.;"
    "def input_filename:null;def input_line_number:0;def get_search_list:[];"
    "def get_jq_origin:null;def get_prog_origin:null;"
    # The machine's time zone is part of its environment.
    "def localtime:gmtime;def strflocaltime(f):strftime(f);"
) + "".join(f'def {name}:error("{name} is not available in workflows");' for name in _REFUSED)

_NAMED = re.compile(r"\$\s*([A-Za-z_][A-Za-z0-9_]*)")
_PLACE = re.compile(r" at <top-level>, line (\d+), column (\d+):?$")
_PAIR = re.compile(r"^(\w+) \(.*\) and (\w+) \(.*\) (cannot be \w+.*)$", re.DOTALL)
_FROM_JSON = "; a text that holds JSON, such as the output of a process, is parsed by fromjson"
_VALUE = re.compile(r"\b(null|boolean|number|string|array|object) \((.*)\)", re.DOTALL)
_GIVEN = re.compile(r"^.* (is not a valid (?:modifier string|format))$", re.DOTALL)
_QUOTE = re.compile(r'"(.*)"', re.DOTALL)
_UNREAD = re.compile(r'"(?:[^"\\]|\\.)*"|#[^\n]*', re.DOTALL)
"""A text without interpolation, or a comment: no part of it is called."""
_ERROR = re.compile(r"(?<![.$\w{])error\b(?!\s*:)")
"""A call of the function `error`, and no field, variable or key of this name."""


class Expression:
    """One jq expression of a definition."""

    __slots__ = ("_mentions", "_plain", "_programs", "text")

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self._plain = paths.parse(self.text)
        self._mentions = tuple(sorted(set(_NAMED.findall(self.text)))) if self._plain is None else ()
        self._programs: dict[tuple[str, ...], Any] = {}
        """The compiled text, or the error of its compilation, by the names of the available arguments."""

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def evaluate(self, value: Any, arguments: Arguments) -> Any:
        """Return the result of the expression on `value`: null for no result, an array for several.

        Raises WorkflowError of type `expression`; its detail shows the text and never the data.
        """
        plain = self._plain
        if plain.__class__ is paths.Path:
            assert isinstance(plain, paths.Path)
            if plain.variable is not None:
                value = self._argument(plain.variable, arguments)
            try:
                return plain.of(value)
            except paths.UnfitError as unfit:
                raise self._failure(str(unfit)) from None
        if isinstance(plain, paths.Constant):
            return plain.value
        return self._run(value, arguments)

    def _run(self, value: Any, arguments: Arguments) -> Any:
        names = tuple([name for name in self._mentions if name in arguments])
        program = self._programs.get(names)
        if program is None:
            try:
                program = _compile(self.text, names)
            except ValueError as error:
                program = _compile_fault(error, names)
            self._programs[names] = program
        if isinstance(program, str):
            raise self._failure(program)
        data = [value, arguments.now_ms / 1000]
        data.extend([self._argument(name, arguments) for name in names])
        try:
            results = list(islice(iter(program.input_value(data)), _RESULTS + 1))
        except ValueError as error:
            # Redacted before it is cut: a part of a secret would not be found.
            raise self._failure(_without_data(arguments.redact(str(error)), self.text)) from None
        except RecursionError:
            raise self._failure("the data is nested too deeply") from None
        if len(results) == 1:
            return results[0]
        if len(results) > _RESULTS:
            raise self._failure(f"it gives more than {_RESULTS} results")
        return results or None

    def _argument(self, name: str, arguments: Arguments) -> Any:
        if name not in arguments:
            raise self._failure(f"${name} is not defined")
        return arguments[name]

    def _failure(self, why: str) -> WorkflowError:
        return WorkflowError(
            "expression", detail=f"expression ${{ {shorten(self.text, 120)} }} failed: {why}"
        )


@lru_cache(maxsize=4096)
def expression(text: str) -> Expression:
    """Return the compiled expression of a text; the same object each time."""
    return Expression(text)


def check(text: str, variables: Iterable[str]) -> str | None:
    """Return the error of the language jq in an expression with these variables; None if it compiles."""
    known = tuple(sorted(variables))
    text = text.strip()
    plain = paths.parse(text)
    if isinstance(plain, paths.Constant):
        return None
    if isinstance(plain, paths.Path):
        variable = plain.variable
        return None if variable is None or variable in known else _unknown(variable, known)
    names = _names(text, known)
    if is_proven(text, names):
        return None
    try:
        _compile_bare(text, names)
    except ValueError as error:
        return _compile_fault(error, known)
    return None


def prove_together(expressions: Iterable[tuple[str, frozenset[str]]]) -> None:
    """Compile many expressions of the language at once, so that `check` is quick for the valid ones."""
    stripped = {(text.strip(), variables): None for text, variables in expressions}
    prove(
        (text, _names(text, tuple(sorted(variables))))
        for text, variables in stripped
        if paths.parse(text) is None
    )


def _names(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the variables of `known` to compile an expression with: those that its text names."""
    named = set(_NAMED.findall(text))
    return tuple(name for name in known if name in named)


def results(text: str, value: Any) -> list[Any]:
    """Return all results of an expression for a value that is shown to a person, in order.

    Raises ValueError if the expression fails; its message may quote the value.
    """
    try:
        found = list(islice(iter(_compile(text.strip(), ()).input_value([value, 0])), _RESULTS + 1))
    except RecursionError:
        raise ValueError("the data is nested too deeply") from None
    if len(found) > _RESULTS:
        raise ValueError(f"it gives more than {_RESULTS} results")
    return found


def compiles(text: str) -> bool:
    """Tell whether a text is an expression of the language, with any variables."""
    return bool(text.strip()) and check(text, _NAMED.findall(text)) is None


@lru_cache(maxsize=1)
def functions() -> tuple[tuple[str, int], ...]:
    """Return the functions of the expression language, each with the number of arguments, in order."""
    listed: list[str] = jq.compile("builtins").input_value(None).first()
    named = (each.partition("/") for each in listed)
    return tuple(sorted((name, int(arity)) for name, _, arity in named if name not in _REFUSED))


@lru_cache(maxsize=1024)
def _compile(text: str, names: tuple[str, ...]) -> Any:
    _compile_bare(text, names)
    # Longer than each name of the author, so that they are none of these.
    longer = "_" * (1 + max(map(len, names), default=0))
    given, now = f"${longer}given", f"${longer}now"
    bound = ",".join([given, now, *(f"${name}" for name in names)])
    return jq.compile(f". as [{bound}]|def now:{now};{_SHUT}{given}|({text}\n\n)")


def _compile_bare(text: str, names: tuple[str, ...]) -> None:
    if not text:
        raise ValueError("jq: error: it is empty")
    if "__loc__" in text:
        raise ValueError("jq: error: $__loc__ is not available in workflows")
    bound = ",".join(f"${name}" for name in names)
    jq.compile(f". as [{bound}]|\n{text}\n" if names else f".|\n{text}\n")


def _unknown(name: str, known: tuple[str, ...]) -> str:
    return f"${name} is not defined here; known are " + (", ".join(f"${each}" for each in known) or "none")


def _compile_fault(error: ValueError, known: tuple[str, ...]) -> str:
    """Return the first message of the language jq about a text, with line and column in the text."""
    first = str(error).split("\n", 1)[0].removeprefix("jq: error: ")
    place = _PLACE.search(first)
    what = first[: place.start()] if place else first
    if what.startswith("$") and what.endswith(" is not defined"):
        return _unknown(what[1 : -len(" is not defined")], known)
    if place is None:
        return what
    return f"{what} (line {max(int(place[1]) - 1, 1)}, column {place[2]})"


def _without_data(message: str, text: str) -> str:
    """Return the message of the language jq about a failure, without the data that it quotes.

    Parts of the expression's text are kept, and also messages of the function `error`.
    """
    message = message.split(" (while parsing", 1)[0]
    if pair := _PAIR.match(message):
        hint = _FROM_JSON if {pair[1], pair[2]} == {"string", "object"} and "added" in pair[3] else ""
        return f"{pair[1]} and {pair[2]} {pair[3]}{hint}"
    message = _VALUE.sub(lambda value: value[0] if value[2] in text else value[1], message)
    by_author = _calls_error(text)
    if (given := _GIVEN.match(message)) and not by_author:
        return f"the given value {given[1]}"
    if not by_author:
        message = _QUOTE.sub(lambda quote: quote[0] if quote[1] in text else "…", message)
    if message.startswith("Cannot "):
        message = f"c{message[1:]}"
    return shorten(message, 200)


def _calls_error(text: str) -> bool:
    """Tell whether an expression of the language calls `error`: its message may be that of the author."""
    return _ERROR.search(text if "\\(" in text else _UNREAD.sub('""', text)) is not None
