"""Messages of YAML syntax errors: they say how to correct the error, and point at its cause.

libyaml reports where it gave up; the mistake is often where the construct began.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

import yaml

from iogate.documents.problems import Problem
from iogate.documents.yaml.source import Span
from iogate.messages import quoted

if TYPE_CHECKING:
    from iogate.documents.yaml.source import Source

_TAB_INDENT = re.compile(r"^[ ]*\t[ \t]*(?=\S)")
# Far more than a legal file has; what follows is not worth the time.
_MOST_TOKENS = 100_000

_BEFORE_KEY = re.compile(r"(?:.*(?::|-)[ ]+|[ ]*)(?=\S)")

_AT_CONTEXT = {
    "while scanning a simple key": "a key needs a colon and a space after it",
    "while scanning a quoted scalar": "this quote is never closed",
    "while parsing a flow sequence": 'this "[" is never closed, or a comma is missing in it',
    "while parsing a flow mapping": 'this "{" is never closed, or a comma is missing in it',
}

_FITS_NOTHING = (
    "this line fits neither the mapping above nor anything inside it",
    "indent keys of one mapping alike",
)

# What libyaml says, and after it what PyYAML's own parser says, where their words differ.
_AT_PROBLEM = {
    "mapping values are not allowed": (
        "a second key on this line, or an indentation that fits nothing above",
        'quote a value that has ": " in it; indent keys of one mapping alike',
    ),
    "did not find expected key": _FITS_NOTHING,
    "expected <block end>": _FITS_NOTHING,
    "did not find expected '-' indicator": (
        'this line is no item of the list above: it does not start with "-"',
        "indent the items of a list alike",
    ),
    "block sequence entries are not allowed in this context": (
        "a list cannot start here",
        "put its first item on a line of its own",
    ),
    "did not find expected <document start>": (
        "the document has ended before this line",
        "indent keys of one mapping alike",
    ),
    "found undefined tag handle": ("a tag that nothing defines", 'quote a value that starts with "!"'),
    "did not find expected alphabetic or numeric character": (
        'a "*" or "&" without a name after it',
        'quote a value that starts with "*" or "&"',
    ),
}


def syntax_problem(error: yaml.MarkedYAMLError, source: Source) -> Problem:
    """Return the problem of a scanner or parser error of PyYAML, in words for the author of the file."""
    problem = (error.problem or "").strip()
    context = (error.context or "").strip()
    mark = error.problem_mark or error.context_mark
    span = Span(mark.line + 1, mark.column + 1) if mark else Span(1, 1)
    tab = _tab(span, source)
    if tab is not None:
        return _problem(source, tab, "IOG130", "a tab indents this line", "indent with spaces")
    if context in _AT_CONTEXT and error.context_mark is not None:
        began = Span(error.context_mark.line + 1, error.context_mark.column + 1)
        if context.startswith("while scanning") or began.line != span.line:
            return _problem(source, began, "IOG120", _AT_CONTEXT[context])
    at_end = span.line >= len(source.lines) and span.column > len(source.lines[-1])
    if at_end and (opened := _unclosed(source)):
        bracket = source.lines[opened.line - 1][opened.column - 1]
        return _problem(source, opened, "IOG120", f"this {quoted(bracket)} is never closed")
    if problem == "found character that cannot start any token":
        text = source.lines[span.line - 1][span.column - 1 :][:1] if span.line <= len(source.lines) else ""
        return _problem(
            source, span, "IOG120", f"a value cannot start with {quoted(text)}", "put the value in quotes"
        )
    if problem.startswith(("did not find expected ','", "expected ',' or")):
        message = "a comma or the closing bracket is missing before this"
        hint = "quote a value that has brackets, braces or commas in it"
        return _problem(source, _start_of_expression(span, source), "IOG120", message, hint)
    for known, (message, hint) in _AT_PROBLEM.items():
        if problem.startswith(known):
            place = _start_of_key(span, source) if known.startswith("mapping values") else span
            return _problem(source, place, "IOG120", message, hint)
    said = ", ".join(part for part in (problem, context) if part) or "not YAML"
    return _problem(source, span, "IOG120", f"the YAML does not hold: {said}")


def _start_of_expression(brace: Span, source: Source) -> Span:
    """Step back from the brace of an unquoted `${ … }`, which is a syntax error in YAML."""
    before = source.lines[brace.line - 1][: brace.column - 1] if brace.line <= len(source.lines) else ""
    return Span(brace.line, brace.column - 1, 2) if before.endswith("$") else brace


def _start_of_key(colon: Span, source: Source) -> Span:
    """Return the place of the key before the colon that a YAML syntax error points at."""
    if colon.line > len(source.lines):
        return colon
    before = source.lines[colon.line - 1][: colon.column - 1]
    lead = _BEFORE_KEY.match(before)
    column = (lead.end() if lead else 0) + 1
    return Span(colon.line, min(column, colon.column), max(1, colon.column - column))


def _unclosed(source: Source) -> Span | None:
    """Return the bracket or brace that a YAML syntax error is about: the innermost one that is not closed."""
    opened: list[Span] = []
    try:
        tokens = yaml.scan(source.text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        for token in islice(tokens, _MOST_TOKENS):
            if isinstance(token, yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken):
                opened.append(Span(token.start_mark.line + 1, token.start_mark.column + 1))
            elif isinstance(token, yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken) and opened:
                opened.pop()
    except yaml.YAMLError:
        pass
    return opened[-1] if opened else None


def _tab(span: Span, source: Source) -> Span | None:
    for number in (span.line, span.line - 1):
        if 0 < number <= len(source.lines):
            found = _TAB_INDENT.match(source.lines[number - 1])
            if found:
                column = found[0].index("\t") + 1
                return Span(number, column, len(found[0]) - column + 1)
    return None


def _problem(source: Source, span: Span, code: str, message: str, hint: str = "") -> Problem:
    return Problem.at(span, path=source.path, code=code, message=message, hint=hint)
