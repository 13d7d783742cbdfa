"""Check of references to `use`: errors, retries, timeouts, authentications, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from iogate.compiler.checked_definition import Definition
from iogate.compiler.checks.expressions import expressions
from iogate.compiler.diagnostics import CheckContext, did_you_mean, problem_at, warning_at
from iogate.compiler.reader.index import Reference, Section
from iogate.documents.problems import Problem
from iogate.messages import listed, nearest, quoted
from iogate.timing.durations import InvalidDuration, format_iso, parse_duration

_SECRET = re.compile(
    r"""\$secrets(?:\s*\.\s*([A-Za-z_][A-Za-z0-9_]*)|\s*\.?\[\s*"([^"\\]+)"\s*\]|\."([^"\\]+)")"""
)

_NOUNS: dict[Section, str] = {
    "errors": "error",
    "retries": "retry policy",
    "timeouts": "timeout",
    "authentications": "authentication policy",
    "secrets": "secret",
}


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    use = definition.document.data.get("use") or {}
    for reference in (*definition.index.references, *_of_expressions(definition)):
        known: Iterable[str] = use.get(reference.section) or ()
        if reference.name not in known:
            yield _unknown(definition, reference, tuple(known))
    for index, name in enumerate(definition.program.secrets):
        if name not in context.settings.secrets:
            yield warning_at(
                definition.document,
                ("use", "secrets", index),
                "IOG321",
                f'the setting "secrets" does not say where secret {quoted(name)} comes from',
                hint=f"write secrets: {{{name}: {{env: NAME}}}} in iogate.yaml",
            )


def _of_expressions(definition: Definition) -> Iterator[Reference]:
    for found in expressions(definition):
        for match in _SECRET.finditer(found.text):
            name = match[1] or match[2] or match[3]
            yield Reference(section="secrets", pointer=found.pointer, name=name)


def _unknown(definition: Definition, reference: Reference, known: tuple[str, ...]) -> Problem:
    section, name = reference.section, reference.name
    there = f"it has {listed(sorted(known))}" if known else "there is none"
    return problem_at(
        definition.document,
        reference.pointer,
        "IOG313",
        f"no {_NOUNS[section]} {quoted(name)} in use.{section}: {there}",
        hint=did_you_mean(nearest(name, known)) or (_as_duration(name) if section == "timeouts" else ""),
    )


def _as_duration(name: str) -> str:
    """Return a hint if a reference to `use.timeouts` is a duration, else an empty text."""
    try:
        return f"write timeout: {{after: {format_iso(parse_duration(name))}}}"
    except InvalidDuration:
        return ""
