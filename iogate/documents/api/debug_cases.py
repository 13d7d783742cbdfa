"""Models of debug cases: a stored request, mocks, and the expected result."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from iogate.documents.base_model import Maybe, StrictModel, rule_error
from iogate.documents.debug_cases import Events, HttpStatus, Mocks, RunExpectation
from iogate.documents.field_types import Flag, FreeMap, IsMapping, Text, TextMap
from iogate.json_pointer import Pointer


class Expect(RunExpectation):
    http: Maybe[HttpStatus] = None
    """Status of the response: outside 2xx the call is refused, and there is no run."""

    @model_validator(mode="after")
    def _refused_or_run(self) -> Self:
        if self.http is None or 200 <= self.http < 300:
            return self
        for key in ("status", "output", "error"):
            if key in self.model_fields_set:
                raise rule_error(
                    f"a call that is refused with {self.http} has no run",
                    code=6,
                    hint=f"remove {key}, or expect http: 202",
                    key=key,
                )
        return self


class PartFile(StrictModel):
    file: Text
    """Relative to the project; its type is guessed by its suffix."""


def _part_kind(value: Any) -> str:
    return "file" if isinstance(value, dict | PartFile) else "text"


def _field_kind(value: Any) -> str:
    return "list" if isinstance(value, list) else _part_kind(value)


Part = Annotated[
    Annotated[PartFile, Tag("file")] | Annotated[Text, Tag("text")],
    Discriminator(_part_kind),
]
PartOrList = Annotated[
    Annotated[PartFile, Tag("file")]
    | Annotated[Text, Tag("text")]
    | Annotated[Annotated[list[Part], Field(min_length=1)], Tag("list")],
    Discriminator(_field_kind),
]
"""Value of a field: one part, or a list of the parts with its name."""


class DebugCase(StrictModel):
    near: ClassVar = {"method": "verb", "mock": "mocks", "expected": "expect", "input": "body"}

    name: Annotated[Text, Field(min_length=1)]
    verb: Maybe[Literal["GET", "POST"]] = None
    """Absent: POST where there is a body or the method takes no GET, else GET."""
    query: Maybe[FreeMap] = None
    headers: Maybe[TextMap] = None
    body: Any = None
    body_file: Maybe[Text] = None
    """Relative to the project."""
    mocks: Maybe[Mocks] = None
    """By task reference; used by `iogate test`."""
    events: Maybe[Events] = None
    """CloudEvents that arrive as the run waits for them; used by `iogate test`."""
    expect: Maybe[Expect] = None

    example: Maybe[Flag] = None
    """false: the case is not an example in `/openapi.json` and `/docs`."""

    multipart: Maybe[Annotated[dict[str, PartOrList], IsMapping]] = None
    """Fields of a `multipart/form-data` body: texts, files relative to the project, or lists of both."""

    @property
    def has_body(self) -> bool:
        return "body" in self.model_fields_set

    @property
    def sends_body(self) -> bool:
        """True if the request of an API's debug case has a body, however the case describes it."""
        return self.has_body or self.body_file is not None or self.multipart is not None

    @property
    def parts(self) -> tuple[tuple[str, PartFile | str], ...]:
        """Name and value of each part of the multipart body of an API's debug case."""
        return tuple(
            (name, part)
            for name, value in (self.multipart or {}).items()
            for part in (value if isinstance(value, list) else [value])
        )

    @property
    def files(self) -> tuple[tuple[Pointer, str], ...]:
        """Keys and path of each file of the project that an API's debug case names."""
        found: list[tuple[Pointer, str]] = []
        if self.body_file is not None:
            found.append((("body_file",), self.body_file))
        for name, value in (self.multipart or {}).items():
            for number, part in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(part, PartFile):
                    at = (name, number) if isinstance(value, list) else (name,)
                    found.append((("multipart", *at, "file"), part.file))
        return tuple(found)

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.has_body and self.body_file is not None:
            raise rule_error("a debug case has body or body_file, not both", code=6, key="body_file")
        if self.multipart is not None and (self.has_body or self.body_file is not None):
            raise rule_error(
                "a debug case has body, body_file or multipart, and one of them only", code=6, key="multipart"
            )
        return self
