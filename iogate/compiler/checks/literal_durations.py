"""Check of literal durations and counts: not negative, in order, within the calendar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from iogate.compiler.checked_definition import Definition
from iogate.compiler.diagnostics import CheckContext, Document, warning_at
from iogate.compiler.tasks import Retry
from iogate.documents.problems import Problem
from iogate.expressions import Template
from iogate.expressions.templates import Literal
from iogate.json_pointer import Pointer
from iogate.messages import quoted
from iogate.timing.durations import InvalidDuration, TooLong, read_duration

_CODE: Final = "IOG517"
_EPOCH_MS: Final = 0
"""What ends beyond the calendar from here does so from any moment that a run may have."""


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    del context
    for policy in definition.index.retries:
        yield from _retry(definition.document, policy.pointer, policy.element)
    for duration in definition.index.durations:
        yield from _length(definition.document, duration.pointer, duration.element)


def _retry(document: Document, pointer: Pointer, policy: Retry) -> Iterator[Problem]:
    if policy.count is not None and policy.count < 0:
        at = (*pointer, "limit", "attempt", "count")
        message = f'"count" is {policy.count}, so nothing is tried again'
        yield warning_at(document, at, _CODE, message, hint="it counts the attempts after the first")
    shortest, longest = _milliseconds(policy.jitter_from), _milliseconds(policy.jitter_to)
    if shortest is not None and longest is not None and shortest > longest:
        yield warning_at(
            document,
            (*pointer, "jitter", "from"),
            _CODE,
            '"from" of this jitter is longer than its "to"',
            hint="the shorter one is from",
        )


def _milliseconds(duration: Template | None) -> int | None:
    """Return the length of a literal duration; None for an expression or none."""
    try:
        return read_duration(duration.value).after_ms(_EPOCH_MS) if isinstance(duration, Literal) else None
    except InvalidDuration:
        return None


def _length(document: Document, pointer: Pointer, value: object) -> Iterator[Problem]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            if isinstance(part, int | float) and part < 0:
                message = f"{quoted(name)} of a duration is {part}, and no time is negative"
                yield warning_at(document, (*pointer, name), _CODE, message)
    try:
        read_duration(value).after_ms(_EPOCH_MS)
    except TooLong as error:
        yield warning_at(
            document, pointer, _CODE, f"a run that comes here faults: {error}", hint="a calendar ends in 9999"
        )
    except InvalidDuration:
        return  # an expression: its value will tell
