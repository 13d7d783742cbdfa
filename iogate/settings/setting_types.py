"""Types that only settings have: hosts, origins, endpoints, references to secrets, process limits.

Used by `table` and `events`. Pure.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final

from iogate import json_values
from iogate.security import networks
from iogate.value_types.collection_types import Key, ValueType, distinct, record
from iogate.value_types.faults import Fault, InvalidValue, collecting, wrong_form
from iogate.value_types.scalar_types import duration, number, pattern, size

OWN_GATEWAY: Final = "gateway"
"""Target in `endpoints` that means the gateway of the same settings."""
PROCESS_LIMITS: Final[Mapping[str, Any]] = {
    "memory": 1024**3,
    "cpu": 600.0,
    "file": 1024**3,
    "processes": 256,
}
"""Default limits: memory in bytes, processor time in seconds, file size in bytes, number of processes."""

URL_PATTERN: Final = r"https?://[^\s/?#]+[^\s?#]*"
_VARIABLE_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_HOST: Final = r"[^\s/:]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?|[0-9A-Fa-f.:]+/\d{1,3}"


def _read_reference(value: Any) -> dict[str, str]:
    match value:
        case {"env": str(variable)} if len(value) == 1 and re.fullmatch(r"[^\s=\0]+", variable):
            return {"env": variable}
        case {"file": str(path)} if len(value) == 1 and path and "\0" not in path:
            return {"file": path}
    raise wrong_form("{env: NAME} or {file: PATH}")


def _read_endpoints(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise wrong_form("a map of URL prefix to URL prefix")
    for prefix, target in value.items():
        for each in (prefix,) if target == OWN_GATEWAY else (prefix, target):
            if not isinstance(each, str) or not re.fullmatch(URL_PATTERN, each):
                raise wrong_form(
                    "a map of URL prefix to URL prefix, each with http:// or https://, or to gateway"
                )
    return dict(value)


def _read_host(value: Any) -> str:
    found = pattern("a host", _HOST).read(value)
    if "/" in found:
        try:
            ipaddress.ip_network(found)
        except ValueError:
            raise wrong_form("a network") from None
    return found


def _read_networks(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise wrong_form("a list of networks, such as [10.0.0.0/8]")
    found: dict[str, None] = {}
    faults: list[Fault] = []
    for at, each in enumerate(value):
        with collecting(faults, at):
            found[_read_network(each)] = None
    if faults:
        raise InvalidValue(*faults)
    return tuple(found)


def _read_network(value: Any) -> str:
    if not isinstance(value, str):
        raise wrong_form(networks.FORMS)
    try:
        return networks.to_text(networks.parse_network(value))
    except ValueError as error:
        if str(error).startswith("expected"):
            raise wrong_form(str(error).removeprefix("expected ")) from None
        raise InvalidValue(Fault(kind="rule", message=str(error))) from None


def _read_origins(value: Any) -> tuple[str, ...]:
    return _ORIGINS.read(["*"] if value == "*" else value)


def _read_variables(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise wrong_form("a map of name to value")
    faults: list[Fault] = []
    for name, each in value.items():
        if not isinstance(name, str) or not re.fullmatch(_VARIABLE_NAME, name):
            expected = "letters, digits and _, as in $runtime.vars.NAME"
            faults.append(Fault(kind="format", path=(name,), on_key=True, expected=expected))
        try:
            json_values.check(each)
        except ValueError as error:
            faults.append(Fault(kind="rule", path=(name,), message=f"no JSON value: {error}"))
    if faults:
        raise InvalidValue(*faults)
    return dict(value)


REFERENCE: Final = ValueType(
    read=_read_reference,
    schema=lambda: {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "properties": {"env": {"type": "string"}, "file": {"type": "string"}},
        "additionalProperties": False,
    },
)
"""Source of a secret, which stays a reference."""
ENDPOINTS: Final = ValueType(
    read=_read_endpoints,
    schema=lambda: {
        "type": "object",
        "additionalProperties": {
            "anyOf": [{"const": OWN_GATEWAY}, {"type": "string", "pattern": URL_PATTERN}]
        },
    },
)
HOST: Final = ValueType(
    read=_read_host, form="text", schema=lambda: {"type": "string", "pattern": f"^(?:{_HOST})$"}
)
_ORIGINS: Final = distinct(
    pattern("an origin", r"\*|https?://[^\s/?#]+"),
    "a list of origins, each http://HOST or https://HOST, or *",
)
ORIGINS: Final = ValueType(
    read=_read_origins, form="list", schema=lambda: {"anyOf": [{"const": "*"}, _ORIGINS.schema()]}
)
NETWORKS: Final = ValueType(
    read=_read_networks,
    form="list",
    schema=lambda: {
        "type": "array",
        "items": {"type": "string", "pattern": r"^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$"},
    },
)
"""Addresses and networks, each once and in its normal form."""
LIMITS: Final[ValueType[Mapping[str, Any]]] = record(
    {
        "memory": Key(type=size(low=16 * 1024**2), required=False),
        "cpu": Key(type=duration(1, 366 * 86_400), required=False),
        "file": Key(type=size(low=4096), required=False),
        "processes": Key(type=number(1, 100_000), required=False),
    },
    lambda **given: {**PROCESS_LIMITS, **given},
    null_is_absent=True,
)
VARS: Final[ValueType[Mapping[str, Any]]] = ValueType(
    read=_read_variables,
    schema=lambda: {"type": "object", "propertyNames": {"pattern": f"^{_VARIABLE_NAME}$"}},
)
"""Values for expressions: any JSON, by name."""
LINK_KEY: Final = pattern("text of at least 32 characters", r"(?s).{32,}")
TEXT: Final = pattern("text that is not empty", r"(?s).*\S.*")
TLS: Final[ValueType[Mapping[str, str]]] = record(
    {
        "cert": Key(type=TEXT, description="PEM file: the certificate of the gateway, then its chain."),
        "key": Key(type=TEXT, description="PEM file: the key of the certificate, without a passphrase."),
    },
    lambda **given: dict(given),
    near={"certificate": "cert", "crt": "cert", "chain": "cert", "private_key": "key"},
)
"""Files of a certificate and its key."""
URL: Final = pattern("a URL with http:// or https://", URL_PATTERN)
VARIABLES: Final = distinct(
    pattern("a name of an environment variable", r"[A-Za-z_][A-Za-z0-9_]*\*?"),
    "a list of names of environment variables, such as AWS_REGION or AWS_*",
)
