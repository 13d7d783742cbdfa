"""The table of settings: name, default, type, and description of each one.

A new setting is one field of `Settings`: the reader, its variable `IOGATE_NAME`, the JSON Schema and the
messages follow from it; tests compare the reference page with it. Secrets stay references, except in
`link_key`, `previous_link_keys` and a password in `redis_url`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

from iogate.errors import ERROR_FAMILIES
from iogate.settings import redis_url as redis_urls
from iogate.settings.lint_rules import LINT
from iogate.settings.permissions import ALLOW_RUN, AllowRun
from iogate.settings.setting_types import (
    ENDPOINTS,
    HOST,
    LIMITS,
    LINK_KEY,
    NETWORKS,
    ORIGINS,
    PROCESS_LIMITS,
    REFERENCE,
    TEXT,
    TLS,
    URL,
    VARIABLES,
    VARS,
)
from iogate.value_types.collection_types import ValueType, deferred, distinct, map_of
from iogate.value_types.scalar_types import (
    boolean,
    choice,
    duration,
    number,
    pattern,
    size,
    size_or_share,
    text,
)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Declaration of one setting."""

    type: ValueType[Any]
    description: str
    sensitive: bool
    """No message repeats the value, since it may contain a secret, if only by mistake."""


def _setting(
    type_: ValueType[Any],
    description: str,
    *,
    default: Any = None,
    make: Callable[[], Any] | None = None,
    sensitive: bool = False,
) -> Any:
    """Declare a setting of the table; `make` returns a default that is not immutable."""
    metadata = {"setting": Setting(type=type_, description=description, sensitive=sensitive)}
    if make is not None:
        return field(default_factory=make, repr=not sensitive, metadata=metadata)
    return field(default=default, repr=not sensitive, metadata=metadata)


def _events() -> ValueType[Any]:
    from iogate.settings.events import EVENTS  # noqa: PLC0415 - few projects have events, and it takes time

    return EVENTS


def _operators() -> ValueType[Any]:
    from iogate.settings.operators import OPERATORS  # noqa: PLC0415 - likewise

    return OPERATORS


