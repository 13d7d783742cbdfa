"""Models of data flow and references: input, output, export, schema, endpoint, external resource."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator

from iogate.documents.dsl.auth import ReferableAuthentication
from iogate.documents.dsl.form import DslShape, either
from iogate.documents.dsl.text import Duration, UriOrExpression
from iogate.documents.json_schema import not_directly
from iogate.documents.shape import Maybe, as_tag, by_type, wrong_type
from iogate.documents.values import FreeMap, Text


def text_or_mapping(expected: str = "an expression or a mapping") -> BeforeValidator:
    """Union that reports the permitted forms before it is tried."""

    def check(value: Any) -> Any:
        if not isinstance(value, str | dict):
            raise wrong_type(expected, value)
        return value

    return BeforeValidator(check)


TextOrTree = Annotated[
    Annotated[Text, as_tag("text")] | Annotated[FreeMap, as_tag("tree")],
    Discriminator(by_type(str="text", dict="tree")),
    text_or_mapping(),
]
"""An expression, or a tree with expressions in it."""


class EndpointParts(DslShape):
    uri: UriOrExpression
    authentication: Maybe[ReferableAuthentication] = None


Endpoint = Annotated[
    Annotated[UriOrExpression, as_tag("text")] | Annotated[EndpointParts, as_tag("parts")],
    Discriminator(by_type(str="text", dict="parts")),
    text_or_mapping("a URI, or a mapping with uri"),
]


class ExternalResource(DslShape):
    name: Maybe[Text] = None
    endpoint: Endpoint


class SchemaParts(DslShape):
    format: Maybe[Text] = None
    """json, or format:version."""
    document: Any = None
    resource: Maybe[ExternalResource] = None


_either = either("document", "resource", of="a schema", hint='a JSON Schema stands below "document"')

Schema = Annotated[
    SchemaParts,
    BeforeValidator(_either),
    not_directly("schema", "document", "resource", "format", write="schema: {document: …}"),
]


class InputParts(DslShape):
    schema_: Maybe[Schema] = None
    from_: Maybe[TextOrTree] = None


class OutputParts(DslShape):
    schema_: Maybe[Schema] = None
    as_: Maybe[TextOrTree] = None


class ExportParts(DslShape):
    schema_: Maybe[Schema] = None
    as_: Maybe[TextOrTree] = None


Input = Annotated[InputParts, not_directly("input", "schema", "from", write="input: {schema: {document: …}}")]
Output = Annotated[
    OutputParts, not_directly("output", "schema", "as", write="output: {schema: {document: …}}")
]
Export = Annotated[
    ExportParts, not_directly("export", "schema", "as", write="export: {schema: {document: …}}")
]


class TimeoutParts(DslShape):
    after: Duration


Timeout = Annotated[
    Annotated[TimeoutParts, as_tag("parts")] | Annotated[Text, as_tag("name")],
    Discriminator(by_type(dict="parts", str="name")),
    text_or_mapping("the name of a timeout in use.timeouts, or a mapping with after"),
]


class Catalog(DslShape):
    endpoint: Endpoint
