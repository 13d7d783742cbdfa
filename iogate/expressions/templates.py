"""Templates: trees of a definition in which strings may be expressions, evaluated as a whole.

Called by `compiler.program`, which builds them once, and by the engine. Four kinds of nodes:
literals, expressions, strings with embedded expressions, and containers of these. A literal part of
a definition is returned unchanged: callers must not mutate a result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

from iogate.errors import ERROR_TYPES, WorkflowError
from iogate.expressions.arguments import Arguments
from iogate.expressions.language import Expression, compiles, expression
from iogate.json_values import to_text

_MARKS: Final = re.compile(r"""["\\(){}\[\]#]""")
"""What opens or closes something in jq, or may hide such a character."""
_FAILED: Final = f"{ERROR_TYPES}expression"
"""Type of the error of an expression that fails by its data or its text."""


class Template(Protocol):
    """A tree that can be evaluated."""

    def evaluate(self, value: Any, arguments: Arguments, /) -> Any:
        """Return the template's tree with each expression replaced by its result on `value`."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant."""

    value: Any

    def evaluate(self, value: Any, arguments: Arguments) -> Any:
        del value, arguments
        return self.value


@dataclass(frozen=True, slots=True)
class Interpolation:
    """Text with embedded expressions: `Hello ${ .name }`."""

    parts: tuple[str | Expression, ...]

    def evaluate(self, value: Any, arguments: Arguments) -> str:
        return "".join(
            part if isinstance(part, str) else _text(part.evaluate(value, arguments)) for part in self.parts
        )


@dataclass(frozen=True, slots=True)
class Loose:
    """Text of mode `loose`: its result as an expression, or the text itself if the expression fails."""

    text: str
    source: Template

    def evaluate(self, value: Any, arguments: Arguments) -> Any:
        try:
            return self.source.evaluate(value, arguments)
        except WorkflowError as error:
            if error.type != _FAILED:  # such as a missing secret: the text would be sent in its place
                raise
            return self.text


@dataclass(frozen=True, slots=True)
class Members:
    """An object."""

    members: tuple[tuple[str, Template], ...]

    def evaluate(self, value: Any, arguments: Arguments) -> dict[str, Any]:
        return {name: member.evaluate(value, arguments) for name, member in self.members}


@dataclass(frozen=True, slots=True)
class Elements:
    """An array."""

    elements: tuple[Template, ...]

    def evaluate(self, value: Any, arguments: Arguments) -> list[Any]:
        return [element.evaluate(value, arguments) for element in self.elements]


def template(source: Any, text: Callable[[str], Template] | None = None) -> Template:
    """Return the template of a value, in which strings with `${ … }` are expressions.

    `text` replaces this rule for strings, such as `loose`.
    """
    match source:
        case str():
            return (text or _string)(source)
        case Mapping():
            members = tuple((str(name), template(member, text)) for name, member in source.items())
            return (
                Literal(source) if all(isinstance(each[1], Literal) for each in members) else Members(members)
            )
        case list() | tuple():
            elements = tuple(template(element, text) for element in source)
            return (
                Literal(source) if all(isinstance(each, Literal) for each in elements) else Elements(elements)
            )
        case _:
            return Literal(source)


def bare(source: Any) -> Template:
    """Return the template of a property of the type expression, which needs no `${ … }`."""
    if not isinstance(source, str):
        return template(source)
    return expression(whole(source) or source)


def loose(text: str) -> Template:
    """Return the template of a string in mode `loose`: an expression if it compiles, else text."""
    strict = _string(text)
    if not isinstance(strict, Literal):
        return Loose(text, strict)
    return Loose(text, expression(text)) if text.strip() else strict


def member(tree: Template, *names: str) -> Template | None:
    """Return the member of a template at a path of names; None if it is absent."""
    for name in names:
        match tree:
            case Literal(Mapping() as source) if name in source:
                tree = Literal(source[name])
            case Members(members) if name in (found := dict(members)):
                tree = found[name]
            case _:
                return None
    return tree


def names_of(tree: Template) -> tuple[str, ...]:
    """Return the names of the members of a template of an object; an empty tuple for any other tree."""
    match tree:
        case Literal(Mapping() as source):
            return tuple(source)
        case Members(members):
            return tuple(name for name, _ in members)
        case _:
            return ()


def plain_text(tree: Template | None) -> str | None:
    """Return the text of a string without `${ … }`, in mode `loose` too; None for any other tree."""
    match tree:
        case Literal(str() as text):
            return text
        case Loose(text) if "${" not in text:
            return text
        case _:
            return None


def whole(text: str) -> str | None:
    """Return the expression of a templated string that consists of one `${ … }` only; None otherwise."""
    return _whole(text) if "${" in text else None


@lru_cache(maxsize=4096)
def _whole(text: str) -> str | None:
    # The reader of a definition and the checks ask for the same texts, one after the other.
    stripped = text.strip()
    if not stripped.startswith("${"):
        return None
    end = _closing(stripped, 2)
    return stripped[2:end] if end == len(stripped) - 1 else None


def pieces(text: str) -> tuple[str | Expression, ...]:
    """Split a templated string into texts and expressions."""
    inner = whole(text)
    return tuple(_parts(text)) if inner is None else (expression(inner),)


def loose_pieces(text: str) -> tuple[str | Template, ...]:
    """Split a template in mode `loose`, where a text that compiles is an expression."""
    return pieces(text) if "${" in text or not compiles(text) else (loose(text),)


def embedded(text: str) -> tuple[str, ...]:
    """Return the expressions in a templated string."""
    if "${" not in text:
        return ()
    return tuple(part.text for part in _parts(text) if isinstance(part, Expression))


def _string(text: str) -> Template:
    if "${" not in text:
        return Literal(text)
    inner = whole(text)
    if inner is not None:
        return expression(inner)
    parts = tuple(_parts(text))
    return Interpolation(parts) if any(isinstance(part, Expression) for part in parts) else Literal(text)


def _parts(text: str) -> Iterator[str | Expression]:
    at = 0
    while (start := text.find("${", at)) >= 0:
        end = _closing(text, start + 2)
        if end < 0:
            break
        if start > at:
            yield text[at:start]
        yield expression(text[start + 2 : end])
        at = end + 1
    if at < len(text):
        yield text[at:]


def _closing(text: str, at: int) -> int:
    """Return the index of the brace that closes a template's expression at `at`; -1 if there is none.

    Braces in jq's strings, interpolations and comments are skipped.
    """
    open_ones: list[str] = []
    while found := _MARKS.search(text, at):
        at, character = found.start(), found[0]
        if open_ones and open_ones[-1] == '"':
            if character == '"':
                open_ones.pop()
            elif character == "\\":
                at += 1
                if text[at : at + 1] == "(":
                    open_ones.append(")")
        elif character == '"':
            open_ones.append('"')
        elif character in "({[":
            open_ones.append({"(": ")", "{": "}", "[": "]"}[character])
        elif character in ")}]":
            if not open_ones:
                return at if character == "}" else -1
            if open_ones.pop() != character:
                return -1
        elif character == "#":
            newline = text.find("\n", at)
            # A comment without an end of line would include the closing brace.
            at = newline if newline >= 0 else at
        at += 1
    return -1


def _text(result: Any) -> str:
    """Return a result within a templated text: strings unchanged, other values as JSON, like `tostring`."""
    try:
        return to_text(result)
    except RecursionError:
        raise WorkflowError(
            "expression", detail="data that is put into a text is nested too deeply"
        ) from None
