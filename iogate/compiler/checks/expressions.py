"""Check of expressions: they compile and name only variables of their scope."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from iogate import expressions as language
from iogate.compiler.definition import Definition
from iogate.compiler.diagnostics import CheckContext, did_you_mean, problem_at
from iogate.compiler.reader.index import Found
from iogate.documents.problems import Problem
from iogate.expressions.templates import whole
from iogate.json_pointer import Pointer
from iogate.messages import nearest

_LONGEST_EXAMPLE = 60
_NO_FUNCTION = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)/(\d+) is not defined")
_UNKNOWN = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*) is not defined")


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    del context
    if definition.language != "jq" or definition.loose:
        return  # in mode `loose`, what does not compile is text
    document, unclosed = definition.document, dict(_unclosed(definition))
    for found in expressions(definition):
        why = _verdict(found.text, found.variables)
        if why is not None and found.pointer not in unclosed:
            yield problem_at(
                document,
                found.pointer,
                "IOG314",
                f"the expression does not compile: {why}",
                hint=_hint(found, why),
            )
    for pointer, text in unclosed.items():
        yield problem_at(
            document,
            pointer,
            "IOG314",
            'the expression does not compile: "${" is never closed by "}"',
            hint=f"{text!r} would be plain text" if len(text) <= 40 else "",
        )


def prove(definitions: Iterable[Definition]) -> None:
    """Compile the expressions of many definitions at once, so that `check` is quick for the valid ones."""
    language.prove_together(
        (found.text, found.variables)
        for definition in definitions
        if definition.language == "jq" and not definition.loose
        for found in expressions(definition)
    )


@lru_cache(maxsize=8192)
def _verdict(text: str, variables: frozenset[str]) -> str | None:
    # Compiling in jq costs milliseconds; `up --watch` judges the same texts at every change.
    return language.check(text, variables)


def expressions(definition: Definition) -> tuple[Found, ...]:
    """Return every expression of the definition, in typed properties also without `${ }`."""
    index = definition.index
    if index.expressions is None:
        index.expressions = tuple(
            found
            for value in index.values
            for found in _within(value.pointer, value.source, value.variables, typed=value.expression)
        )
    return index.expressions


def literals(definition: Definition) -> Iterator[tuple[Pointer, str, frozenset[str]]]:
    """Yield each string without an expression where one may be, and the variables that it may name."""
    for value in definition.index.values:
        for place, text in _strings(value.pointer, value.source):
            evaluated = value.expression and place == value.pointer
            if not evaluated and whole(text) is None and not language.embedded(text):
                yield place, text, value.variables


def _hint(found: Found, why: str) -> str:
    if found.pointer[-2:] == ("shell", "command"):
        return "a shell variable without braces, $NAME, is left to the shell"
    if found.text.startswith("{") and found.text.rstrip().endswith("}"):
        inner = found.text.strip()[1:-1].strip()
        example = inner if language.compiles(inner) and len(inner) <= _LONGEST_EXAMPLE else ".name"
        return f"an expression is jq in single braces: write ${{ {example} }}"
    if unknown := _UNKNOWN.match(why):
        near = nearest(unknown[1], found.variables)
        return did_you_mean(f"${near}" if near else None)
    if function := _NO_FUNCTION.match(why):
        known = language.functions()
        fitting = [name for name, arity in known if arity == int(function[2])]
        return did_you_mean(
            nearest(function[1], fitting) or nearest(function[1], [name for name, _ in known])
        )
    return ""


def _within(
    pointer: Pointer, value: object, variables: frozenset[str], *, typed: bool = False
) -> Iterator[Found]:
    match value:
        case str():
            inner = whole(value)
            if inner is not None:
                yield Found(pointer=pointer, text=inner, variables=variables)
            elif typed:
                yield Found(pointer=pointer, text=value, variables=variables)
            else:
                for text in language.embedded(value):
                    yield Found(pointer=pointer, text=text, variables=variables, inside=value)
        case Mapping():
            for name, member in value.items():
                yield from _within((*pointer, name), member, variables)
        case list():
            for index, element in enumerate(value):
                yield from _within((*pointer, index), element, variables)


def _unclosed(definition: Definition) -> Iterator[tuple[Pointer, str]]:
    for value in definition.index.values:
        for place, text in _strings(value.pointer, value.source):
            if text.lstrip().startswith("${") and whole(text) is None and not language.embedded(text):
                yield place, text


def _strings(pointer: Pointer, value: object) -> Iterator[tuple[Pointer, str]]:
    match value:
        case str():
            yield pointer, value
        case Mapping():
            for name, member in value.items():
                yield from _strings((*pointer, name), member)
        case list():
            for index, element in enumerate(value):
                yield from _strings((*pointer, index), element)


def holds_expression(value: object) -> bool:
    """Tell whether evaluating `value` may give something other than itself."""
    return any(True for _ in _within((), value, frozenset()))
