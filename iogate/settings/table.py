"""Table of the settings: a field with the default and a kind with the reader for each setting.

Secrets stay references: a value names the source of a secret, except in `link_key`, `previous_link_keys` and
a password in `redis_url`, which no message and no repr shows.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

from iogate.errors import ERROR_FAMILIES
from iogate.settings import events as eventing
from iogate.settings import kinds, redis_url

Runnable = Literal["script", "shell", "container"]


PROCESS_LIMITS: Mapping[str, Any] = {
    "memory": 1024**3,
    "cpu": 600.0,
    "file": 1024**3,
    "processes": 256,
}
"""Default limits: memory in bytes, processor time in seconds, file size in bytes, number of processes."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Validated values of all settings; the reference page `settings` documents them."""

    redis_url: str | None = field(default=None, repr=False)
    data_dir: Path = Path(".iogate")
    store_server: str | None = None
    store_memory: int | str = "60%"
    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str | None = None
    hosts: tuple[str, ...] = ()
    cors: tuple[str, ...] = ()
    body_budget: int = 64 * 1024 * 1024
    write_timeout: float = 30.0
    gateways: int = 1
    workers: int = 1
    concurrency: int = 100
    streams: int = 1000
    functions: tuple[str, ...] = ()
    secrets: Mapping[str, Any] = field(default_factory=dict)
    allow_run: tuple[Runnable, ...] = ()
    python: str | None = None
    process_environment: tuple[str, ...] = ()
    process_limits: Mapping[str, Any] = field(default_factory=lambda: dict(PROCESS_LIMITS))
    process_isolation: Literal["none", "user", "sandbox"] = "none"
    process_user: str = "nobody"
    worker_environment: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    endpoints: Mapping[str, str] = field(default_factory=dict)
    link_key: str | None = field(default=None, repr=False)
    previous_link_keys: tuple[str, ...] = field(default=(), repr=False)
    publish_key: Mapping[str, str] | None = None
    publishers: tuple[str, ...] = ()
    function_origins: tuple[str, ...] = ()
    events: Mapping[str, Any] = field(default_factory=dict, repr=False)
    durability: Literal["local", "replicated"] = "local"
    replicas: int = 1
    error_types: str = "open-workflow"
    log_format: Literal["text", "json"] | None = None
    access_log: Literal["off", "errors", "all"] = "errors"
    drain_timeout: float = 20.0
    """In seconds, as all durations."""

    @property
    def confirming(self) -> int:
        """Number of replicas that must confirm a write; 0 with `durability: local`."""
        return self.replicas if self.durability == "replicated" else 0


NAMES = tuple(f.name for f in fields(Settings))

SENSITIVE = frozenset({"redis_url", "link_key", "previous_link_keys", "publish_key", "secrets", "events"})
"""Settings whose values no message repeats, since they may contain a secret by mistake."""

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
    raise kinds.InvalidValue(f"{{env: NAME}} or {{file: PATH}} for the secret {json.dumps(name)}")


OWN_GATEWAY: Final = "gateway"
"""Target in `endpoints` that means the gateway of the same settings."""


def _endpoint(prefix: str, target: Any) -> str:
    for each in (prefix,) if target == OWN_GATEWAY else (prefix, target):
        if not isinstance(each, str) or not re.fullmatch(_URL, each):
            raise kinds.InvalidValue(
                "a map of URL prefix to URL prefix, each with http:// or https://, or to gateway"
            )
    return str(target)


def _read_events(value: Any) -> dict[str, Any]:
    try:
        return eventing.read(value)
    except eventing.InvalidValue as invalid:
        raise kinds.InvalidValue(str(invalid)) from None


def _read_host(value: Any) -> str:
    text: str = kinds.pattern("a host", _HOST).read(value)
    if "/" in text:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise kinds.InvalidValue("a network") from None
    return text


def _read_origins(value: Any) -> tuple[str, ...]:
    origins: tuple[str, ...] = _origins.read(["*"] if value == "*" else value)
    return origins


def _read_place(value: Any) -> dict[str, str]:
    try:
        return _secret("", value)
    except kinds.InvalidValue:
        raise kinds.InvalidValue("{env: NAME} or {file: PATH}") from None


