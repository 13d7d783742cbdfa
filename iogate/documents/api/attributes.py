"""`attributes` of a method: names by which runs are found, each with a place in the input.

Read by `module`. Invariant: an attribute is stored, indexed and shown in lists, so none may be named like a
secret or take its value from a member that redaction hides.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, WithJsonSchema

from iogate import json_pointer
from iogate.documents.base_model import rule_error
from iogate.documents.field_types import POINTER_PATTERN, IsMapping, JsonPointer, Text, matching
from iogate.messages import quoted
from iogate.security.redaction_patterns import is_secret

MOST: Final = 8
_NAME: Final = r"[A-Za-z][A-Za-z0-9_-]{0,62}"


def _checked(value: dict[str, str]) -> dict[str, str]:
    if len(value) > MOST:
        raise rule_error(
            f"attributes has {len(value)} names; at most {MOST} are indexed", code=5, key=list(value)[MOST]
        )
    for name, pointer in value.items():
        secret = next((each for each in (name, *json_pointer.parse(pointer)) if is_secret(each)), None)
        if secret is not None:
            raise rule_error(
                f"attribute {quoted(name)} would show a secret: redaction hides {quoted(secret)}",
                code=67,
                hint="index a value that is not confidential, such as the id of what it belongs to",
                key=name,
            )
    return value


AttributeName = Annotated[
    Text,
    AfterValidator(matching(_NAME, "a letter, then at most 62 letters, digits, - or _")),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME}$"}),
]
Attributes = Annotated[
    dict[AttributeName, JsonPointer],
    AfterValidator(_checked),
    IsMapping,
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": MOST,
            "propertyNames": {"pattern": f"^{_NAME}$"},
            "additionalProperties": {"type": "string", "pattern": f"^{POINTER_PATTERN}$"},
            "examples": [{"order": "/order"}],
        }
    ),
]
"""Name of each attribute to the place of its value in the input."""
