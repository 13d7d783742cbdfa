"""Reading of settings, in order of precedence: flags, environment, `iogate.yaml`, defaults.

The command line reads the file and passes its mapping; child processes get the result in one variable.
Invariant: no message shows the value of a setting that may contain a secret.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, Final

from iogate.errors import InvalidFiles
from iogate.messages import nearest, shorten
from iogate.settings import project_environments
from iogate.settings.setting_types import OWN_GATEWAY
from iogate.settings.table import NAMES, SETTINGS, Settings
from iogate.settings.urls import gateway_url
from iogate.supervision import handover
from iogate.value_types.collection_types import Form, with_definitions
from iogate.value_types.faults import Fault, InvalidValue, ValuePath, type_name, wrong_form

FILE_NAME = "iogate.yaml"
PREFIX = "IOGATE_"
HANDOVER = "IOGATE_SETTINGS"
"""Variable with all settings as JSON, from a parent to its child processes."""

_NEAR = 0.72
"""Ratio of difflib; `prot` and `port` reach it."""
_INTERNAL = frozenset(
    PREFIX + name
    for name in (
        "CHILD",
        "TICK_FD",
        "LISTEN_FD",
        "CONSOLE_FD",
        "HANDOVER_FD",
        "PROCESS",
        "RUN_ID",
        "IDEMPOTENCY_KEY",
    )
)
"""Variables that processes of iogate set for their children."""
SERVER: Final = PREFIX + "SERVER"
TOKEN: Final = PREFIX + "TOKEN"
PROFILE: Final = PREFIX + "PROFILE"
"""Variables that choose the server of commands, its token, or a saved login."""

LINK_KEY_FILE = "link_key"
"""File in `data_dir` with the generated `link_key`."""

UNKNOWN_SETTING = "IOG190"
WRONG_SETTING = "IOG191"


def variable(name: str) -> str:
    """Return the environment variable that a setting is read from."""
    return PREFIX + name.upper()


def flag(name: str) -> str:
    """Return the command-line option that a setting is read from."""
    return "--" + name.replace("_", "-")


def read(
    file: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    *,
    place_of: Callable[[ValuePath], str] | None = None,
) -> Settings:
    """Read the settings from their three sources; an absent flag is None, an empty variable counts as unset.

    `place_of` returns the place of a value of the file, such as `iogate.yaml:9`.

    Raises InvalidFiles with one line per error: the place, the expected form, and the value.
    """
    values: dict[str, Any] = {}
    errors: list[str] = []
    code = WRONG_SETTING

    def take(name: str, value: Any, where: str, locate: Callable[[ValuePath], str] = lambda _: "") -> None:
        try:
            found = SETTINGS[name].type.read(value)
            values[name] = _folder(found) if name == "data_dir" else found
        except InvalidValue as invalid:
            errors.extend(
                locate((name, *fault.path)) + _describe(fault, name, value, where) for fault in invalid.faults
            )

    def in_file(path: ValuePath) -> str:
        return (FILE_NAME if place_of is None else place_of(path)) + ": "

    for name, value in (file or {}).items():
        if name not in SETTINGS:
            code = UNKNOWN_SETTING
            meant = _did_you_mean(str(name), NAMES, "settings")
            errors.append(f"{in_file((name,))}unknown setting {json.dumps(str(name))}{meant}")
        elif value is not None:
            take(name, value, name, in_file)
    for name in NAMES:
        given = (environment or {}).get(variable(name), "")
        if given:
            where = variable(name)
            if name == "port" and given.startswith("tcp://"):
                where += " (from a Kubernetes Service of this name? enableServiceLinks: false stops that)"
            try:
                take(name, _from_text(SETTINGS[name].type.form, given), where)
            except InvalidValue as invalid:
                errors.extend(_describe(fault, name, given, where) for fault in invalid.faults)
    for name, value in (flags or {}).items():
        if value is not None:
            take(name, value, flag(name))
    if errors:
        raise InvalidFiles("\n".join(errors), code=code)
    if values.get("public_url"):
        values["public_url"] = values["public_url"].rstrip("/")
    settings = Settings(**values)
    if settings.console_port == settings.port:
        raise InvalidFiles(
            f"console_port is {settings.port}, as port: choose another one, or leave it out, and operators "
            "use the port of callers",
            code=WRONG_SETTING,
        )
    if OWN_GATEWAY not in settings.endpoints.values():
        return settings
    own = gateway_url(settings)
    return replace(
        settings,
        endpoints={
            source: own if target == OWN_GATEWAY else target for source, target in settings.endpoints.items()
        },
    )


def _folder(path: str) -> Path:
    """Return the setting `data_dir`, with a home folder in place of `~`. Raises InvalidValue without one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # an unknown user, or no HOME and no account, as in some containers
        raise InvalidValue(
            Fault(
                kind="rule",
                message=f"this machine has no home folder for {json.dumps(Path(path).parts[0])}",
                hint="write the whole path",
            )
        ) from None