_link_key = kinds.pattern("text of at least 32 characters", r"(?s).{32,}")
_host = kinds.Kind(read=_read_host, form="text", schema={"type": "string", "pattern": f"^(?:{_HOST})$"})
_text = kinds.pattern("text that is not empty", r"(?s).*\S.*")
_VARIABLES = "a list of names of environment variables, such as AWS_REGION or AWS_*"
_variable = kinds.pattern("a name of an environment variable", r"[A-Za-z_][A-Za-z0-9_]*\*?")
_module = kinds.pattern("a dotted module name", r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

_served_host = kinds.pattern(
    "a host name", r"\*|(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|[0-9A-Fa-f:.]+"
)
_origins = kinds.list_of(
    kinds.pattern("an origin", r"\*|https?://[^\s/?#]+"),
    "a list of origins, each http://HOST or https://HOST, or *",
)

_PROCESS_LIMITS: Mapping[str, kinds.Kind] = {
    "memory": kinds.size(low=16 * 1024**2),
    "cpu": kinds.duration(1, 366 * 86_400),
    "file": kinds.size(low=4096),
    "processes": kinds.number(1, 100_000),
}


def _read_process_limits(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value.keys() <= _PROCESS_LIMITS.keys():
        raise kinds.InvalidValue(
            "{memory: SIZE, cpu: TIME, file: SIZE, processes: NUMBER}, with no other key"
        )
    found = dict(PROCESS_LIMITS)
    for name, each in value.items():
        try:
            found[name] = _PROCESS_LIMITS[name].read(each)
        except kinds.InvalidValue as invalid:
            raise kinds.InvalidValue(f"{name} to be {invalid}") from None
    return found


KINDS: Mapping[str, kinds.Kind] = {
    "redis_url": kinds.pattern(
        "a URL with redis://, rediss://, unix:// or redis+sentinel://", redis_url.PATTERN
    ),
    "data_dir": _text,
    "store_server": _text,
    "store_memory": kinds.size_or_share(16 * 2**20),
    "host": kinds.pattern("a host name or an address", r"[^\s/]+"),
    "port": kinds.number(1, 65535),
    "public_url": kinds.pattern("a URL with http:// or https://", _URL),
    "hosts": kinds.list_of(_served_host, "a list of host names, each NAME, *.DOMAIN or *, without a port"),
    "cors": kinds.Kind(
        read=_read_origins, form="list", schema={"anyOf": [{"const": "*"}, dict(_origins.schema)]}
    ),
    "body_budget": kinds.size(1024 * 1024),
    "write_timeout": kinds.duration(1, 3600),
    "gateways": kinds.number(1, 256),
    "workers": kinds.number(1, 256),
    "concurrency": kinds.number(1, 10_000),
    "streams": kinds.number(1, 100_000),
    "functions": kinds.list_of(_module, "a list of dotted module names"),
    "secrets": kinds.mapping_of(_secret, "a map of name to {env: NAME} or {file: PATH}", _SECRET_SCHEMA),
    "allow_run": kinds.list_of(
        kinds.choice("script", "shell", "container"), "a list of script, shell, container"
    ),
    "python": _text,
    "process_environment": kinds.list_of(_variable, _VARIABLES),
    "process_limits": kinds.Kind(
        read=_read_process_limits,
        form="map",
        schema={
            "type": "object",
            "properties": {name: dict(kind.schema) for name, kind in _PROCESS_LIMITS.items()},
            "additionalProperties": False,
        },
    ),
    "process_isolation": kinds.choice("none", "user", "sandbox"),
    "process_user": kinds.pattern("a user name", r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?"),
    "worker_environment": kinds.list_of(_variable, _VARIABLES),
    "allow_hosts": kinds.list_of(
        _host, "a list of hosts, each HOST, HOST:PORT or NETWORK/BITS, without a scheme"
    ),
    "endpoints": kinds.mapping_of(
        _endpoint,
        "a map of URL prefix to URL prefix",
        {"anyOf": [{"const": OWN_GATEWAY}, {"type": "string", "pattern": _URL}]},
    ),
    "link_key": _link_key,
    "previous_link_keys": kinds.list_of(_link_key, "a list of texts of at least 32 characters"),
    "publish_key": kinds.Kind(read=_read_place, form="map", schema=_SECRET_SCHEMA),
    "publishers": kinds.list_of(
        kinds.pattern("a public key", r"ed25519:[A-Za-z0-9_-]{43}"),
        "a list of public keys, each ed25519: and 43 characters",
    ),
    "function_origins": kinds.list_of(
        kinds.pattern("a URL prefix", _URL), "a list of URL prefixes, each with http:// or https://"
    ),
    "events": kinds.Kind(read=_read_events, form="map", schema=eventing.SCHEMA),
    "durability": kinds.choice("local", "replicated"),
    "replicas": kinds.number(1, 16),
    "error_types": kinds.choice(*ERROR_FAMILIES),
    "log_format": kinds.choice("text", "json"),
    "access_log": kinds.choice("off", "errors", "all"),
    "drain_timeout": kinds.duration(1, 3600),
}
