"""Models that all debug cases share: mocks, events and expectations of a run.

Used by the debug cases of API documents and of the schedules of workflows.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from iogate.documents.base_model import FORMAT, UNKNOWN, Maybe, StrictModel, field_error, rule_error
from iogate.documents.field_types import FreeMap, IsList, IsMapping, Text, TextMap, Whole
from iogate.errors import RESPONSE_HEADERS
from iogate.messages import nearest


def _status(value: int) -> int:
    if not 100 <= value <= 599:
        raise field_error(FORMAT, expected="an HTTP status from 100 to 599", got=str(value))
    return value


HttpStatus = Annotated[Whole, AfterValidator(_status)]


class RunExpectation(StrictModel):
    """The end of a run."""

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
            raise rule_error(
                "a run that ends with an error has faulted and has no output", code=6, key="error"
            )
        return self

    @property
    def has_output(self) -> bool:
        """Tell whether a debug case expects an output: `output: null` expects null, no key any output."""
        return "output" in self.model_fields_set


class RequestExpectation(StrictModel):
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


def _known_header(name: str) -> str:
    if name not in RESPONSE_HEADERS:
        meant = nearest(name, RESPONSE_HEADERS)
        tip = (
            None
            if meant
            else f"a real error never shows this header; shown are {', '.join(RESPONSE_HEADERS)}"
        )
        raise field_error(UNKNOWN, allowed=list(RESPONSE_HEADERS), meant=meant, tip=tip)
    return name


class MockResponse(StrictModel):
    """`response` of the error of an HTTP call, as `$error.response` shows it."""

    near: ClassVar = {"statusCode": "status", "content": "body", "output": "body"}

    status: Maybe[HttpStatus] = None
    """Absent: the status of the error."""
    headers: Maybe[Annotated[dict[Annotated[Text, AfterValidator(_known_header)], Text], IsMapping]] = None
    """Only those that a real error has."""
    body: Any = None
    """JSON or text."""


class MockProcess(StrictModel):
    """`process` of the error of a failed process, as `$error.process` shows it."""

    near: ClassVar = {"exitCode": "code", "exit": "code", "status": "code", "output": "stdout"}

    code: Maybe[Whole] = None
    """Exit code. Absent: 1."""
    stderr: Maybe[Text] = None
    stdout: Maybe[Text] = None


class MockError(StrictModel):
    """An error as a task raises it."""

    near: ClassVar = {"message": "detail", "description": "detail", "code": "status", "kind": "type"}
    elsewhere: ClassVar = {
        "instance": "leave it out: the run sets it to the reference of the task",
        "headers": 'it belongs under "response"',
        "body": 'it belongs under "response"',
        "output": 'it belongs on the mock, in place of "error"',
        "expectRequest": 'it belongs on the mock, beside "error"',
    }

    type: Maybe[Text] = None
    """A URI, or the last word of one of the standard's types. Absent: `communication` of an HTTP call, else
    `runtime`."""
    status: Maybe[HttpStatus] = None
    """Absent: the standard's status of the type."""
    title: Maybe[Text] = None
    detail: Maybe[Text] = None
    response: Maybe[MockResponse] = None
    """Of an HTTP call: what the server answered, for `catch`."""
    process: Maybe[MockProcess] = None
    """Of a command, script or container: its exit code and the end of what it wrote, for `catch`."""

    def to_json(self) -> dict[str, Any]:
        """Return the error that the model of a mock describes, with the members of a real error."""
        members = self.model_dump(exclude_unset=True)
        if self.response is not None:
            status = self.response.status or self.status or 500
            headers = self.response.headers or {}
            members["response"] = {"status": status, "headers": headers, "body": self.response.body}
            members.setdefault("status", status)
        if self.process is not None:
            members["process"] = {"code": 1, **self.process.model_dump(exclude_none=True)}
        return members


class Mock(StrictModel):
    near: ClassVar = {"expect": "expectRequest", "request": "expectRequest"}
    elsewhere: ClassVar = {"response": 'it belongs under "error"'}

    output: Any = None
    error: Maybe[MockError] = None
    """The task fails with this error: type, status, title, detail, response, process."""
    expect_request: Annotated[Maybe[RequestExpectation], Field(alias="expectRequest")] = None
    """The case fails if the call does not send this."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set - {"expect_request"}) != 1:
            raise rule_error("a mock has either an output or an error", code=6)
        return self


def _several(value: Any) -> Any:
    if not isinstance(value, list):
        return [value]
    if not value:
        raise rule_error("a list of mocks holds one for each attempt", code=6)
    return value


class _OneOrMore:
    """Tells editors that a mock may stand without a list."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        listed = handler(core)
        return {"anyOf": [listed["items"], {**listed, "minItems": 1}]}


_Attempts = Annotated[list[Mock], BeforeValidator(_several), _OneOrMore()]
"""One mock for every attempt, or one for each in their order; always a list here."""

Mocks = Annotated[dict[Text, _Attempts], IsMapping]
"""By task reference; `compiler.checks.mocks` checks that the workflow has the task."""


def _typed(value: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(value.get("type"), str):
        raise rule_error("an event has a type", code=6, hint="write type: com.example.paid")
    return value


Events = Annotated[list[Annotated[FreeMap, AfterValidator(_typed)]], IsList]
"""CloudEvents, in the order in which they arrive."""
