"""Rules of `iogate lint` by code, with their severities; the setting `lint` changes these.

Read by the settings, by the parser of ignore comments and by the linter. Codes of errors are not among them:
an error can be neither ignored nor weakened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal, TypeAlias

from iogate.value_types.collection_types import ValueType, map_of
from iogate.value_types.faults import wrong_form
from iogate.value_types.scalar_types import choice

Level: TypeAlias = Literal["error", "warning", "advice"]

OFF: Final = "off"

UNUSED_IGNORE: Final = "IOG523"
INVALID_IGNORE: Final = "IOG524"

_WARNINGS: Final = (
    *("IOG501", "IOG502", "IOG503", "IOG504", "IOG505", "IOG506", "IOG507", "IOG509", "IOG510", "IOG511"),
    *("IOG512", "IOG513", "IOG514", "IOG515", "IOG516", "IOG517", "IOG518", "IOG519", "IOG520", "IOG521"),
    *("IOG522", UNUSED_IGNORE, INVALID_IGNORE, "IOG525", "IOG526", "IOG527", "IOG530", "IOG536"),
    *("IOG537", "IOG538", "IOG539"),
    *("IOG544", "IOG545", "IOG546", "IOG548", "IOG551", "IOG552", "IOG557", "IOG560"),
)
_ADVICE: Final = ("IOG528", "IOG529", "IOG531")

LINT_RULES: Final[Mapping[str, Level]] = {
    **dict.fromkeys(_WARNINGS, "warning"),
    **dict.fromkeys(_ADVICE, "advice"),
}
"""Severity of each rule, unless the settings change it."""

PARTLY_WARNINGS: Final = frozenset({"IOG315", "IOG318", "IOG321", "IOG366", "IOG367"})
"""Other codes of warnings that a comment can ignore: of some cases of errors, and of variables."""

_SEVERITY: Final = choice(OFF, "advice", "warning", "error")


def _read_rule(value: Any) -> str:
    if value not in LINT_RULES:
        raise wrong_form("the code of a lint rule, such as IOG504")
    return str(value)


LINT: Final = replace(
    map_of(
        ValueType(read=_read_rule, form="text", schema=lambda: {"enum": sorted(LINT_RULES)}),
        _SEVERITY,
        "a map of rule to off, advice, warning or error",
    ),
    schema=lambda: {
        "type": "object",
        "propertyNames": {"enum": sorted(LINT_RULES)},
        "additionalProperties": _SEVERITY.schema(),
    },
)
