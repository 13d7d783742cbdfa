"""Models of data flow and references: input, output, export, schema, endpoint, external resource."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator

from iogate.documents.base_model import Maybe, as_tag, by_type, type_error
from iogate.documents.dsl.auth import ReferableAuthentication
from iogate.documents.dsl.base_model import DslModel, exactly_one_of
from iogate.documents.dsl.field_types import Duration, UriOrExpression
from iogate.documents.field_types import FreeMap, Text
from iogate.documents.json_schema import reject_bare_schema


def text_or_mapping(expected: str = "an expression or a mapping") -> BeforeValidator:
    """Return a union for a model of data flow that reports the permitted forms before it is tried."""

    def check(value: Any) -> Any:
        if not isinstance(value, str | dict):
            raise type_error(expected, value)
        return value

    return BeforeValidator(check)


TextOrTree = Annotated[
    Annotated[Text, as_tag("text")] | Annotated[FreeMap, as_tag("tree")],
    Discriminator(by_type(str="text", dict="tree")),
    text_or_mapping(),
]
"""An expression, or a tree with expressions in it."""


class EndpointParts(DslModel):
    uri: UriOrExpression
    authentication: Maybe[ReferableAuthentication] = None


Endpoint = Annotated[
    Annotated[UriOrExpression, as_tag("text")] | Annotated[EndpointParts, as_tag("parts")],
    Discriminator(by_type(str="text", dict="parts")),
    text_or_mapping("a URI, or a mapping with uri"),
]


class ExternalResource(DslModel):
    name: Maybe[Text] = None
    endpoint: Endpoint


class SchemaParts(DslModel):
    format: Maybe[Text] = None
    """json, or format:version."""
    document: Any = None
    resource: Maybe[ExternalResource] = None


_either = exactly_one_of("document", "resource", of="a schema", hint='a JSON Schema stands below "document"')

Schema = Annotated[
    SchemaParts,
    BeforeValidator(_either),
    reject_bare_schema("schema", "document", "resource", "format", write="schema: {document: …}"),
]


class InputParts(DslModel):
    schema_: Maybe[Schema] = None
    from_: Maybe[TextOrTree] = None


class OutputParts(DslModel):
    schema_: Maybe[Schema] = None
    as_: Maybe[TextOrTree] = None


class ExportParts(DslModel):
    schema_: Maybe[Schema] = None
    as_: Maybe[TextOrTree] = None


Input = Annotated[
    InputParts, reject_bare_schema("input", "schema", "from", write="input: {schema: {document: …}}")
]
Output = Annotated[
    OutputParts, reject_bare_schema("output", "schema", "as", write="output: {schema: {document: …}}")
]
Export = Annotated[
    ExportParts, reject_bare_schema("export", "schema", "as", write="export: {schema: {document: …}}")
]


class TimeoutParts(DslModel):
    after: Duration


Timeout = Annotated[
    Annotated[TimeoutParts, as_tag("parts")] | Annotated[Text, as_tag("name")],
    Discriminator(by_type(dict="parts", str="name")),
    text_or_mapping("the name of a timeout in use.timeouts, or a mapping with after"),
]


class Catalog(DslModel):
    endpoint: Endpoint
