"""An operation of an OpenAPI document, as far as a request needs it: small, and JSON in a program.

Made by `document`, carried by programs and effects. What version of OpenAPI it comes from is no longer
seen: parameters have the styles of OpenAPI 3, bodies one media type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

from iogate.json_values import JsonObject

Place = Literal["path", "query", "header", "cookie"]
Style = Literal["simple", "label", "matrix", "form", "spaceDelimited", "pipeDelimited", "deepObject"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    name: str
    place: Place
    style: Style
    explode: bool
    required: bool = False
    media: str = ""
    """The media type that the whole value is written in, instead of a style; `application/json`."""
    separator: str = ""
    """Between the items of an array where no style has it: the tab of OpenAPI 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    media: str
    """The media type to send: JSON where the operation takes it."""
    required: bool = False
    names: tuple[str, ...] = ()
    """Names of its own that its members go by: the fields of a form, known ahead."""
    needed: tuple[str, ...] = ()
    """Fields of a form that must be there."""
    alias: str = ""
    """What OpenAPI 2 calls the body as a parameter."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Fields of a form to the media type that each is written in, where it is not left to the value."""

    @classmethod
    def load(cls, source: JsonObject) -> Self:
        """Decode the request body of an OpenAPI operation from its JSON in a program."""
        return cls(**{**source, "names": tuple(source["names"]), "needed": tuple(source["needed"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    id: str
    method: str
    url: str
    """Absolute, with `{name}` where path parameters go."""
    accept: str = "*/*"
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    foreign: bool = False
    """The document came from one host, and sends its calls to another."""

    @classmethod
    def load(cls, source: JsonObject) -> Self:
        """Decode an OpenAPI operation from its JSON in a program."""
        body = source.get("body")
        return cls(
            **{
                **source,
                "parameters": tuple(Parameter(**each) for each in source["parameters"]),
                "body": None if body is None else Body.load(body),
            }
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Return the named parameters of an OpenAPI operation, without the body."""
        fields = self.body.names if self.body is not None else ()
        return tuple(dict.fromkeys((*(parameter.name for parameter in self.parameters), *fields)))

    def is_body(self, name: str) -> bool:
        """Tell whether an argument of this name is the whole body of the OpenAPI operation."""
        if self.body is None or any(parameter.name == name for parameter in self.parameters):
            return False
        return name in {"body", self.body.alias} and name not in self.body.names
