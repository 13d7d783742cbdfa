"""JSON Schemas of the documents for editors: completion and checks while a person types.

Called by `iogate schema`. JSON Schema cannot express all rules of the models; `iogate validate` checks them
all.
"""

from __future__ import annotations

import ast
import inspect
import itertools
from functools import cache
from typing import Any, Final, Literal

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from iogate.auth.reader import DEFINITIONS
from iogate.documents.api import ApiModule
from iogate.documents.dsl import Workflow
from iogate.value_types.collection_types import with_definitions

Kind = Literal["api", "workflow"]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_TITLES: Final = {"api": "iogate API document", "workflow": "Open Workflow DSL document"}


def schema(kind: Kind) -> dict[str, Any]:
    """Return the JSON Schema 2020-12 of one kind of document, for editors."""
    if kind == "api":
        generated = ApiModule.model_json_schema(by_alias=True, schema_generator=_Described)
        made = with_definitions(_plain(generated), DEFINITIONS)
    else:
        made = _plain(Workflow.model_json_schema(by_alias=True, schema_generator=_Described))
    return {"$schema": _DIALECT, **made, "title": _TITLES[kind]}


class _Described(GenerateJsonSchema):
    """Generator that takes the descriptions of keys from the docstrings below the fields.

    pydantic can read them too, but when the models are imported, which every command would pay for.
    """

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        model = schema["cls"]
        for each in reversed(model.__mro__):
            for name, text in _docstrings(each).items():
                field = model.model_fields.get(name)
                if field is not None and field.description is None:
                    made["properties"][field.alias or name]["description"] = text
        return made


@cache
def _docstrings(model: type) -> dict[str, str]:
    """Return the docstrings below the fields of a model, which describe its keys to editors."""
    if not model.__module__.startswith("iogate."):
        return {}
    tree = ast.parse(inspect.getsource(inspect.getmodule(model) or model))
    classes = (each for each in tree.body if isinstance(each, ast.ClassDef))
    body = next((each.body for each in classes if each.name == model.__name__), [])
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _plain(schema: Any) -> Any:
    """Return a schema for editors without additions of pydantic: null for optional values, titles."""
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
