"""Models of error handling: errors, error filters of `catch`, retry policies."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator

from iogate.documents.base_model import Maybe, as_tag, by_type, rule_error
from iogate.documents.dsl.base_model import DslModel, OpenDslModel, exactly_one_of
from iogate.documents.dsl.data_flow import text_or_mapping
from iogate.documents.dsl.field_types import Duration, UriOrExpression
from iogate.documents.field_types import FreeMap, Text, Whole


class Error(DslModel):
    type: UriOrExpression
    status: Whole
    instance: Maybe[Text] = None
    title: Maybe[Text] = None
    detail: Maybe[Text] = None


ErrorOrName = Annotated[
    Annotated[Error, as_tag("error")] | Annotated[Text, as_tag("name")],
    Discriminator(by_type(dict="error", str="name")),
    text_or_mapping("the name of an error in use.errors, or a mapping with type and status"),
]


def _some_property(value: Any) -> Any:
    if value == {}:
        raise rule_error("an error filter names at least one property", code=6)
    return value


class ErrorProperties(OpenDslModel):
    type: Maybe[Text] = None
    status: Maybe[Whole] = None
    instance: Maybe[Text] = None
    title: Maybe[Text] = None
    detail: Maybe[Text] = None


class CaughtErrors(OpenDslModel):
    with_: Maybe[Annotated[ErrorProperties, BeforeValidator(_some_property)]] = None


class BackoffParts(DslModel):
    constant: Maybe[FreeMap] = None
    exponential: Maybe[FreeMap] = None
    linear: Maybe[FreeMap] = None


class AttemptLimit(DslModel):
    count: Maybe[Whole] = None
    duration: Maybe[Duration] = None


class RetryLimit(DslModel):
    attempt: Maybe[AttemptLimit] = None
    duration: Maybe[Duration] = None


class Jitter(DslModel):
    from_: Duration
    to: Duration


class RetryPolicy(DslModel):
    when: Maybe[Text] = None
    except_when: Maybe[Text] = None
    delay: Maybe[Duration] = None
    backoff: Maybe[
        Annotated[
            BackoffParts, BeforeValidator(exactly_one_of("constant", "exponential", "linear", of="a backoff"))
        ]
    ] = None
    limit: Maybe[RetryLimit] = None
    jitter: Maybe[Jitter] = None


Retry = Annotated[
    Annotated[RetryPolicy, as_tag("policy")] | Annotated[Text, as_tag("name")],
    Discriminator(by_type(dict="policy", str="name")),
    text_or_mapping("the name of a policy in use.retries, or a mapping"),
]
