"""Check of references to `use`: errors, retries, timeouts, authentications, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from iogate.compiler import outline
from iogate.compiler.checks.expressions import expressions
from iogate.compiler.faults import Placed, Surroundings, did_you_mean, fault, warning
from iogate.compiler.outline import Pointer
from iogate.compiler.policies import policies
from iogate.documents.problems import Problem, listed, nearest, quoted
from iogate.timing.durations import InvalidDuration, format_iso, parse_duration

_SECRET = re.compile(
    r"""\$secrets(?:\s*\.\s*([A-Za-z_][A-Za-z0-9_]*)|\s*\.?\[\s*"([^"\\]+)"\s*\]|\."([^"\\]+)")"""
)

_NOUNS = {
    "errors": "error",
    "retries": "retry policy",
    "timeouts": "timeout",
    "authentications": "authentication policy",
    "secrets": "secret",
}


def check(document: Placed, surroundings: Surroundings) -> Iterator[Problem]:
    use: Mapping[str, Any] = document.data.get("use") or {}
    for section, pointer, name in _named(document.data):
        known: Iterable[str] = use.get(section) or ()
        if name not in known:
            yield _unknown(document, pointer, section, name, tuple(known))
    declared = tuple(use.get("secrets") or ())
    for index, name in enumerate(declared):
        if name not in surroundings.settings.secrets:
            yield warning(
                document,
                ("use", "secrets", index),
                "IOG321",
                f'the setting "secrets" does not say where secret {quoted(name)} comes from',
                hint=f"write secrets: {{{name}: {{env: NAME}}}} in iogate.yaml",
            )
    for found in expressions(document.data):
        for match in _SECRET.finditer(found.text):
            name = match[1] or match[2] or match[3]
            if name not in declared:
                yield _unknown(document, found.pointer, "secrets", name, declared)


def _named(definition: Mapping[str, Any]) -> Iterator[tuple[str, Pointer, str]]:
    if isinstance(definition.get("timeout"), str):
        yield "timeouts", ("timeout",), definition["timeout"]
    for task in outline.tasks(definition):
        if isinstance(task.data.get("timeout"), str):
            yield "timeouts", (*task.pointer, "timeout"), task.data["timeout"]
        if "raise" in task.data and isinstance(task.data["raise"].get("error"), str):
            yield "errors", (*task.pointer, "raise", "error"), task.data["raise"]["error"]
        retry = (task.data.get("catch") or {}).get("retry")
        if isinstance(retry, str):
            yield "retries", (*task.pointer, "catch", "retry"), retry
    for pointer, policy in policies(definition):
        if isinstance(policy.get("use"), str):
            yield "authentications", (*pointer, "use"), policy["use"]
        for scheme, properties in policy.items():
            if isinstance(properties, Mapping) and isinstance(properties.get("use"), str):
                yield "secrets", (*pointer, scheme, "use"), properties["use"]


def _unknown(document: Placed, pointer: Pointer, section: str, name: str, known: tuple[str, ...]) -> Problem:
    there = f"it has {listed(sorted(known))}" if known else "there is none"
    return fault(
        document,
        pointer,
        "IOG313",
        f"no {_NOUNS[section]} {quoted(name)} in use.{section}: {there}",
        hint=did_you_mean(nearest(name, known)) or (_as_duration(name) if section == "timeouts" else ""),
    )


def _as_duration(name: str) -> str:
    """Return a hint if the name of a timeout is a duration, else an empty text."""
    try:
        return f"write timeout: {{after: {format_iso(parse_duration(name))}}}"
    except InvalidDuration:
        return ""
