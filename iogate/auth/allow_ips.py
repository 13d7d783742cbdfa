"""Addresses that may call an API, as the key `allow_ips` of API documents declares them: model and reader.

Used by API documents and the command line; gateways check the model. Pure. The struct is part of the stored
format of revisions.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from iogate.security import networks
from iogate.value_types.collection_types import Key, ValueType, record
from iogate.value_types.faults import Fault, InvalidValue, broken_rule, collecting, wrong_form, wrong_type
from iogate.value_types.scalar_types import matching_text

FORMS: Final = f"{networks.FORMS}, or {{file: PATH}}"


class AllowedAddresses(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Networks, and files with a network on each line; a client in any of them may call."""

    networks: tuple[str, ...] = ()
    """In their normal form, in order, each once."""
    files: tuple[str, ...] = ()
    """Paths on the machine of the gateway."""


_FILE: Final[ValueType[str]] = record(
    {
        "file": Key(
            type=matching_text("the path of a file", r"(?s)[^\0]+"),
            description="A file with one address or network on each line; # begins a comment.",
        )
    },
    lambda file: file,
)


def parse_lines(text: str) -> tuple[networks.Network, ...]:
    """Return the networks in a file of `allow_ips`. Raises ValueError, which names the first invalid line."""
    found: list[networks.Network] = []
    for number, line in enumerate(text.splitlines(), 1):
        given = line.partition("#")[0].strip()
        if given:
            try:
                found.append(networks.parse_network(given))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
    return tuple(found)


def _read(value: Any) -> AllowedAddresses:
    if not isinstance(value, list | tuple):
        raise wrong_type("a list", value)
    if not value:
        raise InvalidValue(Fault(kind="empty"))
    found: list[networks.Network] = []
    files: list[str] = []
    faults: list[Fault] = []
    for at, each in enumerate(value):
        with collecting(faults, at):
            if isinstance(each, dict):
                files.append(_FILE.read(each))
            else:
                found.append(_network(each))
    if faults:
        raise InvalidValue(*faults)
    return AllowedAddresses(networks=canonical(found), files=tuple(sorted(set(files))))


def canonical(found: list[networks.Network]) -> tuple[str, ...]:
    """Return networks as the model of `allow_ips` has them: as texts, in order, each once."""
    ordered = sorted(set(found), key=lambda each: (each.version, int(each.network_address), each.prefixlen))
    return tuple(map(networks.to_text, ordered))


def _network(value: Any) -> networks.Network:
    if not isinstance(value, str):
        raise wrong_type(FORMS, value)
    try:
        return networks.parse_network(value)
    except ValueError as error:
        if str(error).startswith("expected"):
            raise wrong_form(FORMS, value) from None
        raise broken_rule(str(error), code=46) from None


ALLOW_IPS: Final = ValueType(
    read=_read,
    form="list",
    schema=lambda: {
        "type": "array",
        "minItems": 1,
        "items": {"anyOf": [{"type": "string", "examples": ["10.0.0.0/8"]}, _FILE.schema()]},
    },
)
"""Type of `allow_ips`."""
