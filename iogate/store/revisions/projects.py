"""Live revisions of the projects that share a store.

Used by `live_record`, the audit and the checks of the store. The hash `iogate:live` holds all of
them, so that one command reads a consistent state:

    number, digest     live revision of the project `default`
    project:NAME       number and digest of another project, separated by a space
    seal, seal:NAME    seal of these: see `live_record`
    last               largest number given to a revision of any project
    changes            counter of all changes of revisions and gates

Invariant: numbers are unique in a store; each project has its own list of kept revisions.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from iogate.store import keys
from iogate.store.connection.connection import Connection, pairs
from iogate.store.revisions.origin import DEFAULT_PROJECT

Live = tuple[int, str]
"""Number and digest of a live revision."""


class Invalid(msgspec.Struct, frozen=True, kw_only=True):
    """Record of a project that iogate did not write."""

    why: str = "its number or digest is invalid"
    number: int = 0
    """Revision that it names; 0 if it is not readable."""


class LiveRevisions(msgspec.Struct, frozen=True, kw_only=True):
    """Live revision of each project."""

    live: dict[str, Live]
    invalid: dict[str, Invalid] = {}
    """Projects with an invalid record."""
    last: int = 0
    """Largest number of a revision."""

    @property
    def version(self) -> frozenset[tuple[str, int, str]]:
        """Value for the live revisions of all projects that differs after each change."""
        return frozenset((project, number, digest) for project, (number, digest) in self.live.items())


async def read(connection: Connection) -> LiveRevisions:
    """Return the live revisions of all projects that share the store."""
    return decode(pairs(await connection.call("HGETALL", keys.LIVE)))


def decode(record: Mapping[str, bytes]) -> LiveRevisions:
    """Decode the record of the live revisions of all projects."""
    stored = {
        name.removeprefix(keys.LIVE_PROJECT): value
        for name, value in record.items()
        if name.startswith(keys.LIVE_PROJECT)
    }
    if "number" in record:
        stored[DEFAULT_PROJECT] = record["number"] + b" " + record.get("digest", b"")
    live = {name: found for name, value in stored.items() if (found := _live(value)) is not None}
    last = record.get("last", b"")
    return LiveRevisions(
        live=live,
        invalid={name: Invalid() for name in stored.keys() - live.keys()},
        last=max([int(last) if is_number(last) else 0, *(number for number, _ in live.values())]),
    )


def _live(value: bytes) -> Live | None:
    number, _, digest = value.partition(b" ")
    if not (is_number(number) and digest.isalnum() and digest.isascii()):
        return None
    return int(number), digest.decode("ascii")


def is_number(text: bytes) -> bool:
    """Tell whether a stored text is the number of a project's revision, which fits into a double of Lua."""
    return text.isdigit() and len(text) < 16


async def kept(connection: Connection) -> list[bytes]:
    """Return the numbers of the kept revisions of all projects, each project newest first."""
    fields = await connection.call("HKEYS", keys.LIVE)
    prefix = keys.LIVE_PROJECT.encode()
    names = [name[len(prefix) :].decode("utf-8", "replace") for name in fields if name.startswith(prefix)]
    lists = await connection.calls(
        [("LRANGE", keys.revisions(name), 0, -1) for name in (DEFAULT_PROJECT, *names)]
    )
    return [number for numbers in lists for number in numbers]
