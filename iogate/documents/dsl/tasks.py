"""Models of the twelve kinds of task. They share a module, since many contain tasks of any kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field

from iogate.documents.base_model import Maybe, as_tag, by_type, rule_error, type_error
from iogate.documents.dsl.auth import ReferableAuthentication
from iogate.documents.dsl.base_model import DslModel, OpenDslModel, exactly_one_of
from iogate.documents.dsl.call_arguments import (
    A2aArguments,
    AsyncApiMessage,
    AsyncApiServer,
    Consumption,
    GrpcArguments,
    HttpArguments,
    McpArguments,
    OpenApiArguments,
)
from iogate.documents.dsl.data_flow import (
    Export,
    ExternalResource,
    Input,
    Output,
    TextOrTree,
    Timeout,
    text_or_mapping,
)
from iogate.documents.dsl.errors import CaughtErrors, ErrorOrName, Retry
from iogate.documents.dsl.events import EmittedProperties, EventStrategy
from iogate.documents.dsl.field_types import Duration, Expression
from iogate.documents.dsl.metadata import TaskMetadata
from iogate.documents.dsl.processes import Process
from iogate.documents.dsl.task_detection import check_entry, check_kind, tag_of_task
from iogate.documents.field_types import Flag, FreeMap, IsList, Text

_IN_WITH = 'it belongs under "with"'
_OF_TRY = {
    "catch": 'only a task with "try" has it: put this task below try: and write catch beside that',
    "retry": "it belongs inside catch, of a task with try: {try: […], catch: {retry: {…}}}",
}


class Task(DslModel):
    """Properties that every task may have."""

    near: ClassVar = {"when": "if", "condition": "if", "next": "then", "goto": "then"}
    elsewhere: ClassVar[Mapping[str, str]] = _OF_TRY

    if_: Maybe[Text] = None
    input: Maybe[Input] = None
    output: Maybe[Output] = None
    export: Maybe[Export] = None
    timeout: Maybe[Timeout] = None
    then: Maybe[Text] = None
    metadata: Maybe[TaskMetadata] = None


class HttpCall(Task):
    elsewhere: ClassVar = _OF_TRY | dict.fromkeys(
        ("method", "endpoint", "headers", "body", "query", "redirect", "url", "uri"), _IN_WITH
    )

    call: Literal["http"]
    with_: HttpArguments


class OpenApiCall(Task):
    elsewhere: ClassVar = _OF_TRY | dict.fromkeys(("document", "operationId", "parameters"), _IN_WITH)

    call: Literal["openapi"]
    with_: OpenApiArguments


class GrpcCall(Task):
    elsewhere: ClassVar = _OF_TRY | dict.fromkeys(("proto", "service", "method", "arguments"), _IN_WITH)

    call: Literal["grpc"]
    with_: GrpcArguments


class A2aCall(Task):
    call: Literal["a2a"]
    with_: A2aArguments


class McpCall(Task):
    call: Literal["mcp"]
    with_: McpArguments


class FunctionCall(Task):
    call: Text
    with_: Maybe[FreeMap] = None


class Iterator(DslModel):
    item: Maybe[Text] = None
    at: Maybe[Text] = None
    do: Maybe[TaskList] = None
    output: Maybe[Output] = None
    export: Maybe[Export] = None


class AsyncApiSubscription(DslModel):
    filter: Maybe[Expression] = None
    consume: Consumption
    foreach: Maybe[Iterator] = None


class AsyncApiParts(DslModel):
    document: ExternalResource
    channel: Maybe[Text] = None
    operation: Maybe[Text] = None
    server: Maybe[AsyncApiServer] = None
    protocol: Maybe[
        Literal[
            "amqp",
            "amqp1",
            "anypointmq",
            "googlepubsub",
            "http",
            "ibmmq",
            "jms",
            "kafka",
            "mercure",
            "mqtt",
            "mqtt5",
            "nats",
            "pulsar",
            "redis",
            "sns",
            "solace",
            "sqs",
            "stomp",
            "ws",
        ]
    ] = None
    message: Maybe[AsyncApiMessage] = None
    subscription: Maybe[AsyncApiSubscription] = None
    authentication: Maybe[ReferableAuthentication] = None


AsyncApiArguments = Annotated[
    AsyncApiParts,
    BeforeValidator(exactly_one_of("message", "subscription", of="an AsyncAPI call")),
    BeforeValidator(exactly_one_of("channel", "operation", of="an AsyncAPI call")),
]


class AsyncApiCall(Task):
    call: Literal["asyncapi"]
    with_: AsyncApiArguments


class DoTask(Task):
    do: TaskList


class ForkParts(DslModel):
    branches: TaskList
    compete: Maybe[Flag] = None


class ForkTask(Task):
    fork: ForkParts


class EmittedEvent(OpenDslModel):
    with_: Maybe[EmittedProperties] = None


class EmitParts(DslModel):
    event: EmittedEvent


class EmitTask(Task):
    emit: EmitParts


_Items = Annotated[
    Annotated[Text, as_tag("text")] | Annotated[list[FreeMap], as_tag("items")],
    Discriminator(by_type(str="text", list="items")),
]


def _text_or_list(value: Any) -> Any:
    if not isinstance(value, str | list):
        raise type_error("an expression, or a list of mappings", value)
    return value


class ForParts(DslModel):
    near: ClassVar = {"item": "each", "as": "each", "index": "at", "items": "in", "of": "in"}

    each: Maybe[Text] = None
    in_: Annotated[_Items, BeforeValidator(_text_or_list)]
    at: Maybe[Text] = None


class ForTask(Task):
    elsewhere: ClassVar = _OF_TRY | dict.fromkeys(("each", "in", "at"), 'it belongs under "for"')

    for_: ForParts
    while_: Maybe[Text] = None
    do: TaskList


class ListenParts(DslModel):
    to: EventStrategy
    read: Maybe[Literal["data", "envelope", "raw"]] = None


class ListenTask(Task):
    listen: ListenParts
    foreach: Maybe[Iterator] = None


class RaiseParts(DslModel):
    error: ErrorOrName


class RaiseTask(Task):
    raise_: RaiseParts


class RunTask(Task):
    run: Process


def _some_key(value: Any) -> Any:
    if value == {}:
        raise rule_error("set has nothing to set", code=6)
    return value


class SetTask(Task):
    set: Annotated[TextOrTree, BeforeValidator(_some_key), text_or_mapping()]


class SwitchCase(DslModel):
    near: ClassVar = {"if": "when", "condition": "when", "do": "then", "goto": "then"}

    when: Maybe[Text] = None
    then: Text


def _one_case(value: Any) -> Any:
    if not isinstance(value, dict):
        raise type_error("a case: its name, and when and then below", value)
    names = list(value)
    if len(names) != 1:
        second = names[1] if names else None
        raise rule_error(
            "each item of switch is one named case", code=9, hint="- name: {when: …, then: …}", key=second
        )
    return value


def _some_case(value: list[Any]) -> list[Any]:
    if not value:
        raise rule_error("switch has no case", code=6)
    return value


_Case = Annotated[dict[str, SwitchCase], BeforeValidator(_one_case)]


class SwitchTask(Task):
    switch: Annotated[list[_Case], AfterValidator(_some_case), IsList]


class Catch(DslModel):
    errors: Maybe[CaughtErrors] = None
    as_: Maybe[Text] = None
    when: Maybe[Text] = None
    except_when: Maybe[Text] = None
    retry: Maybe[Retry] = None
    do: Maybe[TaskList] = None
    then: Maybe[Text] = None


class TryTask(Task):
    elsewhere: ClassVar = {
        "retry": "it belongs inside catch: write catch: {retry: {…}}",
        "errors": "it belongs inside catch: write catch: {errors: {…}}",
    }

    try_: TaskList
    catch: Catch


class WaitTask(Task):
    wait: Duration


AnyTask = Annotated[
    Annotated[HttpCall, as_tag("call http")]
    | Annotated[OpenApiCall, as_tag("call openapi")]
    | Annotated[GrpcCall, as_tag("call grpc")]
    | Annotated[AsyncApiCall, as_tag("call asyncapi")]
    | Annotated[A2aCall, as_tag("call a2a")]
    | Annotated[McpCall, as_tag("call mcp")]
    | Annotated[FunctionCall, as_tag("call function")]
    | Annotated[DoTask, as_tag("do")]
    | Annotated[EmitTask, as_tag("emit")]
    | Annotated[ForTask, as_tag("for")]
    | Annotated[ForkTask, as_tag("fork")]
    | Annotated[ListenTask, as_tag("listen")]
    | Annotated[RaiseTask, as_tag("raise")]
    | Annotated[RunTask, as_tag("run")]
    | Annotated[SetTask, as_tag("set")]
    | Annotated[SwitchTask, as_tag("switch")]
    | Annotated[TryTask, as_tag("try")]
    | Annotated[WaitTask, as_tag("wait")],
    Discriminator(tag_of_task),
    BeforeValidator(check_kind),
]

TaskEntry = Annotated[dict[str, AnyTask], Field(min_length=1, max_length=1), BeforeValidator(check_entry)]
TaskList = Annotated[list[TaskEntry], IsList]
