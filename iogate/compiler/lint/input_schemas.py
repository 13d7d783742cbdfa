"""Schemas of the input of workflows and APIs, for the rules that compare names with them.

Called by `input_fields` and `call_rules`. Invariant: an invalid schema counts as none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from iogate.compiler.checked_definition import Definition
from iogate.compiler.checks.schemas import first_error
from iogate.compiler.lint.project import Api
from iogate.json_values import JsonObject

Schema: TypeAlias = JsonObject | bool

REQUEST: Final[JsonObject] = {"properties": {name: {} for name in ("method", "headers", "query", "body")}}
"""Input of an API with `from: request`."""
_RAW: Final = "raw"
"""Its further member with `raw: true`."""


def workflow_schema(definition: Definition) -> Schema | None:
    """Return the inline JSON Schema of the input of a workflow; None if it has no valid one."""
    source = (definition.document.data.get("input") or {}).get("schema") or {}
    schema: Schema | None = source.get("document")
    is_json = str(source.get("format", "json")).partition(":")[0] == "json"
    return schema if is_json and schema is not None and first_error(schema) is None else None


def describes_input(api: Api) -> bool:
    """Tell whether the API determines its input, so that the schema of its workflow does not apply."""
    given = api.method.input
    return takes_request(api) or (given is not None and given.schema_ is not None)


def takes_request(api: Api) -> bool:
    """Tell whether the input of an API, as its schema describes it, is the whole request."""
    return api.method.input is not None and api.method.input.from_ == "request"


def takes_raw(api: Api) -> bool:
    """Tell whether the input of an API, as its schema describes it, has the whole body as a file."""
    return takes_request(api) and api.method.input is not None and bool(api.method.input.raw)


def api_schema(api: Api) -> Schema | None:
    """Return the JSON Schema that an API gives for its input, if there is one that can be read."""
    given = api.method.input
    if given is None:
        return None
    if given.schema_ is not None:
        if first_error(given.schema_) is not None:
            return None
        return of_request(given.schema_, raw=takes_raw(api)) if takes_request(api) else given.schema_
    return of_request(True, raw=takes_raw(api)) if takes_request(api) else None


def of_request(schema: Schema, *, raw: bool) -> Schema:
    """Return the input schema of a whole request, with members that it does not name but each request has.

    Headers that it does not name are possible, unless it says otherwise. With `raw` it has the whole body.
    """
    if schema is False:
        return schema
    given = {} if schema is True else schema
    always = {**REQUEST["properties"], _RAW: {}} if raw else REQUEST["properties"]
    members = {**always, **(given.get("properties") or {})}
    headers = members["headers"]
    if isinstance(headers, Mapping):
        members["headers"] = {"additionalProperties": True, **headers}
    return {**given, "properties": members}
