"""Data flow of tasks and of the workflow: `input`, `output` and `export`, with their schemas."""

from __future__ import annotations

from typing import Final

from iogate.compiler.expression_scope import BEFORE, EXPORT, INSIDE
from iogate.compiler.reader.endpoints import resource
from iogate.compiler.reader.index import Located, Place, SchemaSource
from iogate.compiler.reader.reader import EMPTY, Reader
from iogate.compiler.tasks import Flow, Schema
from iogate.json_values import JsonObject

PLAIN: Final = Flow()
"""The data flow that changes nothing."""


def flow(
    reader: Reader,
    place: Place,
    source: JsonObject,
    before: frozenset[str] = BEFORE,
    after: frozenset[str] = INSIDE,
) -> Flow:
    """Read the data flow of a task, an iterator or the workflow; `PLAIN` if it has none.

    `before` and `after` are the arguments of the expressions in `input` and `output`.
    """
    input_, output, export = (source.get(part) or EMPTY for part in ("input", "output", "export"))
    if not input_ and not output and not export:
        return PLAIN
    return Flow(
        input_schema=_schema(reader, place.at("input", "schema"), input_.get("schema")),
        input_from=reader.optional_expression(place.at("input", "from"), input_.get("from"), before),
        output_as=reader.optional_expression(place.at("output", "as"), output.get("as"), after),
        output_schema=_schema(reader, place.at("output", "schema"), output.get("schema")),
        export_as=reader.optional_expression(place.at("export", "as"), export.get("as"), EXPORT),
        export_schema=_schema(reader, place.at("export", "schema"), export.get("schema")),
    )


def _schema(reader: Reader, place: Place, source: JsonObject | None) -> Schema | None:
    if not source:
        return None
    inline = "document" in source
    reader.index.schemas.append(
        Located(
            place.pointer,
            SchemaSource(
                format=str(source.get("format", "json")), inline=inline, document=source.get("document")
            ),
        )
    )
    if inline:
        return Schema(source["document"])
    uri = resource(reader, "schema", place.at("resource"), source["resource"]).source
    if uri not in reader.schemas:
        known = uri in reader.resources
        reader.schemas[uri] = Schema(reader.resources[uri]) if known else Schema(None, missing=uri)
    return reader.schemas[uri]
