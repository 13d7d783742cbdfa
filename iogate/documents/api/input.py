"""The input of a method: its source, its schema, and its files."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from iogate.documents.base_model import Maybe, StrictModel, rule_error, type_error
from iogate.documents.field_types import Flag, Positive, Size

MAX_FILES: Final = 32 * 1024 * 1024
"""Largest size of the files of a call, in bytes: half of the bodies that a gateway holds at once."""


def _json_schema(value: Any) -> Any:
    if not isinstance(value, dict | bool):
        raise type_error("a JSON Schema: a mapping, true or false", value)
    if isinstance(value, dict) and value.keys() == {"document"}:
        # The form of workflows; as a JSON Schema it would accept everything.
        raise rule_error(
            "in an API document, schema is the JSON Schema itself",
            code=6,
            hint="remove document",
            key="document",
        )
    return value


class Files(StrictModel):
    near: ClassVar = {"limit": "size", "max": "count", "number": "count", "sum": "total"}

    size: Size = 8 * 1024 * 1024
    """Largest file."""
    total: Maybe[Size] = None
    """Largest size of all files of a call; absent: 16MiB, or `size` if that is larger."""
    count: Positive = 10
    """Files of a call, at most."""

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        if self.total is not None and self.total < self.size:
            raise rule_error(
                "total is smaller than size, so that no file can have that size",
                code=40,
                hint="make total at least as large as size",
                key="total",
            )
        for key, value in (("size", self.size), ("total", self.total or 0)):
            if value > MAX_FILES:
                raise rule_error(
                    f"{key} is more than {MAX_FILES // 1024**2}MiB, the most that a call may have",
                    code=40,
                    hint="keep larger files in a store of their own, and send their addresses",
                    key=key,
                )
        return self


class Input(StrictModel):
    near: ClassVar = {"file": "files", "uploads": "files"}

    from_: Literal["body", "request"] = "body"
    """What becomes the workflow's input: the body, or {method, headers, query, body}."""
    raw: Flag = False
    """Whether the input has the unchanged body as a file, in `raw`; with from: request."""
    files: Maybe[Files] = None
    """Files of a form are stored beside the run; absent: the input has their contents."""
    schema_: Maybe[
        Annotated[
            dict[str, Any] | bool,
            BeforeValidator(_json_schema),
            WithJsonSchema({"type": ["object", "boolean"]}),
        ]
    ] = None
    """JSON Schema 2020-12; absent: the workflow's input.schema."""

    @model_validator(mode="after")
    def _raw_of_a_request(self) -> Self:
        if self.raw and self.from_ != "request":
            raise rule_error(
                "raw adds the body to the whole request, and the input is the body alone",
                code=41,
                hint="add from: request",
                key="raw",
            )
        if self.raw and self.files is not None:
            raise rule_error(
                "raw stores the whole body, and files the parts of a form: one of them only",
                code=41,
                hint="remove raw, or files",
                key="raw",
            )
        return self
