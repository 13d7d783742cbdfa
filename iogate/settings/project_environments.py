"""Environments of a project: `iogate.NAME.yaml` on top of `iogate.yaml`, and the checks of `vars`.

The command line reads the files and passes their mappings. Pure. Invariant: no message shows the value of a
variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from iogate.errors import Misused
from iogate.messages import nearest, quoted
from iogate.security.redaction_patterns import is_secret, redact_text, redact_url
from iogate.value_types.faults import ValuePath

VARIABLE: Final = "IOGATE_ENV"
"""Environment variable with the name of the environment, if the option `--env` is absent."""
VARS: Final = "vars"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_REPLACED: Final = frozenset({"publish_key"})
"""Settings whose map is one value: a reference to a secret."""


def file_name(environment: str) -> str:
    """Return the name of the file with the settings of an environment.

    Raises Misused if the name of the environment cannot be part of a file name.
    """
    if not _NAME.fullmatch(environment):
        raise Misused(
            f"environment {quoted(environment)}: expected a name of letters, digits, - and _",
            hint="--env staging reads iogate.staging.yaml",
        )
    return f"iogate.{environment}.yaml"


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of `iogate.yaml` with those of an environment on top.

    A map gets the keys of the environment's map, and `vars` on all levels; any other value replaces, and
    null sets a setting to its default.
    """
    merged = dict(base)
    for name, value in over.items():
        below = base.get(name)
        if not isinstance(value, Mapping) or not isinstance(below, Mapping) or name in _REPLACED:
            merged[name] = value
        elif name == VARS:
            merged[name] = _merge_deeply(below, value)
        else:
            merged[name] = {**below, **value}
    return merged


def _merge_deeply(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        below = base.get(name)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        merged[name] = _merge_deeply(below, value) if both else value  # type: ignore[arg-type] # both are maps
    return merged


def undeclared(base: Mapping[str, Any], over: Mapping[str, Any]) -> Iterator[tuple[ValuePath, str, str]]:
    """Yield path, code and message of each `vars` entry of an environment that `base` does not declare."""
    declared, given = base.get(VARS) or {}, over.get(VARS) or {}
    if not isinstance(declared, Mapping) or not isinstance(given, Mapping):
        return
    for name in given:
        if name not in declared:
            near = nearest(str(name), [str(each) for each in declared])
            meant = f'; did you mean "{near}"?' if near else "; declare it there, with a default"
            yield (VARS, name), "IOG367", f"iogate.yaml has no variable {quoted(name)}{meant}"


def revealing(settings: Mapping[str, Any]) -> Iterator[tuple[ValuePath, str, str]]:
    """Yield path, code and message of each value in an environment's `vars` that looks like a secret."""
    variables = settings.get(VARS)
    for path in _secret_paths(variables, ()) if isinstance(variables, Mapping) else ():
        yield (
            (VARS, *path),
            "IOG366",
            "the value looks like a secret, and variables are stored and shown in clear; "
            'use the setting "secrets" and $secrets',
        )


def _secret_paths(value: Any, path: ValuePath) -> Iterator[ValuePath]:
    match value:
        case Mapping():
            for name, member in value.items():
                plain = isinstance(member, str | int | float) and not isinstance(member, bool)
                if plain and member != "" and is_secret(str(name)):
                    yield (*path, name)
                else:
                    yield from _secret_paths(member, (*path, name))
        case list() | tuple():
            for index, item in enumerate(value):
                yield from _secret_paths(item, (*path, index))
        case str() if redact_url(value) != value or redact_text(value) != value or "PRIVATE KEY--" in value:
            yield path
