"""Rule IOG525: a secret stands in clear in a workflow, a debug case or a comment.

By the name of a member, as redaction knows secrets, and by the shape of well-known credentials. Secrets of
authentication policies and headers are IOG501. Invariant: no message, snippet or report shows the secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from iogate.compiler.checked_definition import Definition
from iogate.compiler.checks.probable_mistakes import literal_secrets
from iogate.compiler.diagnostics import mask_value, warning_at
from iogate.compiler.lint.project import Project
from iogate.documents.problems import Problem
from iogate.documents.yaml.source import Source, Span
from iogate.json_pointer import Pointer
from iogate.messages import quoted
from iogate.security.credential_shapes import SHAPE, label_of
from iogate.security.redaction_patterns import is_secret

CODE: Final = "IOG525"

_PLACEHOLDER: Final = re.compile(
    r"(?i)(?:x+|\*+|\.+|<.*>|\[.*\]|\{.*\}|\$.*|none|null|true|false|/.*|https?://.*|redacted|secret|token|password|changeme|example)"
)
_SHORTEST: Final = 6
"""Characters of a secret; a shorter text is a flag or a name."""
_HINT: Final = "name it in use.secrets, and write ${ $secrets.NAME } where the call needs it"


def check(project: Project) -> Iterator[Problem]:
    """Report literal secrets in workflows, and well-known credentials anywhere in a file."""
    reported: set[tuple[str, int]] = set()
    for definition in project.definitions.values():
        for pointer in literal_secrets(definition):
            reported.add((definition.document.path, definition.document.at(pointer).line))
        for pointer, name in _named(definition):
            span = definition.document.at(pointer)
            if (definition.document.path, span.line) in reported:
                continue
            reported.add((definition.document.path, span.line))
            mask_value(definition.document, pointer)
            yield warning_at(
                definition.document,
                pointer,
                CODE,
                f"the value of {quoted(name)} is a secret in clear",
                hint=_HINT,
            )
    for source in project.documents.sources.values():
        yield from _shaped(source, reported)


def _named(definition: Definition) -> Iterator[tuple[Pointer, str]]:
    """Yield the literal texts of members that are named like secrets."""
    for value in definition.index.values:
        yield from _members(value.pointer, value.source)


def _members(pointer: Pointer, value: object) -> Iterator[tuple[Pointer, str]]:
    match value:
        case Mapping() if pointer[-1:] != ("endpoints",):  # paths of an authorization server
            for name, member in value.items():
                at = (*pointer, name)
                if isinstance(member, str) and is_secret(str(name)) and _is_literal_secret(member):
                    yield at, str(name)
                else:
                    yield from _members(at, member)
        case list():
            for index, member in enumerate(value):
                yield from _members((*pointer, index), member)


def _is_literal_secret(text: str) -> bool:
    plain = text.strip()
    return (
        len(plain) >= _SHORTEST
        and "${" not in plain
        and not any(character.isspace() for character in plain)
        and not _PLACEHOLDER.fullmatch(plain)
    )


def _shaped(source: Source, reported: set[tuple[str, int]]) -> Iterator[Problem]:
    """Yield a problem for each secret in a file with the shape of a well-known credential, and mask it."""
    if not SHAPE.search(source.text):
        return
    for number, line in enumerate(source.lines, 1):
        for found in SHAPE.finditer(line):
            what = label_of(found)
            start, end = found.span("secret") if found["secret"] is not None else found.span()
            source.masks.append((number, start, end))
            if (source.path, number) in reported:
                continue
            reported.add((source.path, number))
            yield Problem.at(
                Span(number, start + 1, end - start),
                path=source.path,
                code=CODE,
                message=f"{what} stands in the file in clear",
                hint="revoke it, and refer to a new one: ${ $secrets.NAME }, or {env: NAME} in auth",
                severity="warning",
            )
