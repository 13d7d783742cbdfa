"""Types of the fields of all models: text, whole numbers, durations, sizes, rates, lists, mappings.

Used by the models of API documents and of the DSL. The error of each type states the expected form; no type
converts silently.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from iogate.documents.base_model import FORMAT, field_error, type_error
from iogate.documents.value_type_fields import validator
from iogate.value_types.scalar_types import RATE_FORMS, RATE_PATTERN, interval, parse_rate, size

_INTERVAL: Final = interval()
_SIZE: Final = size()
POINTER_PATTERN: Final = "(?:/(?:[^~/]|~[01])*)+"


def _whole(value: Any) -> Any:
    """Validate an integer field as JSON Schema does: 1 and 1.0, never true."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        if isinstance(value, float):
            raise field_error(FORMAT, expected="a whole number", got=str(value))
        raise type_error("a whole number", value)
    return value


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise type_error("text", value)
    return value


def _flag(value: Any) -> Any:
    if not isinstance(value, bool):
        raise type_error("true or false", value)
    return value


def _mapping(value: Any) -> Any:
    if not isinstance(value, dict):
        raise type_error("a mapping", value)
    return value


def _list(value: Any) -> Any:
    if not isinstance(value, list):
        raise type_error("a list", value)
    return value


def matching(pattern: str, expected: str) -> Callable[[str], str]:
    """Return a type's check that the whole text of a field matches, without a line break at the end."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise field_error(FORMAT, expected=expected, got=value)
        return value

    return check


IsMapping: Final = BeforeValidator(_mapping)
IsList: Final = BeforeValidator(_list)

Text = Annotated[str, BeforeValidator(_text)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Whole = Annotated[int, BeforeValidator(_whole), WithJsonSchema({"type": "integer"})]
FreeMap = Annotated[dict[str, Any], IsMapping]
TextMap = Annotated[dict[str, Text], IsMapping]
TextList = Annotated[list[Text], IsList]
JsonPointer = Annotated[
    Text,
    AfterValidator(matching(POINTER_PATTERN, "a JSON Pointer such as /id or /customer/id")),
    WithJsonSchema({"type": "string", "pattern": f"^{POINTER_PATTERN}$", "examples": ["/id"]}),
]
"""Place in a JSON value, below its root."""


def _rate(value: Any) -> float:
    if not isinstance(value, str):
        raise type_error(RATE_FORMS, value)
    rate = parse_rate(value)
    if rate is None:
        raise field_error(FORMAT, expected=RATE_FORMS, got=value)
    return rate


def _positive(value: int) -> int:
    if value < 1:
        raise field_error(FORMAT, expected="at least 1", got=str(value))
    return value


Seconds = Annotated[
    float,
    BeforeValidator(validator(_INTERVAL)),
    WithJsonSchema(dict(_INTERVAL.schema())),
]
Size = Annotated[
    int,
    BeforeValidator(validator(_SIZE)),
    WithJsonSchema(dict(_SIZE.schema())),
]
Rate = Annotated[
    float,
    BeforeValidator(_rate),
    WithJsonSchema({"type": "string", "pattern": f"^{RATE_PATTERN}$", "examples": ["50/s"]}),
]
Positive = Annotated[
    int, BeforeValidator(_whole), AfterValidator(_positive), WithJsonSchema({"type": "integer", "minimum": 1})
]
