"""Errors in values, with the data that a message needs. Documents and settings write different messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

FaultKind = Literal["unknown", "missing", "type", "format", "null", "choice", "empty", "rule"]
ValuePath = tuple[str | int, ...]

_YAML_1_1: Final = {"yes": "true", "on": "true", "no": "false", "off": "false"}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One error in a value, with the data that a message needs."""

    kind: FaultKind
    path: ValuePath = ()
    """Keys and indices from the value that was read to the error."""
    on_key: bool = False
    """The last key of the path is wrong, not its value."""
    expected: str = ""
    got: str | None = None
    """Of `type`, the type of the value; of `format`, the value, if a message may repeat it."""
    given: Any = None
    """Of `choice`, the value."""
    choices: tuple[str, ...] = ()
    """Of `choice`, the allowed words; of `unknown`, the allowed keys."""
    free: tuple[str, ...] = ()
    """Of `unknown`, the allowed keys that the mapping does not have yet."""
    near: Mapping[str, str] = field(default_factory=dict)
    """Of `unknown`, common words for a key, and the key."""
    message: str = ""
    """Text of a `rule`."""
    hint: str = ""
    code: int = 5
    """Code of a `rule`, without the digit of the kind of document."""


class InvalidValue(Exception):
    """The errors of a value."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(*faults)
        self.faults = faults


def wrong_form(expected: str, got: str | None = None) -> InvalidValue:
    """Return the error with one fault for a value in the wrong format."""
    return InvalidValue(Fault(kind="format", expected=expected, got=got))


def wrong_type(expected: str, value: object, hint: str = "") -> InvalidValue:
    """Return the error with one fault for a value that does not have the expected YAML type."""
    if value is None:
        return InvalidValue(Fault(kind="null", expected=expected))
    hint = hint or type_hint(expected, value)
    return InvalidValue(Fault(kind="type", expected=expected, got=type_name(value), hint=hint))


def broken_rule(
    message: str, *, code: int, hint: str = "", path: ValuePath = (), on_key: bool = False
) -> InvalidValue:
    """Return the error with one fault for a value that breaks a rule, with a message of its own."""
    fault = Fault(kind="rule", message=message, code=code, hint=hint, path=path, on_key=on_key)
    return InvalidValue(fault)


def type_name(value: object) -> str:
    """Return the type of a value with a fault, as YAML has it, in plain words."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return type(value).__name__


def type_hint(expected: str, value: object) -> str:
    """Return how to correct a fault: how to write a value of the expected YAML type; or ""."""
    if expected == "text" and not isinstance(value, list | dict):
        return "put it in quotes"
    if expected == "true or false" and isinstance(value, str):
        meant = _YAML_1_1.get(value.lower())
        return f"YAML 1.2 reads {value} as text: write {meant}" if meant else ""
    if expected == "a list":
        return 'start each item with "- "' if isinstance(value, dict) else "put it in brackets: [ … ]"
    return ""


@contextmanager
def collecting(faults: list[Fault], *path: str | int) -> Iterator[None]:
    """Add the faults of values that the block reads to `faults`, below `path`."""
    try:
        yield
    except InvalidValue as invalid:
        faults += (replace(fault, path=(*path, *fault.path)) for fault in invalid.faults)
