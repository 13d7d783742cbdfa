"""Base class of all models of documents: strict, without unknown keys, with errors that suggest a fix.

Used by the API and workflow models. pydantic validates; each model rewrites the errors of its own level
with the data that a message needs (allowed keys, the likely key). `validation_messages` writes the text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ModelWrapValidatorHandler,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from iogate.messages import nearest
from iogate.value_types.faults import type_hint, type_name

UNKNOWN: Final = "iogate_unknown"
MISSING: Final = "iogate_missing"
TYPE: Final = "iogate_type"
FORMAT: Final = "iogate_format"
NULL: Final = "iogate_null"
RULE: Final = "iogate_rule"
"""An error with its own text: `message`, `hint`, and `code` without the digit of the kind of document."""

_MAX_ERRORS = 200
_MAX_SUGGESTIONS = 20

T = TypeVar("T")


def field_error(kind: str, **context: Any) -> PydanticCustomError:
    """Return a validation error of a model's field, of this kind, with the data for its message."""
    return PydanticCustomError(kind, "{kind}", {"kind": kind, **context})


def rule_error(
    message: str, *, code: int = 5, hint: str = "", key: str | int | None = None
) -> PydanticCustomError:
    """Return a model's error with its own text. `key` points at that key inside the validated value."""
    return field_error(RULE, message=message, hint=hint, code=code, key=key)


def type_error(expected: str, value: object) -> PydanticCustomError:
    """Return the error of a value in a model that has not the expected YAML type."""
    if value is None:
        return field_error(NULL, expected=expected)
    return field_error(TYPE, expected=expected, got=type_name(value), hint=type_hint(expected, value))


def _reject_null(value: Any) -> Any:
    if value is None:
        raise field_error(NULL, expected="")
    return value


Maybe = Annotated[T | None, BeforeValidator(_reject_null)]
"""A key that may be left out (then None) but not left empty."""


def as_tag(name: str) -> Tag:
    """Return the tag of a union's branch in models, in a form that no key of a document has."""
    return Tag(f"|{name}|")


def is_tag(step: object) -> bool:
    """Tell whether a step of an error's location in a model is a tag of `as_tag`."""
    return isinstance(step, str) and len(step) > 2 and step[0] == step[-1] == "|"


def by_type(**tags: str) -> Callable[[Any], str | None]:
    """Return a discriminator of a model by the YAML type: `by_type(str="text", dict="object")`."""
    return lambda value: f"|{tags[type(value).__name__]}|" if type(value).__name__ in tags else None


def tag_name(name: str) -> str:
    """Return the tag of the model's branch that `as_tag(name)` marks."""
    return f"|{name}|"


class StrictModel(BaseModel):
    """A mapping with known keys. A trailing `_` keeps a field's name off a Python keyword."""

    model_config = ConfigDict(
        strict=True,
        defer_build=True,  # building all models would take a third of the start-up time of a command
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.rstrip("_"),
        protected_namespaces=(),
    )

    near: ClassVar[Mapping[str, str]] = {}
    """Common words for a key, and the key: `methods` for `verbs`."""

    elsewhere: ClassVar[Mapping[str, str]] = {}
    """Keys that belong elsewhere, each with a hint."""

    @classmethod
    def key_names(cls) -> tuple[str, ...]:
        """Return the keys of the model's mapping, as documents write them."""
        return _key_names(cls)

    @model_validator(mode="wrap")
    @classmethod
    def _explain_errors(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(data, dict):
            raise type_error("a mapping", data)
        try:
            return handler(data)
        except ValidationError as error:
            raise ValidationError.from_exception_data(
                cls.__name__, _rewrite_errors(cls, data, error)
            ) from None


@cache
def _key_names(model: type[StrictModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _rewrite_errors(
    model: type[StrictModel], data: Mapping[str, Any], error: ValidationError
) -> list[InitErrorDetails]:
    errors = error.errors(include_url=False)[:_MAX_ERRORS]
    own = [item for item in errors if len(item["loc"]) == 1]
    unknown = [str(item["loc"][0]) for item in own if item["type"] == "extra_forbidden"]
    free = [key for key in model.key_names() if key not in data]
    misplaced = model.elsewhere
    meant = suggest_keys([key for key in unknown if key not in misplaced], free, model.near)
    rewritten: list[InitErrorDetails] = []
    for item in errors:
        loc, kind = item["loc"], item["type"]
        if len(loc) == 1 and kind == "extra_forbidden":
            key = str(loc[0])
            context = {
                "allowed": list(model.key_names()),
                "meant": meant.get(key),
                "tip": model.elsewhere.get(key),
            }
            rewritten.append({"type": field_error(UNKNOWN, **context), "loc": loc, "input": None})
        elif len(loc) == 1 and kind == "missing":
            # A misspelt key is one error, not an unknown key and a missing one.
            misspelt = _find_misspelt(model, data, str(loc[0]))
            if misspelt is not None:
                copy = field_error(UNKNOWN, allowed=[], meant=loc[0], tip=None)
                rewritten.append({"type": copy, "loc": (misspelt,), "input": None})
            elif loc[0] not in meant.values():
                rewritten.append({"type": field_error(MISSING), "loc": loc, "input": None})
        else:
            rewritten.append(_copy_error(item))
    return rewritten


def _find_misspelt(model: type[StrictModel], data: Mapping[str, Any], missing: str) -> str | None:
    """Return the unknown key that resembles `missing`, in a mapping that allows unknown keys."""
    if model.model_config.get("extra") != "allow":
        return None
    unknown = [key for key in data if key not in model.key_names()]
    return next((key for key in unknown[:_MAX_SUGGESTIONS] if nearest(key, (missing,))), None)


def _copy_error(item: Any) -> InitErrorDetails:
    """Return an error of a model on a deeper level, unchanged."""
    context = item.get("ctx", {})
    if item["type"].startswith("iogate_"):
        copy = PydanticCustomError(item["type"], "{kind}", context)
        return {"type": copy, "loc": item["loc"], "input": None}
    return {"type": item["type"], "loc": item["loc"], "input": item["input"], "ctx": context}


def suggest_keys(unknown: Sequence[str], free: Sequence[str], near: Mapping[str, str]) -> dict[str, str]:
    """Return the free key of a model that each unknown key probably means; `near` has common words."""
    found = {
        word: near[word] if near.get(word) in free else nearest(word, free)
        for word in unknown[:_MAX_SUGGESTIONS]
    }
    return {word: key for word, key in found.items() if key}
