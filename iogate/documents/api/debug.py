"""Debug cases: a stored request, what stands in for the outside, and what must come of it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

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

    @property
    def has_output(self) -> bool:
        """`output: null` expects null; without the key any output will do."""
        return "output" in self.model_fields_set


class Mock(Shape):
    output: Any = None
    error: Maybe[FreeMap] = None
    """The task fails with this error: type, status, title, detail."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise rule("a mock has either an output or an error", code=6)
        return self


_Reference = Annotated[
    Text, AfterValidator(matching(r"(?s)(?:/.+)+", "the JSON Pointer of a task, such as /do/0/charge"))
]


def _typed(value: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(value.get("type"), str):
        raise rule("an event has a type", code=6, hint="write type: com.example.paid")
    return value


_Event = Annotated[FreeMap, AfterValidator(_typed)]


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
    mocks: Maybe[Annotated[dict[_Reference, Mock], IsMapping]] = None
    """By task reference; used by `iogate test`."""
    events: Maybe[Annotated[list[_Event], IsList]] = None
    """CloudEvents that arrive as the run waits for them; used by `iogate test`."""
    expect: Maybe[Expect] = None

    @property
    def has_body(self) -> bool:
        return "body" in self.model_fields_set

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.has_body and self.body_file is not None:
            raise rule("a debug case has body or body_file, not both", code=6, key="body_file")
        return self
