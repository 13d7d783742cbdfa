"""Settings of a project: flags beat environment, environment beats `iogate.yaml`, which beats defaults.

This module knows names, types and defaults; the command line reads the file and hands over its
mapping, children get the result in one variable. Secrets stay references: what is read here says
where a secret is, never what it is, except `link_key` and a password inside `redis_url`, which no
message and no repr shows.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from iogate import eventing
from iogate.errors import ERROR_FAMILIES, InvalidFiles

Runnable = Literal["script", "shell", "container"]

FILE_NAME = "iogate.yaml"
PREFIX = "IOGATE_"
HANDOVER = "IOGATE_SETTINGS"
"""Carries the whole settings, as JSON, from a parent to the processes that it starts."""

LINK_KEY_FILE = "link_key"
"""File in `data_dir` that holds the generated `link_key`."""

UNKNOWN_SETTING = "IOG190"
WRONG_SETTING = "IOG191"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value for each setting; the reference page `settings` says what each is for."""

    redis_url: str | None = field(default=None, repr=False)
    data_dir: Path = Path(".iogate")
    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str | None = None
    gateways: int = 1
    workers: int = 1
    concurrency: int = 100
    functions: tuple[str, ...] = ()
    secrets: Mapping[str, Any] = field(default_factory=dict)
    allow_run: tuple[Runnable, ...] = ()
    python: str | None = None
    allow_hosts: tuple[str, ...] = ()
    endpoints: Mapping[str, str] = field(default_factory=dict)
    link_key: str | None = field(default=None, repr=False)
    events: Mapping[str, Any] = field(default_factory=dict, repr=False)
    error_types: str = "open-workflow"
    log_format: Literal["text", "json"] | None = None


NAMES = tuple(f.name for f in fields(Settings))

SENSITIVE = frozenset({"redis_url", "link_key", "secrets", "events"})
"""Settings whose value no message repeats: a literal secret may stand in them by mistake."""


class _UnexpectedError(Exception):
    """A value that does not fit; says what was expected."""


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """How one setting is read: `form` is its shape in YAML, `schema` the same for editors."""

    read: Callable[[Any], Any]
    form: Literal["text", "number", "list", "map"]
    schema: Mapping[str, Any]


def _pattern(expected: str, pattern: str) -> _Kind:
    compiled = re.compile(pattern)

    def read(value: Any) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise _UnexpectedError(expected)
        return value

    return _Kind(read=read, form="text", schema={"type": "string", "pattern": f"^(?:{pattern})$"})


def _number(low: int, high: int) -> _Kind:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _UnexpectedError(f"a whole number from {low} to {high}")
        return value

    return _Kind(read=read, form="number", schema={"type": "integer", "minimum": low, "maximum": high})


def _choice(*choices: str) -> _Kind:
    def read(value: Any) -> str:
        if value not in choices:
            raise _UnexpectedError("one of " + ", ".join(choices))
        return str(value)

    return _Kind(read=read, form="text", schema={"enum": list(choices)})


def _list(item: _Kind, expected: str) -> _Kind:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise _UnexpectedError(expected)
        try:
            return tuple(dict.fromkeys(item.read(each) for each in value))
        except _UnexpectedError:
            raise _UnexpectedError(expected) from None

    return _Kind(read=read, form="list", schema={"type": "array", "items": dict(item.schema)})


def _map(
    read_item: Callable[[str, Any], Any], expected: str, properties: Mapping[str, Any] | None = None
) -> _Kind:
    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise _UnexpectedError(expected)
        return {key: read_item(key, each) for key, each in value.items()}

    return _Kind(read=read, form="map", schema={"type": "object", "additionalProperties": properties or True})


_URL = r"https?://[^\s/?#]+[^\s?#]*"
_HOST = r"[^\s/:]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?|[0-9A-Fa-f.:]+/\d{1,3}"
_SECRET_SCHEMA = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {"env": {"type": "string"}, "file": {"type": "string"}},
    "additionalProperties": False,
}


def _secret(name: str, value: Any) -> dict[str, str]:
    match value:
        case {"env": str(variable)} if len(value) == 1 and variable:
            return {"env": variable}
        case {"file": str(path)} if len(value) == 1 and path:
            return {"file": path}
    raise _UnexpectedError(f"{{env: NAME}} or {{file: PATH}} for the secret {json.dumps(name)}")


def _endpoint(prefix: str, target: Any) -> str:
    for each in (prefix, target):
        if not isinstance(each, str) or not re.fullmatch(_URL, each):
            raise _UnexpectedError("a map of URL prefix to URL prefix, each with http:// or https://")
    return str(target)


def _read_events(value: Any) -> dict[str, Any]:
    try:
        return eventing.read(value)
    except eventing.Unexpected as unexpected:
        raise _UnexpectedError(str(unexpected)) from None


def _read_host(value: Any) -> str:
    text: str = _pattern("a host", _HOST).read(value)
    if "/" in text:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise _UnexpectedError("a network") from None
    return text