def misspelt(environment: Mapping[str, str]) -> list[str]:
    """Return a warning for each variable that is not read, but resembles that of a setting.

    Other variables with the prefix are ignored: a secret of the project may have such a name.
    """
    known = {variable(name) for name in NAMES} | {HANDOVER, project_environments.VARIABLE} | _INTERNAL
    known |= {SERVER, TOKEN, PROFILE}
    return [
        f'{name}: no such setting; did you mean "{variable(meant)}"?'
        for name in sorted(environment)
        if name.startswith(PREFIX) and name not in known and (meant := _meant(name)) is not None
    ]


def _meant(name: str) -> str | None:
    """Return the setting to read that a variable probably means: with a similar name, or this prefix."""
    given = name.removeprefix(PREFIX).lower()
    near = difflib.get_close_matches(given, NAMES, 1, _NEAR)
    begun = [each for each in NAMES if each.startswith(f"{given}_")]
    return next(iter((*near, *begun)), None)


def to_environment(settings: Settings) -> dict[str, str]:
    """Return the variable from which a child process reads all settings, with absolute paths."""
    values = {name: getattr(settings, name) for name in NAMES}
    values["data_dir"] = str(settings.data_dir.absolute())
    return {HANDOVER: json.dumps({name: value for name, value in values.items() if value is not None})}


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the variable of a parent process, else from one variable per setting.

    Raises InvalidFiles as `read` does.
    """
    source = os.environ if environment is None else environment
    handed_over = source.get(HANDOVER) or handover.variables().get(HANDOVER)
    if handed_over:
        return read(json.loads(handed_over))
    return read(environment=source)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the settings that are read from `iogate.yaml`, for editors."""
    from iogate.auth.reader import DEFINITIONS  # noqa: PLC0415 - as the type of `events`

    found = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of iogate",
        "type": "object",
        "properties": {
            each.name: {
                **SETTINGS[each.name].type.schema(),
                "description": SETTINGS[each.name].description,
                **_default(each.default),
            }
            for each in fields(Settings)
        },
        "additionalProperties": False,
    }
    return with_definitions(found, DEFINITIONS)


def _default(value: Any) -> dict[str, Any]:
    if value is MISSING or value is None:
        return {}
    return {"default": str(value) if isinstance(value, Path) else value}


def _from_text(form: Form, text: str) -> Any:
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
                raise wrong_form(f"a {form} in JSON") from None


def _describe(fault: Fault, name: str, value: Any, where: str) -> str:
    """Return place and text of an error in a setting that was read; `where` is the place of the value."""
    *above, last = fault.path or ("",)
    match fault.kind:
        case "missing":
            return f"{_join(where, above)}: missing key {json.dumps(last)}"
        case "unknown":
            meant = _did_you_mean(str(last), fault.choices, "keys")
            return f"{_join(where, above)}: unknown key {json.dumps(last)}{meant}"
        case "rule":
            hint = f"; {fault.hint}" if fault.hint else ""
            return f"{_join(where, fault.path)}: {fault.message}{hint}"
        case "empty":
            return f"{_join(where, fault.path)}: the list is empty"
        case _:
            form = fault.expected or ("one of " + ", ".join(fault.choices) if fault.choices else "a value")
            if fault.on_key:
                return f"{_join(where, above)}: expected each name to be {form}"
            return (
                f"{_join(where, fault.path)}: expected {form}, got {_shown(name, _below(value, fault.path))}"
            )


def _join(where: str, path: Iterable[str | int]) -> str:
    """Return the place of a part of a setting that was read, such as `events.auth.any[0]`."""
    return where + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def _below(value: Any, path: ValuePath) -> Any:
    for step in path:
        value = value[step]
    return value


def _shown(name: str, value: Any) -> str:
    if SETTINGS[name].sensitive:
        return f"a value of {len(value)} characters" if isinstance(value, str) else type_name(value)
    return shorten(json.dumps(value, ensure_ascii=False, default=str), 80)


def _did_you_mean(name: str, choices: Iterable[str], what: str) -> str:
    choices = tuple(choices)
    near = nearest(name, choices)
    return f'; did you mean "{near}"?' if near else f"; {what} are {', '.join(choices)}"
