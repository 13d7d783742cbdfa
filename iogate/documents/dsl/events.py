"""Models of events: properties, filters, correlation, and the strategy that selects them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator

from iogate.documents.base_model import Maybe, as_tag, by_type, rule_error
from iogate.documents.dsl.base_model import DslModel, OpenDslModel, exactly_one_of
from iogate.documents.dsl.data_flow import text_or_mapping
from iogate.documents.dsl.field_types import UriOrExpression
from iogate.documents.field_types import IsList, IsMapping, Text


class EventProperties(OpenDslModel):
    """CloudEvents attributes; extension attributes are free."""

    id: Maybe[Text] = None
    source: Maybe[UriOrExpression] = None
    type: Maybe[Text] = None
    time: Maybe[Text] = None
    subject: Maybe[Text] = None
    datacontenttype: Maybe[Text] = None
    dataschema: Maybe[UriOrExpression] = None
    data: Any = None


class EmittedProperties(EventProperties):
    type: Text


def _some_property(value: Any) -> Any:
    if value == {}:
        raise rule_error("an event filter names at least one property", code=6)
    return value


class Correlation(OpenDslModel):
    from_: Text
    expect: Maybe[Text] = None


class EventFilter(DslModel):
    with_: Annotated[EventProperties, BeforeValidator(_some_property)]
    correlate: Maybe[Annotated[dict[str, Correlation], IsMapping]] = None


_Filters = Annotated[list[EventFilter], IsList]


class Strategy(DslModel):
    """Which events end the waiting: all of them, any, or one."""

    all: Maybe[_Filters] = None
    any: Maybe[_Filters] = None
    until: Maybe[Until] = None
    one: Maybe[EventFilter] = None


def _until_any(value: Any) -> Any:
    checked = exactly_one_of("all", "any", "one", of="an event strategy")(value)
    if "until" in checked and "any" not in checked:
        raise rule_error('"until" goes with "any" only', code=6, key="until")
    return checked


def _without_until(value: Any) -> Any:
    if isinstance(value, dict) and "until" in value:
        raise rule_error('the strategy in "until" has no "until" of its own', code=6, key="until")
    return _until_any(value)


EventStrategy = Annotated[Strategy, BeforeValidator(_until_any)]

Until = Annotated[
    Annotated[Text, as_tag("text")]
    | Annotated[Annotated[Strategy, BeforeValidator(_without_until)], as_tag("strategy")],
    Discriminator(by_type(str="text", dict="strategy")),
    text_or_mapping("a condition, or a mapping with all, any or one"),
]
