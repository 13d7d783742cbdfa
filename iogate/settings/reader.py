"""Reading of settings, in order of precedence: flags, environment, `iogate.yaml`, deerrors.

The command line reads the file and passes its mapping; child processes get the result in one variable.
Invariant: no message shows the value of a setting that may contain a secret.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from iogate.errors import InvalidFiles
from iogate.settings import kinds
from iogate.settings.table import KINDS, NAMES, OWN_GATEWAY, SENSITIVE, Settings
from iogate.settings.urls import gateway_url
from iogate.supervision import handover

FILE_NAME = "iogate.yaml"
PREFIX = "IOGATE_"
HANDOVER = "IOGATE_SETTINGS"
"""Variable with all settings as JSON, from a parent to its child processes."""

_NEAR = 0.72
"""Ratio of difflib; `prot` and `port` reach it."""
_INTERNAL = frozenset(
    PREFIX + name
    for name in ("CHILD", "TICK_FD", "LISTEN_FD", "HANDOVER_FD", "PROCESS", "RUN_ID", "IDEMPOTENCY_KEY")
)
"""Variables that processes of iogate set for their children."""

LINK_KEY_FILE = "link_key"
"""File in `data_dir` with the generated `link_key`."""

UNKNOWN_SETTING = "IOG190"
WRONG_SETTING = "IOG191"


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


def flag(name: str) -> str:
    """Return the command-line option of a setting."""
    return "--" + name.replace("_", "-")


def read(
    file: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    *,
    lines: Mapping[str, int] | None = None,
) -> Settings:
    """Merge the three sources; an absent flag is None, an empty variable counts as unset.

    Raises InvalidFiles with one line per error: the place, the expected form, and the value.
    """
    values: dict[str, Any] = {}
    errors: list[str] = []
    code = WRONG_SETTING

    def take(name: str, value: Any, where: str) -> None:
        try:
            values[name] = KINDS[name].read(value)
        except kinds.InvalidValue as invalid:
            errors.append(f"{where}: expected {invalid}, got {_shown(name, value)}")

    for name, value in (file or {}).items():
        place = FILE_NAME + (f":{lines[name]}" if lines and name in lines else "")
        if name not in KINDS:
            code = UNKNOWN_SETTING
            errors.append(f"{place}: unknown setting {json.dumps(str(name))}{_did_you_mean(str(name))}")
        elif value is not None:
            take(name, value, f"{place}: {name}")
    for name in NAMES:
        text = (environment or {}).get(variable(name), "")
        if text:
            where = variable(name)
            if name == "port" and text.startswith("tcp://"):
                where += " (from a Kubernetes Service of this name? enableServiceLinks: false stops that)"
            try:
                take(name, _from_text(KINDS[name].form, text), where)
            except kinds.InvalidValue as invalid:
                errors.append(f"{where}: expected {invalid}, got {_shown(name, text)}")
    for name, value in (flags or {}).items():
        if value is not None:
            take(name, value, flag(name))
    if errors:
        raise InvalidFiles("\n".join(errors), code=code)
    if values.get("public_url"):
        values["public_url"] = values["public_url"].rstrip("/")
    if "data_dir" in values:
        values["data_dir"] = Path(values["data_dir"]).expanduser()
    settings = Settings(**values)
    if OWN_GATEWAY not in settings.endpoints.values():
        return settings
    own = gateway_url(settings)
    return replace(
        settings,
        endpoints={
            source: own if target == OWN_GATEWAY else target for source, target in settings.endpoints.items()
        },
    )


def misspelt(environment: Mapping[str, str]) -> list[str]:
    """Return a warning for each variable whose name resembles that of a setting.

    Other variables with the prefix are ignored: a secret of the project may have such a name.
    """
    known = {variable(name) for name in NAMES} | {HANDOVER} | _INTERNAL
    return [
        f'{name}: no such setting; did you mean "{variable(meant)}"?'
        for name in sorted(environment)
        if name.startswith(PREFIX) and name not in known and (meant := _meant(name)) is not None
    ]


def _meant(name: str) -> str | None:
    """Return the setting that a variable probably means: one with a similar name, or this prefix."""
    given = name.removeprefix(PREFIX).lower()
    near = difflib.get_close_matches(given, NAMES, 1, _NEAR)
    begun = [each for each in NAMES if each.startswith(f"{given}_")]
    return next(iter((*near, *begun)), None)


def to_environment(settings: Settings) -> dict[str, str]:
    """Return the variable that hands settings to a child process, with absolute paths."""
    values = {name: getattr(settings, name) for name in NAMES}
    values["data_dir"] = str(settings.data_dir.absolute())
    return {HANDOVER: json.dumps({name: value for name, value in values.items() if value is not None})}


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings handed over by the parent, else those in the environment variables.

    Raises InvalidFiles as `read` does.
    """
    source = os.environ if environment is None else environment
    handed_over = source.get(HANDOVER) or handover.variables().get(HANDOVER)
    if handed_over:
        return read(json.loads(handed_over))
    return read(environment=source)


def secret_variables(settings: Settings) -> tuple[str, ...]:
    """Return the environment variables that workers need for `secrets` and the headers of sinks."""
    sinks = (settings.events.get("sinks") or {}).values()
    references = [*settings.secrets.values(), *(each for sink in sinks for each in _headers(sink))]
    names = (each.get("env") for each in references if isinstance(each, Mapping))
    return tuple(name for name in names if name is not None)


def _headers(sink: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple((sink.get("headers") or {}).values())


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `iogate.yaml` for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of iogate",
        "type": "object",
        "properties": {name: dict(kind.schema) for name, kind in KINDS.items()},
        "additionalProperties": False,
    }


def _from_text(form: kinds.Form, text: str) -> Any:
    match form:
        case "text":
            return text
        case "number":
            return int(text) if re.fullmatch(r"-?\d{1,18}", text.strip()) else text
        case "boolean":
            return {"true": True, "false": False}.get(text.strip().lower(), text)
        case "list" | "map":
            try:
                return json.loads(text)
            except ValueError:
                raise kinds.InvalidValue(f"a {form} in JSON") from None


def _shown(name: str, value: Any) -> str:
    if name in SENSITIVE:
        return f"a value of {len(value)} characters" if isinstance(value, str) else "something else"
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return shown if len(shown) <= 80 else shown[:77] + "…"


def _did_you_mean(name: str) -> str:
    near = difflib.get_close_matches(name, NAMES, 1)
    if not near:
        return "; settings are " + ", ".join(NAMES)
    return f'; did you mean "{near[0]}"?'
