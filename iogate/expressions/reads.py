"""Paths that a jq expression reads from its input or from a variable.

jq offers no syntax tree, so a tokenizer follows the text and drops every path whose input it does not know:
behind a pipe, in arguments of functions, in definitions. Called by the linter. Invariant: each path found is
one that the expression reads if it is evaluated; some paths may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

EACH: Final = -1
"""Step of a path into an array: `[]`, or an index."""

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<variable>\$[A-Za-z_]\w*)
    |(?P<field>\.(?:[A-Za-z_]\w*|"[^"\\]*"))
    |(?P<word>@?[A-Za-z_]\w*(?:::\w+)*)
    |(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)
    |(?P<operator>\?//=?|//=|\|=|[+*/%-]=|//|==|!=|<=|>=|\.\.|[\[\](){}|,;:?.=<>+*/%-])
    |(?P<quote>")""",
    re.VERBOSE,
)
_INDEX = re.compile(r'\[\s*(?:(?P<number>-?\d+)|"(?P<name>[^"\\]*)"|)\s*\]')
_UNBOUND = re.compile(r"\bas\b([^|(]*)")
_NAME = re.compile(r"\$\s*([A-Za-z_]\w*)")
_KEYWORDS = frozenset(
    {
        "if",
        "then",
        "elif",
        "else",
        "and",
        "or",
        "reduce",
        "foreach",
        "try",
        "as",
        "label",
        "import",
        "include",
    }
)
_ASSIGNMENTS = frozenset({"=", "|=", "+=", "-=", "*=", "/=", "%=", "//="})
_CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A path that an expression reads."""

    variable: str | None
    """Variable in which the path begins; None: the input of the expression."""
    steps: tuple[str | int, ...]
    optional: bool
    """True if the author provides for an absent value: `?` or `//`."""


def reads(text: str) -> tuple[Read, ...]:
    """Return the paths that a valid expression reads."""
    if re.search(r"\bdef\b", text):
        return ()
    bound = {name for part in _UNBOUND.findall(text) for name in _NAME.findall(part)}
    try:
        return tuple(each for each in _Scanner(text).scan() if each.variable not in bound)
    except RecursionError:  # strings within strings within strings
        return ()


@dataclass(slots=True)
class _Group:
    closing: str
    known: bool
    """True if `.` is the input of the whole expression."""
    initial: bool


class _Scanner:
    """One pass over the tokens of an expression."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._groups = [_Group("", True, True)]
        self._is_value = False
        """True if the last token ends a value, so that `.x` or `[` continues it."""
        self._last = ""

    def scan(self) -> Iterator[Read]:
        while self._at < len(self._text):
            token = _TOKEN.match(self._text, self._at)
            if token is None:
                return  # not jq; the check of expressions reports it
            self._at = token.end()
            if token.lastgroup != "space":
                yield from self._take(str(token.lastgroup), token[0])

    def _take(self, kind: str, text: str) -> Iterator[Read]:
        group = self._groups[-1]
        match kind:
            case "quote":
                yield from self._string()
                self._set(text, is_value=True)
            case "variable":
                yield from self._path(text.lstrip("$").strip(), ())
            case "field":
                if self._is_value:
                    self._set(text, is_value=True)
                elif group.known:
                    yield from self._path(None, (_field(text),))
                else:
                    self._postfix(())
            case "word":
                yield from self._word(text, group)
            case "number":
                self._set(text, is_value=True)
            case _:
                yield from self._operator(text, group)

    def _word(self, text: str, group: _Group) -> Iterator[Read]:
        following = self._following()
        in_object = group.closing == "}" and self._last in ("{", ",")
        if in_object and following == ":":
            self._set(text, is_value=False)
        elif in_object and following in (",", "}"):
            if group.known and not text.startswith("@"):
                yield Read(variable=None, steps=(text,), optional=False)
            self._set(text, is_value=True)
        elif text == "catch":
            group.known = False  # `.` is the error
            self._set(text, is_value=False)
        else:
            self._set(text, is_value=text not in _KEYWORDS and not text.startswith("@"))

    def _operator(self, text: str, group: _Group) -> Iterator[Read]:
        match text:
            case "(" | "[" | "{":
                # A bracket behind a value is an index, a parenthesis there holds arguments.
                known = group.known and not (text == "(" and self._is_value)
                self._groups.append(_Group(_CLOSING[text], known, known))
                self._set(text, is_value=False)
            case ")" | "]" | "}":
                if len(self._groups) > 1:
                    self._groups.pop()
                self._set(text, is_value=True)
            case "|" | "|=":
                group.known = False
                self._set(text, is_value=False)
            case ",":
                if group.closing == "}":
                    group.known = group.initial
                self._set(text, is_value=False)
            case "." if not self._is_value:
                if group.known and self._text[self._at : self._at + 1] == "[":
                    yield from self._path(None, ())
                else:
                    self._set(text, is_value=True)
            case "?" | "." | "..":
                self._set(text, is_value=True)
            case _:
                self._set(text, is_value=False)

    def _path(self, variable: str | None, steps: tuple[str | int, ...]) -> Iterator[Read]:
        steps, optional = self._postfix(steps)
        following = self._following()
        if following not in _ASSIGNMENTS:
            yield Read(variable=variable, steps=steps, optional=optional or following in ("//", "?//"))

    def _postfix(self, steps: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], bool]:
        """Consume the steps behind a path that an expression reads; drop the rest after a computed step."""
        optional = False
        self._set("", is_value=True)
        while self._at < len(self._text):
            if index := _INDEX.match(self._text, self._at):
                steps = (*steps, EACH if index["name"] is None else index["name"])
                self._at = index.end()
            elif self._text.startswith(".[", self._at):
                self._at += 1
            elif (token := _TOKEN.match(self._text, self._at)) and token.lastgroup == "field":
                steps = (*steps, _field(token[0]))
                self._at = token.end()
            elif token and token[0] == "?":
                optional = True
                self._at = token.end()
            else:
                break
        return steps, optional

    def _string(self) -> Iterator[Read]:
        """Scan a string for the paths that expressions in it read, from behind its quote."""
        while self._at < len(self._text):
            character = self._text[self._at]
            self._at += 1
            if character == '"':
                return
            if character != "\\":
                continue
            escaped = self._text[self._at : self._at + 1]
            self._at += 1
            if escaped == "(":
                yield from self._interpolated()

    def _interpolated(self) -> Iterator[Read]:
        """Scan an interpolation for the paths that it reads, from behind its parenthesis."""
        depth, known = len(self._groups), self._groups[-1].known
        self._groups.append(_Group(")", known, known))
        self._set("(", is_value=False)
        while self._at < len(self._text) and len(self._groups) > depth:
            token = _TOKEN.match(self._text, self._at)
            if token is None:
                return
            self._at = token.end()
            if token.lastgroup != "space":
                yield from self._take(str(token.lastgroup), token[0])

    def _set(self, last: str, *, is_value: bool) -> None:
        self._last, self._is_value = last, is_value

    def _following(self) -> str:
        at = self._at
        while token := _TOKEN.match(self._text, at):
            if token.lastgroup != "space":
                return token[0]
            at = token.end()
        return ""


def _field(text: str) -> str:
    return text[1:].strip().strip('"')