PROJECT_NAME: Final = pattern(
    "a name of letters, digits and dashes", r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Validated values of all settings; the reference page `settings` documents them."""

    project: str = _setting(
        PROJECT_NAME,
        "Owner of the published APIs and workflows, for several projects in one store.",
        default="default",
    )
    redis_url: str | None = _setting(
        pattern("a URL with redis://, rediss://, unix:// or redis+sentinel://", redis_urls.PATTERN),
        "The store: redis://, rediss://, unix:// or, behind sentinels, redis+sentinel://.",
        sensitive=True,
    )
    data_dir: Path = _setting(  # noqa: RUF009 - it returns a field
        TEXT, "Folder for the data of this machine.", default=Path(".iogate")
    )
    store_server: str | None = _setting(TEXT, "Binary of the embedded store.")
    store_memory: int | str = _setting(
        size_or_share(16 * 2**20), "Memory limit of the embedded store.", default="60%"
    )
    host: str = _setting(
        pattern("a host name or an address", r"[^\s/]+"),
        "Address that the gateway listens on.",
        default="127.0.0.1",
    )
    port: int = _setting(number(1, 65535), "Port that the gateway listens on.", default=8000)
    console_port: int | None = _setting(
        number(1, 65535),
        "Port of its own for the console and the HTTP API of operators, which are then not on the other one.",
    )
    tls: Mapping[str, str] | None = _setting(
        TLS, "Certificate, with its chain, and key of the gateway, for HTTPS."
    )
    http2: bool = _setting(
        boolean(), "Whether the gateway speaks HTTP/2 in addition to HTTP/1.1.", default=False
    )
    public_url: str | None = _setting(URL, "URL under which callers reach the gateway.")
    hosts: tuple[str, ...] = _setting(
        distinct(
            pattern("a host name", r"\*|(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|[0-9A-Fa-f:.]+"),
            "a list of host names, each NAME, *.DOMAIN or *, without a port",
        ),
        "Host names that the gateway accepts.",
        default=(),
    )
    cors: tuple[str, ...] = _setting(
        ORIGINS, "Origins whose web pages may call the gateway from a browser.", default=()
    )
    trusted_proxies: tuple[str, ...] = _setting(
        NETWORKS, "Networks of the proxies whose headers name the address of the client.", default=()
    )
    body_budget: int = _setting(
        size(1024 * 1024),
        "Limit for the bytes of request bodies that each gateway process holds at once.",
        default=64 * 1024 * 1024,
    )
    response_budget: int = _setting(
        size(1024 * 1024),
        "Limit for the bytes of large responses and streams in each gateway process.",
        default=16 * 1024 * 1024,
    )
    write_timeout: float = _setting(
        duration(1, 3600),
        "Time after which the gateway closes a connection whose caller reads nothing, or too slowly.",
        default=30.0,
    )
    gateways: int = _setting(number(1, 256), "Gateway processes of up and serve.", default=1)
    workers: int = _setting(number(1, 256), "Worker processes of up and worker.", default=1)
    concurrency: int = _setting(
        number(1, 10_000), "Maximum number of concurrent runs in each worker process.", default=100
    )
    streams: int = _setting(
        number(1, 100_000),
        "Maximum number of concurrent event streams in each gateway process.",
        default=1000,
    )
    functions: tuple[str, ...] = _setting(
        distinct(
            pattern("a dotted module name", r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"), "a list of dotted module names"
        ),
        "Python modules with functions that workflows may call.",
        default=(),
    )
    secrets: Mapping[str, Any] = _setting(
        map_of(text(), REFERENCE, "a map of name to {env: NAME} or {file: PATH}"),
        "Sources of the names in use.secrets of a workflow.",
        make=dict,
        sensitive=True,
    )
    vars: Mapping[str, Any] = _setting(
        VARS, "Values that expressions read as $runtime.vars.NAME.", make=dict, sensitive=True
    )
    allow_run: AllowRun = _setting(  # noqa: RUF009 - it returns a field
        ALLOW_RUN, "Processes that workflows may start.", default=()
    )
    python: str | None = _setting(TEXT, "Interpreter for Python scripts.")
    process_environment: tuple[str, ...] = _setting(
        VARIABLES, "Environment variables that shell commands and scripts receive.", default=()
    )
    process_limits: Mapping[str, Any] = _setting(
        LIMITS, "Limits of each shell command and script.", make=lambda: dict(PROCESS_LIMITS)
    )
    process_isolation: Literal["none", "user", "sandbox"] = _setting(
        choice("none", "user", "sandbox"), "Isolation of shell commands and scripts.", default="none"
    )
    process_user: str = _setting(
        pattern("a user name", r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?"),
        "User of shell commands and scripts.",
        default="nobody",
    )
    worker_environment: tuple[str, ...] = _setting(
        VARIABLES, "Environment variables that workers, and therefore Python functions, receive.", default=()
    )
    allow_hosts: tuple[str, ...] = _setting(
        distinct(HOST, "a list of hosts, each HOST, HOST:PORT or NETWORK/BITS, without a scheme"),
        "Hosts that URLs with a host from data may reach.",
        default=(),
    )
    endpoints: Mapping[str, str] = _setting(
        ENDPOINTS, "{URL prefix: URL prefix}: redirects the calls of workflows.", make=dict
    )
    link_key: str | None = _setting(
        LINK_KEY, "Signs the links to runs and the objects in the store.", sensitive=True
    )
    previous_link_keys: tuple[str, ...] = _setting(
        distinct(LINK_KEY, "a list of texts of at least 32 characters"),
        "Keys that iogate accepts but does not sign with.",
        default=(),
        sensitive=True,
    )
    publish_key: Mapping[str, str] | None = _setting(
        REFERENCE, "Private key from iogate secret pair.", sensitive=True
    )
    publishers: tuple[str, ...] = _setting(
        distinct(
            pattern("a public key", r"ed25519:[A-Za-z0-9_-]{43}"),
            "a list of public keys, each ed25519: and 43 characters",
        ),
        "Public keys.",
        default=(),
        sensitive=True,  # somebody may enter the private key, which no message may show
    )
    function_origins: tuple[str, ...] = _setting(
        distinct(
            URL,
            "a list of URL prefixes, each with http:// or https://",
        ),
        "URL prefixes of external functions that may run shell commands, scripts, containers and workflows, "
        "emit events and listen for them.",
        default=(),
    )
    events: Mapping[str, Any] = _setting(
        deferred(_events),
        "Who may send events, and where events are delivered to.",
        make=dict,
        sensitive=True,
    )
    operators: Mapping[str, Any] = _setting(
        deferred(_operators),
        "Who may operate the system over HTTP, and in which role.",
        make=dict,
        sensitive=True,
    )
    durability: Literal["local", "replicated"] = _setting(
        choice("local", "replicated"), "When a call counts as stored.", default="local"
    )
    replicas: int = _setting(number(1, 16), "Number of replicas that must confirm.", default=1)
    error_types: str = _setting(
        choice(*ERROR_FAMILIES), "Family of URIs for errors of the standard.", default="open-workflow"
    )
    lint: Mapping[str, str] = _setting(LINT, "Severities of lint rules.", make=dict)
    log_format: Literal["text", "json"] | None = _setting(choice("text", "json"), "Format of the log.")
    access_log: Literal["off", "errors", "all"] = _setting(
        choice("off", "errors", "all"), "Log records of the gateway for requests.", default="errors"
    )
    drain_timeout: float = _setting(
        duration(1, 3600),
        "Time that a stopping worker gives its runs, and a stopping gateway its requests, to finish.",
        default=20.0,
    )

    @property
    def confirming(self) -> int:
        """Number of replicas that must confirm a write, by the settings; 0 with `durability: local`."""
        return self.replicas if self.durability == "replicated" else 0


SETTINGS: Final[Mapping[str, Setting]] = {each.name: each.metadata["setting"] for each in fields(Settings)}
NAMES: Final = tuple(SETTINGS)
SENSITIVE: Final[Mapping[str, bool]] = {name: each.sensitive for name, each in SETTINGS.items()}
"""Whether the value of each setting may be a secret, which no message repeats."""
