"""Changes of the addresses that may call an API: widened, narrowed, or the same ones in another form.

Called by `apis`. Pure. A file counts as a set of unknown addresses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from iogate.auth.allow_ips import AllowedAddresses
from iogate.reconcile.meanings.change_kinds import Meaning
from iogate.security.networks import NetworkSet, parse_network

_POINTER: Final = "/allow_ips"
_SHOWN: Final = 5
"""Networks that a text names."""

Allowed = AllowedAddresses | msgspec.UnsetType


def meanings(before: Allowed, after: Allowed) -> Iterator[Meaning]:
    """Yield the meanings of a change of `allow_ips`."""
    if before == after:
        return
    if isinstance(after, msgspec.UnsetType):
        yield _widened("allow_ips removed: every address may call")
        return
    if isinstance(before, msgspec.UnsetType):
        yield _narrowed(f"allow_ips added: only {_listed(_names(after))} may call")
        return
    more, fewer = _beyond(after, before), _beyond(before, after)
    if more:
        yield _widened(f"allow_ips widened: {_listed(more)} may call")
    if fewer:
        yield _narrowed(f"allow_ips narrowed: {_listed(fewer)} may not call any more")
    if not more and not fewer:
        yield Meaning(
            kind="api.changed", text="allow_ips has the same addresses in another form", pointer=_POINTER
        )


def _widened(text: str) -> Meaning:
    return Meaning(kind="addresses.widened", text=text, pointer=_POINTER)


def _narrowed(text: str) -> Meaning:
    return Meaning(kind="addresses.narrowed", text=text, pointer=_POINTER)


def _beyond(one: AllowedAddresses, other: AllowedAddresses) -> list[str]:
    """Return the allowed networks and files of `one` that `other` does not cover."""
    known = NetworkSet(map(parse_network, other.networks))
    found = [text for text in one.networks if not known.covers(parse_network(text))]
    return [*found, *(f"file {path}" for path in one.files if path not in other.files)]


def _names(allowed: AllowedAddresses) -> list[str]:
    return [*allowed.networks, *(f"file {path}" for path in allowed.files)]


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:_SHOWN])
    if len(names) > _SHOWN:
        shown.append(f"{len(names) - _SHOWN} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]