_host = _Kind(read=_read_host, form="text", schema={"type": "string", "pattern": f"^(?:{_HOST})$"})
_text = _pattern("text that is not empty", r"(?s).*\S.*")
_module = _pattern("a dotted module name", r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

_KINDS: Mapping[str, _Kind] = {
    "redis_url": _pattern("a URL with redis://, rediss:// or unix://", r"(redis|rediss|unix)://\S+"),
    "data_dir": _text,
    "host": _pattern("a host name or an address", r"[^\s/]+"),
    "port": _number(1, 65535),
    "public_url": _pattern("a URL with http:// or https://", _URL),
    "gateways": _number(1, 256),
    "workers": _number(1, 256),
    "concurrency": _number(1, 10_000),
    "functions": _list(_module, "a list of dotted module names"),
    "secrets": _map(_secret, "a map of name to {env: NAME} or {file: PATH}", _SECRET_SCHEMA),
    "allow_run": _list(_choice("script", "shell", "container"), "a list of script, shell, container"),
    "python": _text,
    "allow_hosts": _list(_host, "a list of hosts, each HOST, HOST:PORT or NETWORK/BITS, without a scheme"),
    "endpoints": _map(_endpoint, "a map of URL prefix to URL prefix", {"type": "string", "pattern": _URL}),
    "link_key": _pattern("text of at least 32 characters", r"(?s).{32,}"),
    "events": _Kind(read=_read_events, form="map", schema=eventing.SCHEMA),
    "error_types": _choice(*ERROR_FAMILIES),
    "log_format": _choice("text", "json"),
}


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def flag(name: str) -> str:
    """The option of a setting, where a command has one."""
    return "--" + name.replace("_", "-")


def read(
    file: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    *,
    lines: Mapping[str, int] | None = None,
) -> Settings:
    """Merge the three sources; an absent flag is None, an empty variable counts as unset.

    Raises InvalidFiles with one line for each fault: where, what was expected, what was found.
    """
    values: dict[str, Any] = {}
    faults: list[str] = []
    code = WRONG_SETTING

    def take(name: str, value: Any, where: str) -> None:
        try:
            values[name] = _KINDS[name].read(value)
        except _UnexpectedError as unexpected:
            faults.append(f"{where}: expected {unexpected}, got {_shown(name, value)}")

    for name, value in (file or {}).items():
        place = FILE_NAME + (f":{lines[name]}" if lines and name in lines else "")
        if name not in _KINDS:
            code = UNKNOWN_SETTING
            faults.append(f"{place}: unknown setting {json.dumps(str(name))}{_did_you_mean(str(name))}")
        elif value is not None:
            take(name, value, f"{place}: {name}")
    for name in NAMES:
        text = (environment or {}).get(variable(name), "")
        if text:
            where = variable(name)
            if name == "port" and text.startswith("tcp://"):
                where += " (from a Kubernetes Service of this name? enableServiceLinks: false stops that)"
            try:
                take(name, _from_text(_KINDS[name].form, text), where)
            except _UnexpectedError as unexpected:
                faults.append(f"{where}: expected {unexpected}, got {_shown(name, text)}")
    for name, value in (flags or {}).items():
        if value is not None:
            take(name, value, flag(name))
    if faults:
        raise InvalidFiles("\n".join(faults), code=code)
    if values.get("public_url"):
        values["public_url"] = values["public_url"].rstrip("/")
    if "data_dir" in values:
        values["data_dir"] = Path(values["data_dir"]).expanduser()
    return Settings(**values)


def misspelt(environment: Mapping[str, str]) -> list[str]:
    """A line for each variable that is nearly the name of a setting, so that a typing error is seen."""
    known = {variable(name) for name in NAMES} | {HANDOVER}
    return [
        f"{name}: no such setting{_did_you_mean(name.removeprefix(PREFIX).lower(), as_variable=True)}"
        for name in sorted(environment)
        if name.startswith(PREFIX)
        and name not in known
        and difflib.get_close_matches(name.removeprefix(PREFIX).lower(), NAMES, 1, 0.85)
    ]


def to_environment(settings: Settings) -> dict[str, str]:
    """What a parent adds to a child's environment; paths are made absolute."""
    values = {name: getattr(settings, name) for name in NAMES}
    values["data_dir"] = str(settings.data_dir.absolute())
    return {HANDOVER: json.dumps({name: value for name, value in values.items() if value is not None})}


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings that a parent handed over; without them, what the environment's variables say."""
    source = os.environ if environment is None else environment
    if HANDOVER in source:
        return read(json.loads(source[HANDOVER]))
    return read(environment=source)


def schema() -> dict[str, Any]:
    """JSON Schema of `iogate.yaml` for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of iogate",
        "type": "object",
        "properties": {name: dict(kind.schema) for name, kind in _KINDS.items()},
        "additionalProperties": False,
    }


def _from_text(form: Literal["text", "number", "list", "map"], text: str) -> Any:
    match form:
        case "text":
            return text
        case "number":
            return int(text) if re.fullmatch(r"-?\d{1,18}", text.strip()) else text
        case "list" | "map":
            try:
                return json.loads(text)
            except ValueError:
                raise _UnexpectedError(f"a {form} in JSON") from None


def _shown(name: str, value: Any) -> str:
    if name in SENSITIVE:
        return f"a value of {len(value)} characters" if isinstance(value, str) else "something else"
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return shown if len(shown) <= 80 else shown[:77] + "…"


def _did_you_mean(name: str, *, as_variable: bool = False) -> str:
    near = difflib.get_close_matches(name, NAMES, 1)
    if not near:
        return "; settings are " + ", ".join(NAMES)
    return f'; did you mean "{variable(near[0]) if as_variable else near[0]}"?'
