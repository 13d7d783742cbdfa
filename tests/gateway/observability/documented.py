"""Comparison of real responses with the OpenAPI document of their gateway."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jsonschema_rs


def undocumented(
    document: dict[str, Any], path: str, verb: str, status: int, headers: Mapping[str, str], body: bytes
) -> str:
    """Return how a response differs from the document; empty if it does not."""
    operation = document["paths"].get(path, {}).get(verb.lower())
    if operation is None:
        return f"no operation {verb} {path}"
    response = operation["responses"].get(str(status))
    if response is None:
        return f"{verb} {path}: no status {status}"
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    if missing := [
        name for name in response.get("headers", {}) if name.lower() not in headers and status >= 405
    ]:
        return f"{verb} {path} {status}: no header {missing}"
    kind = headers.get("content-type", "").partition(";")[0]
    content = response.get("content", {})
    if kind not in content:
        return f"{verb} {path} {status}: no content {kind}"
    schema = content[kind].get("schema")
    if schema is None:
        return ""
    whole = {**schema, "components": document["components"]}
    value = json.loads(body) if kind.endswith("json") else body.decode()
    errors = [str(error.message) for error in jsonschema_rs.validator_for(whole).iter_errors(value)]
    return f"{verb} {path} {status}: {errors}" if errors else ""
