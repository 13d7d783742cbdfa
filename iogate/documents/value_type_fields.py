"""Value types as types of fields: a pydantic validator that reports their errors like those of the models.

Used by fields whose type is shared with settings, which do without pydantic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, assert_never

from pydantic import ValidationError
from pydantic_core import InitErrorDetails

from iogate.documents.base_model import (
    FORMAT,
    MISSING,
    NULL,
    RULE,
    TYPE,
    UNKNOWN,
    field_error,
    suggest_keys,
)
from iogate.value_types.collection_types import ValueType
from iogate.value_types.faults import Fault, InvalidValue, ValuePath

T = TypeVar("T")


def validator(type_: ValueType[T]) -> Callable[[Any], T]:
    """Return a pydantic validator for a value type, which raises ValidationError for an invalid value."""

    def _validate(value: Any) -> T:
        try:
            return type_.read(value)
        except InvalidValue as invalid:
            errors = list(_errors(invalid.faults))
            raise ValidationError.from_exception_data("value", errors) from None

    return _validate


def _errors(faults: Sequence[Fault]) -> Iterator[InitErrorDetails]:
    meant = _meant_keys(faults)
    for fault in faults:
        # A misspelt key is one error, not an unknown key and a missing one.
        if fault.kind != "missing" or fault.path not in meant.values():
            yield _error(fault, meant.get(fault.path, ("",))[-1])


def _meant_keys(faults: Sequence[Fault]) -> dict[ValuePath, ValuePath]:
    """Return the paths of unknown keys in a field of a value type, and those of the keys probably meant."""
    found: dict[ValuePath, ValuePath] = {}
    for fault in faults:
        if fault.kind == "unknown":
            *above, word = fault.path
            for key in suggest_keys([str(word)], fault.free, fault.near).values():
                found[fault.path] = (*above, key)
    return found


def _error(fault: Fault, meant: str | int) -> InitErrorDetails:
    where = (*fault.path, "[key]") if fault.on_key else fault.path
    match fault.kind:
        case "choice":
            words = ", ".join(f"'{word}'" for word in fault.choices)
            return {"type": "literal_error", "loc": where, "input": fault.given, "ctx": {"expected": words}}
        case "empty":
            bounds = {"field_type": "List", "min_length": 1, "actual_length": 0}
            return {"type": "too_short", "loc": where, "input": None, "ctx": bounds}
        case "unknown":
            error = field_error(UNKNOWN, allowed=list(fault.choices), meant=meant or None, tip=None)
        case "missing":
            error = field_error(MISSING)
        case "null":
            error = field_error(NULL, expected=fault.expected)
        case "type":
            error = field_error(TYPE, expected=fault.expected, got=fault.got, hint=fault.hint)
        case "format":
            error = field_error(FORMAT, expected=fault.expected, got=fault.got)
        case "rule":
            error = field_error(RULE, message=fault.message, hint=fault.hint, code=fault.code, key=None)
        case _:
            assert_never(fault.kind)
    return {"type": error, "loc": where, "input": None}
