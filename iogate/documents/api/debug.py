"""Debug cases: a stored request, what stands in for the outside, and what must come of it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    Tag,
    model_validator,
)
from pydantic_core import CoreSchema

from iogate.documents.shape import FORMAT, Maybe, Shape, fault, rule
from iogate.documents.values import FreeMap, IsList, IsMapping, Text, TextMap, Whole, matching


def _status(value: int) -> int:
    if not 100 <= value <= 599:
        raise fault(FORMAT, expected="an HTTP status from 100 to 599", got=str(value))
    return value


class Expect(Shape):
    http: Maybe[Annotated[Whole, AfterValidator(_status)]] = None
    """Status of the answer."""
    status: Maybe[
        Literal["pending", "running", "waiting", "suspended", "cancelled", "faulted", "completed"]
    ] = None
    """Status of the run."""
    output: Any = None
    """Objects match by the keys given, everything else exactly."""
    error: Maybe[FreeMap] = None
    """Error of the run, which must have faulted: matches by the keys given; `type` may be its last word."""

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if self.error is not None and (self.has_output or self.status not in (None, "faulted")):
            raise rule("a run that ends with an error has faulted and has no output", code=6, key="error")
        return self

    @property
    def has_output(self) -> bool:
        """`output: null` expects null; without the key any output will do."""
        return "output" in self.model_fields_set


class RequestExpectation(Shape):
    """The request of an HTTP call that a mock stands in for."""

    method: Maybe[Text] = None
    url: Maybe[Text] = None
    """The whole address, without the query."""
    path: Maybe[Text] = None
    query: Maybe[FreeMap] = None
    """Fields that are there, each with its value or list of values."""
    headers: Maybe[TextMap] = None
    """Headers that are there."""
    body: Any = None
    """Objects match by the keys given, everything else exactly."""

    @property
    def has_body(self) -> bool:
        return "body" in self.model_fields_set


class Mock(Shape):
    near: ClassVar = {"expect": "expectRequest", "request": "expectRequest"}

    output: Any = None
    error: Maybe[FreeMap] = None
    """The task fails with this error: type, status, title, detail, response."""
    expect_request: Annotated[Maybe[RequestExpectation], Field(alias="expectRequest")] = None
    """The case fails if the call does not send this."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set - {"expect_request"}) != 1:
            raise rule("a mock has either an output or an error", code=6)
        return self


def _several(value: Any) -> Any:
    if not isinstance(value, list):
        return [value]
    if not value:
        raise rule("a list of mocks holds one for each attempt", code=8)
    return value


class _OneOrMore:
    """Tells editors that a mock may stand without a list."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        listed = handler(core)
        return {"anyOf": [listed["items"], {**listed, "minItems": 1}]}


Mocks = Annotated[list[Mock], BeforeValidator(_several), _OneOrMore()]
"""One mock for every attempt, or one for each in their order; always a list here."""

_Reference = Annotated[
    Text, AfterValidator(matching(r"(?s)(?:/.+)+", "the JSON Pointer of a task, such as /do/0/charge"))
]


def _typed(value: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(value.get("type"), str):
        raise rule("an event has a type", code=6, hint="write type: com.example.paid")
    return value


_Event = Annotated[FreeMap, AfterValidator(_typed)]


class PartFile(Shape):
    file: Text
    """Relative to the project; its type is guessed by its suffix."""


def _part_kind(value: Any) -> str:
    return "file" if isinstance(value, dict | PartFile) else "text"


Part = Annotated[
    Annotated[PartFile, Tag("file")] | Annotated[Text, Tag("text")],
    Discriminator(_part_kind),
]


class DebugCase(Shape):
    near: ClassVar = {"method": "verb", "mock": "mocks", "expected": "expect", "input": "body"}

    name: Annotated[Text, Field(min_length=1)]
    verb: Maybe[Literal["GET", "POST"]] = None
    """Absent: POST where there is a body or the method takes no GET, else GET."""
    query: Maybe[FreeMap] = None
    headers: Maybe[TextMap] = None
    body: Any = None
    body_file: Maybe[Text] = None
    """Relative to the project."""
    mocks: Maybe[Annotated[dict[_Reference, Mocks], IsMapping]] = None
    """By task reference; used by `iogate test`."""
    events: Maybe[Annotated[list[_Event], IsList]] = None
    """CloudEvents that arrive as the run waits for them; used by `iogate test`."""
    expect: Maybe[Expect] = None

    multipart: Maybe[Annotated[dict[str, Part], IsMapping]] = None
    """Fields of a `multipart/form-data` body: texts, or files relative to the project."""

    @property
    def has_body(self) -> bool:
        return "body" in self.model_fields_set

    @property
    def sends_body(self) -> bool:
        """True if the request has a body, however the case describes it."""
        return self.has_body or self.body_file is not None or self.multipart is not None

    @property
    def files(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Keys and path of each file of the project that the case names."""
        found: list[tuple[tuple[str, ...], str]] = []
        if self.body_file is not None:
            found.append((("body_file",), self.body_file))
        for name, part in (self.multipart or {}).items():
            if isinstance(part, PartFile):
                found.append((("multipart", name, "file"), part.file))
        return tuple(found)

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.has_body and self.body_file is not None:
            raise rule("a debug case has body or body_file, not both", code=6, key="body_file")
        if self.multipart is not None and (self.has_body or self.body_file is not None):
            raise rule(
                "a debug case has body, body_file or multipart, and one of them only", code=6, key="multipart"
            )
        return self
