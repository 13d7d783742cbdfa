"""Base classes of the models of the DSL: as of all documents, with camelCase keys."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from iogate.documents.base_model import StrictModel, rule_error, type_error
from iogate.messages import listed, nearest, quoted


def _key(name: str) -> str:
    return to_camel(name.rstrip("_"))


class DslModel(StrictModel):
    """A mapping of the DSL with known keys."""

    model_config = ConfigDict(alias_generator=_key)


class OpenDslModel(DslModel):
    """A mapping in which the schema lets unknown keys pass."""

    model_config = ConfigDict(extra="allow")


def exactly_one_of(*keys: str, of: str, hint: str = "") -> Any:
    """Return a check that a DSL model's mapping has exactly one of `keys`; `hint` is for one with none."""

    def check(value: Any) -> Any:
        if not isinstance(value, dict):
            raise type_error("a mapping", value)
        found = [key for key in keys if key in value]
        if len(found) > 1:
            message = f"{of} has one of {', '.join(keys)}, not {' and '.join(found)}"
            raise rule_error(message, code=6, key=found[1])
        if not found:
            raise _none_of(value, keys, of, hint)
        return value

    return check


def _none_of(value: dict[str, Any], keys: tuple[str, ...], of: str, hint: str) -> Exception:
    """Return the error of a mapping of the DSL without any of `keys`; most likely one is misspelt."""
    for key in value:
        meant = nearest(str(key), keys)
        if meant:
            return rule_error(
                f"unknown key {quoted(key)} in {of}", code=1, hint=f'did you mean "{meant}"?', key=key
            )
    return rule_error(f"{of} needs one of {listed(keys)}", code=6, hint=hint)
