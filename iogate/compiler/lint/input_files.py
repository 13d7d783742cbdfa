"""Rule IOG557: contradictions between `files` and the input schema of an API.

Called by `linter`. Invariant: keywords that hold data are not taken for schemas.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from iogate.compiler.diagnostics import warning_at
from iogate.compiler.lint.project import Api, Project
from iogate.documents.problems import Problem
from iogate.json_pointer import Pointer
from iogate.json_values import JsonObject

_DATA: Final = frozenset({"const", "enum", "default", "example", "examples"})
_NAMED: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})


def check(project: Project) -> Iterator[Problem]:
    """Report schemas of files without `files`, files that are texts, and files of calls without a body."""
    for api in project.apis:
        given = api.method.input
        if given is None:
            continue
        at = ("methods", api.name, "input")
        if given.files is not None and "POST" not in (api.method.verbs or ["POST"]):
            yield warning_at(
                api.document,
                (*at, "files"),
                "IOG557",
                f"no call of {api.id} has files: it takes GET only, which has no body",
                key=True,
                hint="add POST to verbs, or remove files",
            )
        elif not given.raw:
            yield from _schema(api, given.schema_, (*at, "schema"), stored=given.files is not None)


def _schema(api: Api, schema: object, at: Pointer, *, stored: bool) -> Iterator[Problem]:
    for place, found in _binary(schema, at):
        types = found.get("type", "object")
        if not stored:
            yield warning_at(
                api.document,
                (*place, "format"),
                "IOG557",
                f"format: binary has no effect without files: {api.id} stores no files of its calls",
                hint="add files: {size: 8MiB} beside the schema and write type: object, or remove it",
            )
        elif "object" not in ([types] if isinstance(types, str) else types):
            yield warning_at(
                api.document,
                (*place, "type"),
                "IOG557",
                "the input has the metadata of a file, which is an object, so that no file has this type",
                hint="write type: object",
            )


def _binary(schema: object, at: Pointer) -> Iterator[tuple[Pointer, JsonObject]]:
    """Yield each input schema with `format: binary`, that of a file, and its place."""
    if isinstance(schema, list):
        for number, each in enumerate(schema):
            yield from _binary(each, (*at, number))
    elif isinstance(schema, dict):
        if schema.get("format") == "binary":
            yield at, schema
        for keyword, value in schema.items():
            if keyword in _NAMED and isinstance(value, dict):
                for name, each in value.items():
                    yield from _binary(each, (*at, keyword, name))
            elif keyword not in _DATA:
                yield from _binary(value, (*at, keyword))
