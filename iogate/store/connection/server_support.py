"""Servers that iogate can use: primaries of Redis 6.2 or later that are neither cluster nor sentinel.

Used by `connection` for each connection and each probe. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iogate.errors import WrongStore
from iogate.store.connection.failures import NotPrimary
from iogate.store.embedded.binaries import OLDEST


def check_server(reply: Sequence[Any], address: str) -> None:
    """Check by the reply of HELLO that iogate supports the server at `address`.

    Raises WrongStore for a server that iogate cannot use, and NotPrimary for a replica.
    """
    server = {
        str(name, "utf-8", "replace"): value for name, value in zip(reply[::2], reply[1::2], strict=False)
    }
    version, mode = _text(server.get("version")), _text(server.get("mode"))
    if version and is_too_old(version):
        raise too_old(address, version)
    if mode == "cluster":
        raise WrongStore(
            f"the store at {address} is a cluster: scripts of iogate use keys of several slots",
            code="IOG651",
            hint="set redis_url to a server with `cluster-enabled no`",
        )
    if mode == "sentinel":
        raise WrongStore(
            f"{address} is a sentinel and holds no data",
            code="IOG651",
            hint=f"set redis_url to redis+sentinel://{address}/NAME, with the NAME of `sentinel monitor`",
        )
    if _text(server.get("role")) in {"replica", "slave"}:
        raise NotPrimary(address)


def is_too_old(version: str) -> bool:
    """Tell whether a server of this version is not supported: it lacks commands that the store uses."""
    return tuple(int(part) for part in version.split(".")[:2]) < OLDEST


def too_old(address: str, version: str) -> WrongStore:
    """Return the error of a server that is too old to be supported."""
    return WrongStore(
        f"the store at {address} is Redis {version}; iogate needs 6.2 or later",
        code="IOG612",
        hint="upgrade it, or set redis_url to a newer server",
    )


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""
