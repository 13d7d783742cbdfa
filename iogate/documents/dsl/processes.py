"""Models of `run`: a container, a script, a shell command, another workflow."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator

from iogate.documents.base_model import Maybe, as_tag, by_type, rule_error
from iogate.documents.dsl.base_model import DslModel, exactly_one_of
from iogate.documents.dsl.data_flow import ExternalResource, text_or_mapping
from iogate.documents.dsl.field_types import Duration, Expression
from iogate.documents.field_types import Flag, FreeMap, Text, TextList


class LifetimeParts(DslModel):
    cleanup: Literal["always", "never", "eventually"]
    after: Maybe[Duration] = None


def _after_eventually(value: Any) -> Any:
    if isinstance(value, dict) and "cleanup" in value:
        eventually = value["cleanup"] == "eventually"
        if eventually and "after" not in value:
            raise rule_error(
                'cleanup "eventually" needs "after"', code=2, hint="say when: after: {minutes: 30}"
            )
        if not eventually and "after" in value:
            raise rule_error('"after" goes with cleanup "eventually" only', code=6, key="after")
    return value


class Container(DslModel):
    image: Text
    name: Maybe[Text] = None
    command: Maybe[Text] = None
    ports: Maybe[FreeMap] = None
    volumes: Maybe[FreeMap] = None
    environment: Maybe[FreeMap] = None
    stdin: Maybe[Text] = None
    arguments: Maybe[TextList] = None
    lifetime: Maybe[Annotated[LifetimeParts, BeforeValidator(_after_eventually)]] = None
    pull_policy: Maybe[Literal["ifNotPresent", "always", "never"]] = None


class ScriptParts(DslModel):
    near: ClassVar = {"lang": "language", "script": "code", "args": "arguments", "env": "environment"}

    language: Text
    stdin: Maybe[Text] = None
    arguments: Maybe[TextList] = None
    environment: Maybe[FreeMap] = None
    code: Maybe[Text] = None
    source: Maybe[ExternalResource] = None


Script = Annotated[ScriptParts, BeforeValidator(exactly_one_of("code", "source", of="a script"))]


def _not_empty(command: str) -> str:
    if not command.strip():
        raise rule_error(
            "an empty command does nothing", hint='write what /bin/sh is to run, such as "./ship.sh"'
        )
    return command


class Shell(DslModel):
    near: ClassVar = {"cmd": "command", "args": "arguments", "env": "environment"}

    command: Annotated[Text, AfterValidator(_not_empty)]
    stdin: Maybe[Text] = None
    arguments: Maybe[TextList] = None
    environment: Maybe[FreeMap] = None


_Input = Annotated[
    Annotated[FreeMap, as_tag("map")] | Annotated[Expression, as_tag("text")],
    Discriminator(by_type(dict="map", str="text")),
    text_or_mapping("a mapping, or a runtime expression ${ … }"),
]
"""The standard's text lets it be anything, its schema an object: data as a whole needs an expression."""


class Subflow(DslModel):
    namespace: Text
    name: Text
    version: Text
    input: Maybe[_Input] = None


class RunParts(DslModel):
    elsewhere: ClassVar = dict.fromkeys(
        ("command", "code", "language", "image", "stdin", "arguments", "environment"),
        'it belongs under "shell", "script" or "container"',
    )

    await_: Maybe[Flag] = None
    return_: Maybe[Literal["stdout", "stderr", "code", "all", "none"]] = None
    container: Maybe[Container] = None
    script: Maybe[Script] = None
    shell: Maybe[Shell] = None
    workflow: Maybe[Subflow] = None


Process = Annotated[
    RunParts, BeforeValidator(exactly_one_of("container", "script", "shell", "workflow", of="run"))
]
