"""JSON Schemas of the documents for editors: completion and checks while a person types.

Called by `iogate schema`. JSON Schema cannot express all rules of the models; `iogate validate` checks them
all.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from iogate.auth.reader import DEFINITIONS
from iogate.documents.api import ApiModule
from iogate.documents.dsl import Workflow
from iogate.value_types.structures import with_definitions

Kind = Literal["api", "workflow"]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_TITLES: Final = {"api": "iogate API document", "workflow": "Open Workflow DSL document"}


def schema(kind: Kind) -> dict[str, Any]:
    """Return the JSON Schema 2020-12 of one kind of document."""
    if kind == "api":
        made = with_definitions(_plain(ApiModule.model_json_schema(by_alias=True)), DEFINITIONS)
    else:
        made = _plain(Workflow.model_json_schema(by_alias=True))
    return {"$schema": _DIALECT, **made, "title": _TITLES[kind]}


def _plain(schema: Any) -> Any:
    """Return the schema without additions of pydantic: null for optional values, titles, parsed defaults."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "discriminator" or (key == "title" and isinstance(value, str)):
            continue
        if key == "default" and not isinstance(value, str):
            continue
        if key in {"properties", "$defs"}:
            kept[key] = {name: _plain(inner) for name, inner in value.items()}
        elif key == "oneOf":
            # The branches are told apart by code; a call of a function also looks like any other call.
            kept["anyOf"] = _plain(value)
        else:
            kept[key] = _plain(value)
    return _without_null(kept)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    choices = schema.get("anyOf")
    if not isinstance(choices, list):
        return schema
    real = [choice for choice in choices if choice != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(real) == 1:
        return {**real[0], **rest}
    return {**rest, "anyOf": real}
