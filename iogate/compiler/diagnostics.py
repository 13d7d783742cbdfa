"""Problems that the compiler finds, each at a place of its document, and the context in which checks run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from iogate.documents.fixes import Fix
from iogate.documents.problems import Problem, Severity
from iogate.documents.yaml.source import Source, Span
from iogate.functions import Registry
from iogate.json_pointer import Pointer
from iogate.json_values import JsonObject
from iogate.settings import Settings

Purpose = Literal["validate", "apply", "run"]
"""Command that uses the result. Each refuses what this release does not execute. `validate` and `apply` also
refuse what the settings forbid, `run` allows it; `validate` uses no network."""


class Document(Protocol):
    """A document, as far as problems need it."""

    @property
    def path(self) -> str: ...

    @property
    def data(self) -> JsonObject: ...

    @property
    def source(self) -> Source: ...

    def at(self, pointer: Pointer, *, key: bool = False) -> Span: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckContext:
    """Context of a check: the project around a document."""

    settings: Settings
    purpose: Purpose
    functions: Registry | None = None
    """None: not loaded, so calls of functions are not checked."""
    unsupported: Severity = "error"
    """Severity of what is valid, but not executed by this release or not allowed by the settings."""


def problem_at(
    document: Document,
    pointer: Pointer,
    code: str,
    message: str,
    *,
    key: bool = False,
    hint: str = "",
    severity: Severity = "error",
    fix: Fix | None = None,
) -> Problem:
    """Return a diagnostic: a problem at the value of `pointer`, or at its key."""
    span = document.at(pointer, key=key)
    return Problem.at(
        span, path=document.path, code=code, message=message, hint=hint, severity=severity, fix=fix
    )


def warning_at(
    document: Document,
    pointer: Pointer,
    code: str,
    message: str,
    *,
    key: bool = False,
    hint: str = "",
    fix: Fix | None = None,
) -> Problem:
    return problem_at(document, pointer, code, message, key=key, hint=hint, severity="warning", fix=fix)


def mask_value(document: Document, pointer: Pointer) -> None:
    """Mask the value at `pointer`, a secret, in every line that a diagnostic shows."""
    span = document.at(pointer)
    mask = (span.line, span.column - 1, span.column - 1 + span.length)
    if mask not in document.source.masks:
        document.source.masks.append(mask)


def did_you_mean(choice: str | None) -> str:
    """Return the hint beside the caret of a diagnostic; empty if no name is near."""
    return f'did you mean "{choice}"?' if choice else ""
