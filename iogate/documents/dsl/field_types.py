"""Types of fields of the DSL: expressions, URI templates, durations, versions, labels, host names."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Discriminator, WithJsonSchema

from iogate.documents.base_model import (
    FORMAT,
    TYPE,
    Maybe,
    as_tag,
    by_type,
    field_error,
    rule_error,
    type_error,
)
from iogate.documents.dsl.base_model import DslModel
from iogate.documents.field_types import Text, Whole, matching
from iogate.timing.durations import InvalidDuration, format_iso, parse_duration
from iogate.value_types.faults import type_name

_EXPRESSION: Final = r"\s*\$\{.+\}\s*"
_URI: Final = r"(?!\s*\$\{)(?=\S)(([^:/?#]+):)?(//([^/?#\s]*))?([^?#\s]*)(\?([^#\s]*))?(#(\S*))?"
_ISO: Final = (
    r"P(?!$)([0-9]+(?:\.[0-9]+)?Y)?([0-9]+(?:\.[0-9]+)?M)?([0-9]+(?:\.[0-9]+)?W)?([0-9]+(?:\.[0-9]+)?D)?"
    r"(T(?=[0-9])([0-9]+(?:\.[0-9]+)?H)?([0-9]+(?:\.[0-9]+)?M)?([0-9]+(?:\.[0-9]+)?S)?)?"
)
_SEMVER: Final = (
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(?:-((?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?"
)
_LABEL: Final = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HOST: Final = r"[a-zA-Z0-9](?:[a-zA-Z0-9-.]{0,61}[a-zA-Z0-9])?"

_DURATION_FORMS: Final = "an ISO 8601 duration such as PT5M, a mapping such as {minutes: 5}, or ${ … }"


Expression = Annotated[
    Text,
    AfterValidator(matching(_EXPRESSION, "a runtime expression: ${ … }")),
    WithJsonSchema({"type": "string", "pattern": f"^{_EXPRESSION}$"}),
]
UriTemplate = Annotated[
    Text,
    AfterValidator(matching(_URI, "a URI or URI template without spaces")),
    WithJsonSchema({"type": "string", "pattern": f"^{_URI}$"}),
]
UriOrExpression = Annotated[
    Text,
    AfterValidator(matching(f"{_EXPRESSION}|{_URI}", "a URI, a URI template or a runtime expression ${ … }")),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{_EXPRESSION}|{_URI})$"}),
]
SemanticVersion = Annotated[
    Text,
    AfterValidator(matching(_SEMVER, "a semantic version such as 1.0.0")),
    WithJsonSchema({"type": "string", "pattern": f"^{_SEMVER}$"}),
]
Label = Annotated[
    Text,
    AfterValidator(matching(_LABEL, "1 to 63 letters, digits or -, with a letter or digit at both ends")),
    WithJsonSchema({"type": "string", "pattern": f"^{_LABEL}$"}),
]
Host = Annotated[
    Text,
    AfterValidator(matching(_HOST, "a host name")),
    WithJsonSchema({"type": "string", "pattern": f"^{_HOST}$"}),
]

_is_iso = re.compile(f"{_EXPRESSION}|{_ISO}")


def _iso(value: str) -> str:
    if _is_iso.fullmatch(value) is None:
        raise field_error(FORMAT, expected=_DURATION_FORMS, got=value, hint=_iso_hint(value))
    return value


def _iso_hint(value: str) -> str:
    """Return a hint with the ISO form for a DSL field that has the short form of a duration; else empty."""
    try:
        return f"write {format_iso(parse_duration(value))}"
    except InvalidDuration:
        return ""


IsoDuration = Annotated[
    Text,
    AfterValidator(_iso),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{_EXPRESSION}|{_ISO})$"}),
]


class DurationParts(DslModel):
    days: Maybe[Whole] = None
    hours: Maybe[Whole] = None
    minutes: Maybe[Whole] = None
    seconds: Maybe[Whole] = None
    milliseconds: Maybe[Whole] = None


def _duration(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        hint = _iso_hint(f"{value}s").replace("write", f"{value} seconds are")
        raise field_error(TYPE, expected=_DURATION_FORMS, got=type_name(value), hint=hint)
    if not isinstance(value, str | dict):
        raise type_error(_DURATION_FORMS, value)
    if value == {}:
        raise rule_error("the duration is empty", hint=f"expected {_DURATION_FORMS}")
    return value


Duration = Annotated[
    Annotated[DurationParts, as_tag("parts")] | Annotated[IsoDuration, as_tag("text")],
    Discriminator(by_type(dict="parts", str="text")),
    BeforeValidator(_duration),
]
