"""The shapes of the DSL: as documents' own, with its camelCase keys."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from iogate.documents.problems import listed, nearest, quoted
from iogate.documents.shape import Shape, rule, wrong_type


def _key(name: str) -> str:
    return to_camel(name.rstrip("_"))


class DslShape(Shape):
    model_config = ConfigDict(alias_generator=_key)


class OpenDslShape(DslShape):
    """A mapping in which the schema lets unknown keys pass."""

    model_config = ConfigDict(extra="allow")


def either(*keys: str, of: str, hint: str = "") -> Any:
    """A check of the raw mapping: one of `keys`, and only one, is there; `hint` helps where none is."""

    def check(value: Any) -> Any:
        if not isinstance(value, dict):
            raise wrong_type("a mapping", value)
        found = [key for key in keys if key in value]
        if len(found) > 1:
            message = f"{of} has one of {', '.join(keys)}, not {' and '.join(found)}"
            raise rule(message, code=6, key=found[1])
        if not found:
            raise _none_of(value, keys, of, hint)
        return value

    return check


def _none_of(value: dict[str, Any], keys: tuple[str, ...], of: str, hint: str) -> Exception:
    """Why none of `keys` is there: most likely one is misspelt."""
    for key in value:
        meant = nearest(str(key), keys)
        if meant:
            return rule(
                f"unknown key {quoted(key)} in {of}", code=1, hint=f'did you mean "{meant}"?', key=key
            )
    return rule(f"{of} needs one of {listed(keys)}", code=6, hint=hint)
