"""Model of a workflow document: its names, reusable parts, tasks and schedule."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from iogate.documents.base_model import Maybe, rule_error, type_error
from iogate.documents.dsl.auth import Authentication
from iogate.documents.dsl.base_model import DslModel, OpenDslModel
from iogate.documents.dsl.data_flow import Catalog, Input, Output, Timeout, TimeoutParts
from iogate.documents.dsl.errors import Error, RetryPolicy
from iogate.documents.dsl.events import EventStrategy
from iogate.documents.dsl.field_types import Duration, Label, SemanticVersion
from iogate.documents.dsl.metadata import Metadata, ScheduleCase
from iogate.documents.dsl.tasks import AnyTask, TaskList
from iogate.documents.field_types import FreeMap, IsList, IsMapping, Text, TextList


def _known(version: str) -> str:
    if version.partition(".")[0] != "1":
        raise rule_error(f"the DSL of version {version} is not executed, only 1.x", code=5, hint="dsl: 1.0.3")
    return version


class Document(DslModel):
    near: ClassVar = {"description": "summary", "id": "name"}

    dsl: Annotated[SemanticVersion, AfterValidator(_known)]
    """Version of the DSL: 1.x."""
    namespace: Label
    name: Label
    version: SemanticVersion
    title: Maybe[Text] = None
    summary: Maybe[Text] = None
    tags: Maybe[FreeMap] = None
    metadata: Maybe[Metadata] = None


class Extension(DslModel):
    extend: Literal[
        "call",
        "composite",
        "emit",
        "for",
        "listen",
        "raise",
        "run",
        "set",
        "switch",
        "try",
        "wait",
        "all",
    ]
    when: Maybe[Text] = None
    before: Maybe[TaskList] = None
    after: Maybe[TaskList] = None


def _one_extension(value: Any) -> Any:
    if not isinstance(value, dict):
        raise type_error("an extension: its name, and its definition below", value)
    names = list(value)
    if len(names) != 1:
        second = names[1] if names else None
        raise rule_error("each item of extensions is one named extension", code=9, key=second)
    return value


_NamedExtension = Annotated[
    dict[str, Extension], Field(min_length=1, max_length=1), BeforeValidator(_one_extension)
]


class Use(DslModel):
    authentications: Maybe[Annotated[dict[str, Authentication], IsMapping]] = None
    errors: Maybe[Annotated[dict[str, Error], IsMapping]] = None
    extensions: Maybe[Annotated[list[_NamedExtension], IsList]] = None
    functions: Maybe[Annotated[dict[str, AnyTask], IsMapping]] = None
    retries: Maybe[Annotated[dict[str, RetryPolicy], IsMapping]] = None
    secrets: Maybe[TextList] = None
    timeouts: Maybe[Annotated[dict[str, TimeoutParts], IsMapping]] = None
    catalogs: Maybe[Annotated[dict[str, Catalog], IsMapping]] = None


class ScheduleParts(DslModel):
    every: Maybe[Duration] = None
    cron: Maybe[Text] = None
    after: Maybe[Duration] = None
    on: Maybe[EventStrategy] = None
    read: Maybe[Literal["data", "envelope", "raw"]] = None


def _read_of_on(value: Any) -> Any:
    if isinstance(value, dict) and "read" in value and "on" not in value:
        raise rule_error(
            '"read" says how the events of "on" are read, and there is no "on"', code=6, key="read"
        )
    return value


class Evaluate(DslModel):
    language: Maybe[Text] = None
    mode: Maybe[Literal["strict", "loose"]] = None


class Workflow(OpenDslModel):
    """The root lets unknown keys pass, as the schema does."""

    document: Document
    input: Maybe[Input] = None
    use: Maybe[Use] = None
    do: TaskList
    timeout: Maybe[Timeout] = None
    output: Maybe[Output] = None
    schedule: Maybe[Annotated[ScheduleParts, BeforeValidator(_read_of_on)]] = None
    evaluate: Maybe[Evaluate] = None

    @property
    def cases(self) -> list[ScheduleCase]:
        """Debug cases of the schedule in a workflow document."""
        metadata = self.document.metadata
        return [] if metadata is None or metadata.iogate is None else metadata.iogate.debug or []
