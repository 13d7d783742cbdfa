"""Check of expressions: they compile and name only variables of their scope."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from iogate import expressions as language
from iogate.compiler.checked_definition import Definition
from iogate.compiler.diagnostics import CheckContext, did_you_mean, problem_at
from iogate.compiler.reader.index import Found, Strings
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
    document, strings = definition.document, _strings(definition)
    unclosed = dict(strings.unclosed)
    for found in strings.expressions:
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
    # Compiling in jq costs milliseconds; `up --watch` checks the same texts at every change.
    return language.check(text, variables)


def expressions(definition: Definition) -> Sequence[Found]:
    """Return every expression to check in the definition, in typed properties also without `${ }`."""
    return _strings(definition).expressions


def literals(definition: Definition) -> Sequence[tuple[Pointer, str, frozenset[str]]]:
    """Return each string that could be an expression and is none, and the variables that one may name."""
    return _strings(definition).literals


def _strings(definition: Definition) -> Strings:
    """Return the strings that may be expressions in a definition; they are read once for all checks."""
    index = definition.index
    if index.strings is None:
        index.strings = Strings()
        for value in index.values:
            _read(index.strings, value.pointer, value.source, value.variables, typed=value.expression)
    return index.strings


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


def _read(
    strings: Strings, pointer: Pointer, value: object, variables: frozenset[str], *, typed: bool = False
) -> None:
    """Add the strings of a value for the checks; the value is an expression as a whole if it is `typed`."""
    if isinstance(value, str):
        inner = whole(value)
        if inner is not None:
            strings.expressions.append(Found(pointer=pointer, text=inner, variables=variables))
            return
        inside = language.embedded(value)
        if typed:
            strings.expressions.append(Found(pointer=pointer, text=value, variables=variables))
        elif not inside:
            strings.literals.append((pointer, value, variables))
        else:
            strings.expressions += [
                Found(pointer=pointer, text=text, variables=variables, inside=value) for text in inside
            ]
        if not inside and value.lstrip().startswith("${"):
            strings.unclosed.append((pointer, value))
    elif isinstance(value, dict | Mapping):
        for name, member in value.items():
            _read(strings, (*pointer, name), member, variables)
    elif isinstance(value, list):
        for index, element in enumerate(value):
            _read(strings, (*pointer, index), element, variables)


def holds_expression(value: object) -> bool:
    """Tell, for checks, whether a value contains an expression, so that its evaluation may change it."""
    strings = Strings()
    _read(strings, (), value, frozenset())
    return bool(strings.expressions)
