"""Model of the links of a workflow: URLs with which a person continues a waiting run, once."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from iogate.documents.base_model import FORMAT, Maybe, field_error, type_error
from iogate.documents.dsl.base_model import DslModel
from iogate.documents.field_types import IsMapping, Seconds, Text, matching
from iogate.security.one_time_links import NAME
from iogate.timing.durations import format_seconds

LONGEST_S: Final = 366 * 86_400
MOST: Final = 20
"""Links of one workflow."""


def _length(value: float) -> float:
    if not 1 <= value <= LONGEST_S:
        raise field_error(FORMAT, expected="a length from 1s to 366d", got=format_seconds(value))
    return value


def _json_schema(value: Any) -> Any:
    if not isinstance(value, dict):
        raise type_error("a JSON Schema of an object: a mapping", value)
    return value


LinkName = Annotated[
    Text,
    AfterValidator(matching(NAME, "a letter, then at most 39 letters, digits, - or _")),
    WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"}),
]


class Link(DslModel):
    """A link: its page shows title, description and a form; its use delivers the event `iogate.link.NAME`."""

    near: ClassVar = {
        "expires": "ttl",
        "timeout": "ttl",
        "form": "schema",
        "input": "schema",
        "text": "title",
    }

    ttl: Maybe[Annotated[Seconds, AfterValidator(_length)]] = None
    """From the start of the run; default 7d."""
    title: Maybe[Annotated[Text, Field(min_length=1, max_length=200)]] = None
    """Heading of the page; default: the name of the link."""
    description: Maybe[Annotated[Text, Field(max_length=10_000)]] = None
    """Text below the title; expressions are evaluated when the run begins to listen for the event."""
    schema_: Maybe[
        Annotated[dict[str, Any], BeforeValidator(_json_schema), WithJsonSchema({"type": "object"})]
    ] = None
    """JSON Schema of the data of the event, and of the form; absent: a button, and no data."""


Links = Annotated[dict[LinkName, Link], IsMapping, Field(max_length=MOST)]
