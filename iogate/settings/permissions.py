"""The setting `allow_run`: which processes workflows may start, by kind or by the digest of each one.

Read by the compiler's checks, by effects, and by commands. Pure. Invariant: a kind that is not listed is
not allowed, and a kind with a list of digests allows nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from iogate.value_types.collection_types import ValueType, distinct
from iogate.value_types.faults import Fault, InvalidValue
from iogate.value_types.scalar_types import choice

Runnable = Literal["script", "shell", "container"]
AllowRun: TypeAlias = "tuple[Runnable, ...] | Mapping[Runnable, bool | tuple[str, ...]]"
"""Kinds that are allowed, or by kind: all of them, none, or those with these digests."""

KINDS: Final[tuple[Runnable, ...]] = ("script", "shell", "container")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_LIST: Final = distinct(choice(*KINDS), "a list of script, shell, container")
_EXPECTED: Final = "true, false, or a list of digests, each sha256: and 64 hexadecimal digits"


def allowed_digests(allow_run: AllowRun, kind: str) -> tuple[str, ...] | None:
    """Return the digests that the setting `allow_run` permits for a kind of process; None: all of them."""
    if isinstance(allow_run, tuple):
        return None if kind in allow_run else ()
    found = {str(name): value for name, value in allow_run.items()}.get(kind, False)
    return found if isinstance(found, tuple) else None if found else ()


def lists_digests(allow_run: AllowRun, kind: str) -> bool:
    """Tell whether the permission `allow_run` lists the processes of a kind by digest."""
    return not isinstance(allow_run, tuple) and any(
        name == kind and isinstance(each, tuple) for name, each in allow_run.items()
    )


def allows_kind(allow_run: AllowRun, kind: str) -> bool:
    """Tell whether the setting `allow_run` permits any process of this kind."""
    return allowed_digests(allow_run, kind) != ()


def describe(allow_run: AllowRun) -> str:
    """Describe in words the processes that the setting `allow_run` permits."""
    named: list[str] = []
    for kind in KINDS:
        digests = allowed_digests(allow_run, kind)
        if digests is None:
            named.append(kind)
        elif digests:
            named.append(f"{kind} ({len(digests)} by digest)")
    return ", ".join(named) or "nothing"


def _read(value: Any) -> AllowRun:
    if not isinstance(value, Mapping):
        kinds: Any = _LIST.read(value)
        return tuple(kinds)
    found: dict[Runnable, bool | tuple[str, ...]] = {}
    faults: list[Fault] = []
    for kind, each in value.items():
        match each:
            case _ if kind not in KINDS:
                faults.append(Fault(kind="unknown", path=(kind,), choices=KINDS))
            case bool():
                found[kind] = each
            case list() | tuple() if all(isinstance(one, str) and _DIGEST.fullmatch(one) for one in each):
                found[kind] = tuple(dict.fromkeys(each))
            case _:
                faults.append(Fault(kind="format", path=(kind,), expected=_EXPECTED))
    if faults:
        raise InvalidValue(*faults)
    return found


def _schema() -> dict[str, Any]:
    digests = {"type": "array", "items": {"type": "string", "pattern": f"^{_DIGEST.pattern}$"}}
    either = {"anyOf": [{"type": "boolean"}, digests]}
    by_kind = {"type": "object", "properties": dict.fromkeys(KINDS, either), "additionalProperties": False}
    return {"anyOf": [_LIST.schema(), by_kind]}


ALLOW_RUN: Final[ValueType[AllowRun]] = ValueType(read=_read, form="list", schema=_schema)
