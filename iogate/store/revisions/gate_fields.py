"""Fields of gates that a publish writes, and their comparison with the stored ones.

Used by `Revisions`. Invariant: `gate` has the order of the publish script.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Final

from iogate.compiler.revision import PRIORITY, Api, Revision
from iogate.compiler.schedules import PREFIX
from iogate.store import keys
from iogate.store.connection.connection import CommandFailed, Connection
from iogate.store.revisions.origin import DEFAULT_PROJECT

_FIELDS: Final = {
    "digest": "digest",
    "git": "enabled",
    "queued": "limits.queued",
    "interval": "limits.rate",
    "slack": "limits.burst",
    "rl": "limits.running",
    "kl": "limits.concurrency",
}
"""Fields in the order of `gate`, without the id, with the names that people know."""
_SWITCH: Final = ("own", "override", "base", "on")
"""Fields that `publish` and `enable` derive from each other, each from those before it and from git."""


def gate(api: Api) -> tuple[Any, ...]:
    """Return the fields of the gate that a publish writes for an API, with its id."""
    limits = api.limits
    interval: float | str = ""
    slack: float | str = ""
    if limits.rate is not None:
        interval = 1000 / limits.rate
        slack = (max(1, limits.burst or int(limits.rate)) - 1) * interval
    git = "" if api.enabled is None else str(int(api.enabled))
    running = "" if limits.running is None else limits.running
    places = "" if limits.of_key is None else limits.of_key.limit
    priority = "" if limits.rank == PRIORITY else limits.rank
    return (
        *(api.id, api.digest, git, limits.queued, _number(interval), _number(slack), running, places),
        priority,
    )


def _number(value: float | str) -> str:
    """Format a number of a gate's field with all digits, because Lua would round a float."""
    return value if isinstance(value, str) else repr(value)


async def altered(connection: Connection, revision: Revision, project: str) -> list[tuple[str, str]]:
    """Return the APIs of a project whose gate differs from what a publish writes, each with a text."""
    members = {name.decode("utf-8", "replace") for name in await connection.call("SMEMBERS", keys.GATES)}
    apis = sorted(revision.apis)
    reads = [("HMGET", keys.GATE + api, *_FIELDS, *_SWITCH) for api in apis]
    rows = await _rows(connection, reads)
    ranks = await _rows(connection, [("HMGET", keys.PRIORITIES, *apis)] if apis else [])
    found = []
    for at, (api, row) in enumerate(zip(apis, rows, strict=True)):
        wanted = list(map(str, gate(revision.apis[api])[1:]))
        stored = ["" if value is None else value.decode("utf-8", "replace") for value in row]
        differing = [
            label for label, old, new in zip(_FIELDS.values(), stored, wanted, strict=False) if old != new
        ]
        rank = ranks[0][at] if ranks[0] else b"?"  # the key has another type
        if (b"" if rank is None else rank).decode("utf-8", "replace") != wanted[len(_FIELDS)]:
            differing.append("limits.priority")
        if stored and not _is_consistent(revision.apis[api], *stored[len(_FIELDS) :]):
            differing.append("state")
        if api not in members or not (stored and stored[0]):
            found.append((api, "it has no gate: calls are refused"))
        elif differing:
            found.append((api, f"its gate has another {' and '.join(differing)} than the revision"))
    names = sorted(name for name in members - revision.apis.keys() if not name.startswith(PREFIX))
    owners = (
        await connection.calls([("HGET", keys.GATE + name, "project") for name in names]) if names else []
    )
    strays = [
        name
        for name, owner in zip(names, owners, strict=True)
        if (DEFAULT_PROJECT if owner is None else owner.decode("utf-8", "replace")) == project
    ]
    return [*found, *((api, "it has a gate, and the revision has no such API") for api in strays)]


async def _rows(connection: Connection, reads: Sequence[tuple[str, ...]]) -> list[list[bytes | None]]:
    """Return the stored fields of each gate to compare; none for a gate of another type."""
    if not reads:
        return []
    with contextlib.suppress(CommandFailed):
        return await connection.calls(reads)
    rows: list[list[bytes | None]] = []
    for read in reads:
        try:
            rows.append(await connection.call(*read))
        except CommandFailed:
            rows.append([])
    return rows


def _is_consistent(api: Api, own: str, override: str, base: str, on: str) -> bool:
    """Return whether the switch in a gate's fields is as git, the last command and the override say."""
    git = own if api.enabled is None else str(int(api.enabled))
    return base == git and on == (override or base)
