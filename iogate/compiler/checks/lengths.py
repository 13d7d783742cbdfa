"""Lengths of time and counts that stand in the file can be: not negative, in order, within the calendar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from iogate.compiler import outline
from iogate.compiler.faults import Placed, Surroundings, warning
from iogate.compiler.outline import Pointer
from iogate.documents.problems import Problem, quoted
from iogate.timing.durations import InvalidDuration, TooLong, read_duration

_CODE: Final = "IOG517"
_EPOCH_MS: Final = 0
"""What ends beyond the calendar from here does so from any moment that a run may have."""

_OF_RETRIES: Final[tuple[Pointer, ...]] = (
    ("delay",),
    ("jitter", "from"),
    ("jitter", "to"),
    ("limit", "duration"),
    ("limit", "attempt", "duration"),
)


def check(document: Placed, surroundings: Surroundings) -> Iterator[Problem]:
    del surroundings
    for pointer, policy in _retries(document.data):
        yield from _retry(document, pointer, policy)
    for pointer, value in _lengths(document.data):
        yield from _length(document, pointer, value)


def _retries(definition: Mapping[str, Any]) -> Iterator[tuple[Pointer, Mapping[str, Any]]]:
    for name, policy in ((definition.get("use") or {}).get("retries") or {}).items():
        yield ("use", "retries", name), policy
    for task in outline.tasks(definition):
        policy = (task.data.get("catch") or {}).get("retry")
        if isinstance(policy, Mapping):
            yield (*task.pointer, "catch", "retry"), policy


def _lengths(definition: Mapping[str, Any]) -> Iterator[tuple[Pointer, Any]]:
    """All durations but those of schedules, which have a check of their own."""
    holders: list[tuple[Pointer, Any]] = [(("timeout",), definition.get("timeout"))]
    for name, timeout in ((definition.get("use") or {}).get("timeouts") or {}).items():
        holders.append((("use", "timeouts", name), timeout))
    for task in outline.tasks(definition):
        if task.kind == "wait":
            yield (*task.pointer, "wait"), task.data["wait"]
        holders.append(((*task.pointer, "timeout"), task.data.get("timeout")))
    for pointer, holder in holders:
        if isinstance(holder, Mapping):
            yield (*pointer, "after"), holder.get("after")
    for pointer, policy in _retries(definition):
        for path in _OF_RETRIES:
            yield (*pointer, *path), _inside(policy, path)


def _inside(value: Any, path: Pointer) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _retry(document: Placed, pointer: Pointer, policy: Mapping[str, Any]) -> Iterator[Problem]:
    count = _inside(policy, ("limit", "attempt", "count"))
    if isinstance(count, int) and count < 0:
        at = (*pointer, "limit", "attempt", "count")
        message = f'"count" is {count}, so nothing is tried again'
        yield warning(document, at, _CODE, message, hint="it counts the attempts after the first")
    shortest, longest = (_milliseconds(_inside(policy, ("jitter", each))) for each in ("from", "to"))
    if shortest is not None and longest is not None and shortest > longest:
        yield warning(
            document,
            (*pointer, "jitter", "from"),
            _CODE,
            '"from" of this jitter is longer than its "to"',
            hint="the shorter one is from",
        )


def _milliseconds(value: Any) -> int | None:
    """The length that stands there; None where it does not, or is none."""
    try:
        return read_duration(value).after_ms(_EPOCH_MS)
    except InvalidDuration:
        return None


def _length(document: Placed, pointer: Pointer, value: Any) -> Iterator[Problem]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            if isinstance(part, int | float) and part < 0:
                message = f"{quoted(name)} of a duration is {part}, and no time is negative"
                yield warning(document, (*pointer, name), _CODE, message)
    try:
        read_duration(value).after_ms(_EPOCH_MS)
    except TooLong as error:
        yield warning(
            document, pointer, _CODE, f"a run that comes here faults: {error}", hint="a calendar ends in 9999"
        )
    except InvalidDuration:
        return  # an expression: its value will tell
