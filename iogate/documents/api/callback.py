"""Model of `callback`: where the end of a run is told, and which hosts a caller may name for that."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from iogate.documents.base_model import FORMAT, Maybe, StrictModel, field_error, rule_error
from iogate.documents.field_types import IsList, Text
from iogate.documents.value_type_fields import validator
from iogate.security import callback_urls
from iogate.settings.setting_types import REFERENCE

End = Literal["completed", "faulted", "cancelled"]


def _url(value: str) -> str:
    reason = callback_urls.fault(value)
    if reason is not None:
        raise rule_error(f"this URL cannot be called back: {reason}", code=5)
    return value


def _host(value: str) -> str:
    expected = callback_urls.entry_fault(value)
    if expected is not None:
        raise field_error(FORMAT, expected=expected, got=value)
    return value


_Host = Annotated[
    Text,
    AfterValidator(_host),
    WithJsonSchema({"type": "string", "pattern": f"^{callback_urls.HOST}$"}),
]


class Callback(StrictModel):
    """A signed request at the end of each run, to a fixed URL or to one that the caller names."""

    near: ClassVar = {
        "hosts": "allow",
        "allowed": "allow",
        "events": "on",
        "target": "url",
        "endpoint": "url",
    }

    url: Maybe[Annotated[Text, AfterValidator(_url)]] = None
    allow: Maybe[Annotated[list[_Host], Field(min_length=1, max_length=100), IsList]] = None
    """Hosts that the header `Callback-Url` of a call may name."""
    secret: Annotated[
        dict[str, str],
        BeforeValidator(validator(REFERENCE)),
        WithJsonSchema(dict(REFERENCE.schema())),
    ]
    """Of the signature: {env: NAME} or {file: PATH}; `whsec_…` or text."""
    on: Maybe[Annotated[list[End], Field(min_length=1), IsList]] = None
    """Ends that are told; default all."""

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.url is None) == (self.allow is None):
            has = "has none of them" if self.url is None else "has both"
            raise rule_error(
                f"a callback has a url, or allow for URLs that callers name; this one {has}",
                code=6,
                hint="write url: https://…, or allow: [hooks.example.com]",
                key=None if self.url is None else "allow",
            )
        if self.on is not None and len(set(self.on)) < len(self.on):
            raise rule_error("an end stands twice", code=9, key="on")
        return self
