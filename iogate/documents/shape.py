"""The form that every mapping of a document is declared in: strict, closed, and able to say why not.

API and workflow models are Shapes. pydantic judges; each Shape rewrites the faults at its own level
into ones that carry what a message needs (the keys allowed, the key meant). `faults` words them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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

from iogate.documents.problems import nearest

UNKNOWN: Final = "iogate_unknown"
MISSING: Final = "iogate_missing"
TYPE: Final = "iogate_type"
FORMAT: Final = "iogate_format"
NULL: Final = "iogate_null"
RULE: Final = "iogate_rule"
"""A rule of its own words: `message`, `hint`, and `code` without its document's digit."""

_MOST_FAULTS = 200
_MOST_SUGGESTIONS = 20
_YAML_1_1: Final = {"yes": "true", "on": "true", "no": "false", "off": "false"}

T = TypeVar("T")


def fault(kind: str, **context: Any) -> PydanticCustomError:
    return PydanticCustomError(kind, "{kind}", {"kind": kind, **context})


def rule(message: str, *, code: int = 5, hint: str = "", key: str | int | None = None) -> PydanticCustomError:
    """A fault in its own words. `key` points inside the value that is judged, at that key."""
    return fault(RULE, message=message, hint=hint, code=code, key=key)


def type_name(value: object) -> str:
    """Return the type of a YAML value in plain words."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return type(value).__name__


def wrong_type(expected: str, value: object) -> PydanticCustomError:
    if value is None:
        return fault(NULL, expected=expected)
    return fault(TYPE, expected=expected, got=type_name(value), hint=_hint(expected, value))


def _hint(expected: str, value: object) -> str:
    if expected == "text" and not isinstance(value, list | dict):
        return "put it in quotes"
    if expected == "true or false" and isinstance(value, str):
        meant = _YAML_1_1.get(value.lower())
        return f"YAML 1.2 reads {value} as text: write {meant}" if meant else ""
    if expected == "a list":
        return 'start each item with "- "' if isinstance(value, dict) else "put it in brackets: [ … ]"
    return ""


def _refuse_null(value: Any) -> Any:
    if value is None:
        raise fault(NULL, expected="")
    return value


Maybe = Annotated[T | None, BeforeValidator(_refuse_null)]
"""A key that may be left out (then None) but not left empty."""


def as_tag(name: str) -> Tag:
    """The tag of a union's branch; its form keeps it apart from the keys of a document."""
    return Tag(f"|{name}|")


def is_tag(step: object) -> bool:
    return isinstance(step, str) and len(step) > 2 and step[0] == step[-1] == "|"


def by_type(**tags: str) -> Callable[[Any], str | None]:
    """A discriminator by the YAML type: `by_type(str="text", dict="object")`."""
    return lambda value: f"|{tags[type(value).__name__]}|" if type(value).__name__ in tags else None


def branch(name: str) -> str:
    """Return the tag of the branch that `as_tag(name)` marks."""
    return f"|{name}|"


class Shape(BaseModel):
    """A mapping with known keys. A trailing `_` keeps a field's name off a Python keyword."""

    model_config = ConfigDict(
        strict=True,
        defer_build=True,  # of a hundred shapes, only those that are asked: a third of the start of a command
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.rstrip("_"),
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )

    near: ClassVar[Mapping[str, str]] = {}
    """Words that people use for a key of ours: `methods` for `verbs`."""

    elsewhere: ClassVar[Mapping[str, str]] = {}
    """Keys that exist, but not here: what to do about them."""

    @classmethod
    def key_names(cls) -> tuple[str, ...]:
        return _key_names(cls)

    @model_validator(mode="wrap")
    @classmethod
    def _with_reasons(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(data, dict):
            raise wrong_type("a mapping", data)
        try:
            return handler(data)
        except ValidationError as error:
            raise ValidationError.from_exception_data(cls.__name__, _restated(cls, data, error)) from None


@cache
def _key_names(shape: type[Shape]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in shape.model_fields.items())


def _restated(shape: type[Shape], data: Mapping[str, Any], error: ValidationError) -> list[InitErrorDetails]:
    faults = error.errors(include_url=False)[:_MOST_FAULTS]
    own = [item for item in faults if len(item["loc"]) == 1]
    unknown = [str(item["loc"][0]) for item in own if item["type"] == "extra_forbidden"]
    free = [key for key in shape.key_names() if key not in data]
    meant = dict(_suggestions(shape, unknown[:_MOST_SUGGESTIONS], free))
    told: list[InitErrorDetails] = []
    for item in faults:
        loc, kind = item["loc"], item["type"]
        if len(loc) == 1 and kind == "extra_forbidden":
            key = str(loc[0])
            context = {
                "allowed": list(shape.key_names()),
                "meant": meant.get(key),
                "tip": shape.elsewhere.get(key),
            }
            told.append({"type": fault(UNKNOWN, **context), "loc": loc, "input": None})
        elif len(loc) == 1 and kind == "missing":
            # A misspelt key is one mistake, not an unknown key and a missing one.
            misspelt = _misspelt(shape, data, str(loc[0]))
            if misspelt is not None:
                again = fault(UNKNOWN, allowed=[], meant=loc[0], tip=None)
                told.append({"type": again, "loc": (misspelt,), "input": None})
            elif loc[0] not in meant.values():
                told.append({"type": fault(MISSING), "loc": loc, "input": None})
        else:
            told.append(_again(item))
    return told


def _misspelt(shape: type[Shape], data: Mapping[str, Any], missing: str) -> str | None:
    """In a mapping that lets unknown keys pass, the one that was to be `missing`."""
    if shape.model_config.get("extra") != "allow":
        return None
    unknown = [key for key in data if key not in shape.key_names()]
    return next((key for key in unknown[:_MOST_SUGGESTIONS] if nearest(key, (missing,))), None)


def _again(item: Any) -> InitErrorDetails:
    """A fault from further down, as it was."""
    context = item.get("ctx", {})
    if item["type"].startswith("iogate_"):
        again = PydanticCustomError(item["type"], "{kind}", context)
        return {"type": again, "loc": item["loc"], "input": None}
    return {"type": item["type"], "loc": item["loc"], "input": item["input"], "ctx": context}


def _suggestions(
    shape: type[Shape], unknown: Iterable[str], free: Iterable[str]
) -> Iterable[tuple[str, str]]:
    free = list(free)
    for word in unknown:
        if word in shape.elsewhere:
            continue
        known = shape.near.get(word)
        meant = known if known in free else nearest(word, free)
        if meant:
            yield word, meant
