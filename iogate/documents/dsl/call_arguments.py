"""Models of the `with` of each kind of call: HTTP, OpenAPI, gRPC, A2A, MCP, and messages of AsyncAPI."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, WithJsonSchema

from iogate.documents.base_model import FORMAT, Maybe, as_tag, by_type, field_error, rule_error
from iogate.documents.dsl.auth import ReferableAuthentication
from iogate.documents.dsl.base_model import DslModel, OpenDslModel, exactly_one_of
from iogate.documents.dsl.data_flow import Endpoint, ExternalResource, TextOrTree, text_or_mapping
from iogate.documents.dsl.field_types import Duration, Expression, Host
from iogate.documents.field_types import Flag, FreeMap, Text, TextList, TextMap, Whole

_Content = Literal["raw", "content", "response"]

_MapOrExpression = Annotated[
    Annotated[TextMap, as_tag("map")] | Annotated[Expression, as_tag("text")],
    Discriminator(by_type(dict="map", str="text")),
    text_or_mapping("a mapping of texts, or a runtime expression ${ … }"),
]


class HttpArguments(DslModel):
    near: ClassVar = {
        "url": "endpoint",
        "uri": "endpoint",
        "verb": "method",
        "params": "query",
        "data": "body",
    }
    elsewhere: ClassVar = {"authentication": 'it belongs under "endpoint"'}

    method: Text
    endpoint: Endpoint
    headers: Maybe[_MapOrExpression] = None
    body: Any = None
    query: Maybe[_MapOrExpression] = None
    output: Maybe[_Content] = None
    redirect: Maybe[Flag] = None


class OpenApiArguments(DslModel):
    document: ExternalResource
    operation_id: Text
    parameters: Maybe[FreeMap] = None
    authentication: Maybe[ReferableAuthentication] = None
    output: Maybe[_Content] = None
    redirect: Maybe[Flag] = None


def _port(value: int) -> int:
    if not 0 <= value <= 65535:
        raise field_error(FORMAT, expected="a port from 0 to 65535", got=str(value))
    return value


class GrpcService(DslModel):
    name: Text
    host: Host
    port: Maybe[
        Annotated[
            Whole, AfterValidator(_port), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 65535})
        ]
    ] = None
    authentication: Maybe[ReferableAuthentication] = None


class GrpcArguments(DslModel):
    proto: ExternalResource
    service: GrpcService
    method: Text
    arguments: Maybe[FreeMap] = None


def _some_parameter(value: Any) -> Any:
    if value == {}:
        raise rule_error("parameters is empty", code=6, hint="remove the key, or name a parameter")
    return value


class A2aArguments(DslModel):
    agent_card: Maybe[ExternalResource] = None
    server: Maybe[Endpoint] = None
    method: Literal[
        "message/send",
        "message/stream",
        "tasks/get",
        "tasks/list",
        "tasks/cancel",
        "tasks/resubscribe",
        "tasks/pushNotificationConfig/set",
        "tasks/pushNotificationConfig/get",
        "tasks/pushNotificationConfig/list",
        "tasks/pushNotificationConfig/delete",
        "agent/getAuthenticatedExtendedCard",
    ]
    parameters: Maybe[Annotated[TextOrTree, BeforeValidator(_some_parameter)]] = None


class McpHttp(OpenDslModel):
    endpoint: Endpoint
    headers: Maybe[TextMap] = None


class McpStdio(OpenDslModel):
    command: Text
    arguments: Maybe[TextList] = None
    environment: Maybe[TextMap] = None


class McpTransport(OpenDslModel):
    http: Maybe[McpHttp] = None
    stdio: Maybe[McpStdio] = None
    options: Maybe[TextMap] = None


class McpClient(OpenDslModel):
    name: Text
    version: Text


class McpArguments(OpenDslModel):
    protocol_version: Maybe[Text] = None
    method: Literal[
        "tools/list",
        "tools/call",
        "prompts/list",
        "prompts/get",
        "resources/list",
        "resources/read",
        "resources/templates/list",
    ]
    parameters: Maybe[TextOrTree] = None
    timeout: Maybe[Duration] = None
    transport: Annotated[McpTransport, BeforeValidator(exactly_one_of("http", "stdio", of="a transport"))]
    client: Maybe[McpClient] = None


class AsyncApiServer(DslModel):
    name: Text
    variables: Maybe[FreeMap] = None


class AsyncApiMessage(DslModel):
    payload: Maybe[FreeMap] = None
    headers: Maybe[FreeMap] = None


class ConsumptionParts(DslModel):
    for_: Maybe[Duration] = None
    amount: Maybe[Whole] = None
    while_: Maybe[Expression] = None
    until: Maybe[Expression] = None


Consumption = Annotated[
    ConsumptionParts, BeforeValidator(exactly_one_of("amount", "while", "until", of="consume"))
]
