"""Errors, how they are caught, and how often is tried again."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator

from iogate.documents.dsl.data import text_or_mapping
from iogate.documents.dsl.form import DslShape, OpenDslShape, either
from iogate.documents.dsl.text import Duration, UriOrExpression
from iogate.documents.shape import Maybe, as_tag, by_type, rule
from iogate.documents.values import FreeMap, Text, Whole


class Error(DslShape):
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
        raise rule("an error filter names at least one property", code=6)
    return value


class ErrorProperties(OpenDslShape):
    type: Maybe[Text] = None
    status: Maybe[Whole] = None
    instance: Maybe[Text] = None
    title: Maybe[Text] = None
    detail: Maybe[Text] = None


class CaughtErrors(OpenDslShape):
    with_: Maybe[Annotated[ErrorProperties, BeforeValidator(_some_property)]] = None


class BackoffParts(DslShape):
    constant: Maybe[FreeMap] = None
    exponential: Maybe[FreeMap] = None
    linear: Maybe[FreeMap] = None


class AttemptLimit(DslShape):
    count: Maybe[Whole] = None
    duration: Maybe[Duration] = None


class RetryLimit(DslShape):
    attempt: Maybe[AttemptLimit] = None
    duration: Maybe[Duration] = None


class Jitter(DslShape):
    from_: Duration
    to: Duration


class RetryPolicy(DslShape):
    when: Maybe[Text] = None
    except_when: Maybe[Text] = None
    delay: Maybe[Duration] = None
    backoff: Maybe[
        Annotated[BackoffParts, BeforeValidator(either("constant", "exponential", "linear", of="a backoff"))]
    ] = None
    limit: Maybe[RetryLimit] = None
    jitter: Maybe[Jitter] = None


Retry = Annotated[
    Annotated[RetryPolicy, as_tag("policy")] | Annotated[Text, as_tag("name")],
    Discriminator(by_type(dict="policy", str="name")),
    text_or_mapping("the name of a policy in use.retries, or a mapping"),
]
