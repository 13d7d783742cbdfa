"""Lists of runs: filters, pages and cursors, newest run first.

Used by `operations`. `page.lua` reads the smallest index that has all wanted runs, in small parts, so that
no part blocks the server. A cursor is a position: the creation of a run by the clock of the store, and its
uid. Invariant: a listing from page to page has each run that matches throughout exactly once, and no run
twice, while runs are added and change their status, whatever the clocks of gateways show.
"""

from __future__ import annotations

import base64
import binascii
import math
import time
from collections.abc import AsyncGenerator, Sequence

import msgspec

from iogate.errors import Misused
from iogate.store import keys
from iogate.store.connection.connection import Connection
from iogate.store.revisions.origin import DEFAULT_PROJECT
from iogate.store.runs import views
from iogate.store.runs.traffic import attribute_hash
from iogate.store.runs.views import Summary

LISTED = 50
"""Default number of runs of a page."""
PART = 250
"""Maximum number of runs that one script returns."""
LOOKED_AT = 20_000
"""Number of runs after which a page ends early, so that a rare filter does not overload the store."""
LOOKED_FOR_S = 0.05
"""Time after which it ends early, so that a reader of pages gets the first one soon."""
LOOKED_AT_MOST = 100_000
"""Number of runs at which the lists of a command look."""


class RunFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Filter of a list of runs; a field that is None or empty matches all."""

    api: str | None = None
    workflow: str | None = None
    """Full name with version, or name without version."""
    statuses: Sequence[str] = ()
    since_ms: int | None = None
    """Earliest time of acceptance, by the clock of the store."""
    until_ms: int | None = None
    """Latest time of acceptance."""
    caller: str | None = None
    """Name of the caller; "" matches runs without one."""
    parent: str | None = None
    """Uid of the run that started it and waits for it, or whose fault started it."""
    revision: int | None = None
    project: str | None = None
    """Project that owns the API of the run."""
    where: tuple[str, str] | None = None
    """Name and value of an attribute that the API of the run declares."""


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """Page of a list, newest run first; it may be short although older runs match."""

    runs: list[Summary]
    next_cursor: str | None = None
    """Opaque cursor of the next page; None if no older run is left."""
    looked_back_to_ms: int | None = None
    """Creation time of the oldest run that was looked at; None if all were."""


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Argument of `page.lua`."""

    limit: int
    statuses: Sequence[str]
    words: Sequence[str]
    """Texts that the packed record of each wanted run has."""
    apis: Sequence[str] | None = None
    from_: int | None = msgspec.field(default=None, name="from")
    to: int | None = None
    after: tuple[int, str] | None = None
    workflow: str | None = None
    caller: str | None = None
    parent: str | None = None
    revision: int | None = None
    where: tuple[str, str, str] | None = None
    """Name, value and hash of an attribute."""


_encode = msgspec.msgpack.Encoder().encode
_cursor = msgspec.msgpack.Decoder(tuple[int, str])


async def read_page(
    connection: Connection,
    wanted: RunFilter,
    *,
    limit: int = LISTED,
    cursor: str | None = None,
    most: int | None = LOOKED_AT,
    most_s: float = math.inf,
) -> RunPage:
    """Read a page of at most `limit` runs that match, looking at about `most` runs (None: all) at most.

    It ends early after `most_s`. Raises Misused for an invalid cursor.
    """
    until = time.monotonic() + most_s
    request = await _request(connection, wanted, None if cursor is None else decode_cursor(cursor))
    found: list[Summary] = []
    looked_at, is_last = 0, request.apis == []
    while not is_last and len(found) < limit and (most is None or looked_at < most):
        if looked_at and time.monotonic() > until:
            break
        request = msgspec.structs.replace(request, limit=min(limit - len(found), PART))
        count, created, uid, last, *heads = await connection.run("page", _encode(request))
        request = msgspec.structs.replace(request, after=(int(created), uid.decode()))
        looked_at, is_last = looked_at + count, last == 1
        found += await _summaries(connection, heads)
    if is_last or request.after is None:
        return RunPage(runs=found)
    return RunPage(runs=found, next_cursor=encode_cursor(request.after), looked_back_to_ms=request.after[0])


async def read_pages(
    connection: Connection, wanted: RunFilter, *, limit: int = 4 * PART
) -> AsyncGenerator[list[Summary], None]:
    """Yield all runs that match in pages of at most `limit` runs; a page may be empty."""
    cursor: str | None = None
    while True:
        page = await read_page(connection, wanted, limit=limit, cursor=cursor)
        yield page.runs
        cursor = page.next_cursor
        if cursor is None:
            return


def encode_cursor(position: tuple[int, str]) -> str:
    """Return the cursor for the runs behind a position: time of creation in ms, and uid."""
    return base64.urlsafe_b64encode(_encode(position)).rstrip(b"=").decode()


def decode_cursor(cursor: str) -> tuple[int, str]:
    """Return the position of a cursor.

    Raises Misused for a text that is none.
    """
    try:
        created, uid = _cursor.decode(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        created, uid = -1, ""
    if created < 0 or not (uid.isascii() and uid.isdigit()):
        raise Misused(
            "the cursor is not one of a list of runs",
            code="IOG770",
            hint="pass nextCursor of the page before unchanged, or begin without a cursor",
        )
    return created, uid


async def _request(connection: Connection, wanted: RunFilter, after: tuple[int, str] | None) -> Request:
    apis: Sequence[str] | None = None if wanted.api is None else [wanted.api]
    if wanted.project is not None:
        owned = await _apis_of(connection, wanted.project)
        apis = sorted(owned if apis is None else owned & set(apis))
    return Request(
        limit=0,
        statuses=tuple(dict.fromkeys(wanted.statuses)) or keys.STATUSES,
        apis=apis,
        from_=wanted.since_ms,
        to=wanted.until_ms,
        after=after,
        workflow=wanted.workflow,
        caller=wanted.caller,
        parent=wanted.parent,
        revision=wanted.revision,
        where=None if wanted.where is None else (*wanted.where, attribute_hash(*wanted.where)),
        words=[each for each in (wanted.workflow, wanted.caller, wanted.parent) if each and _is_plain(each)],
    )


def _is_plain(text: str) -> bool:
    """Tell whether the JSON of a text has it unchanged, so that a record can be searched for it."""
    return msgspec.json.encode(text) == b'"%s"' % text.encode()


async def _apis_of(connection: Connection, project: str) -> set[str]:
    """Return the APIs and schedules of a project in the index, with those that were deleted."""
    found = await connection.calls([("SMEMBERS", keys.GATES), ("SMEMBERS", keys.DELETED)])
    names = sorted({name.decode() for each in found for name in each})
    owners = await connection.calls([("HGET", keys.GATE + name, "project") for name in names])
    return {
        name
        for name, owner in zip(names, owners, strict=True)
        if (owner or DEFAULT_PROJECT.encode()).decode() == project
    }


async def _summaries(connection: Connection, heads: Sequence[Sequence[bytes | int]]) -> list[Summary]:
    """Decode the heads of a part; a large error is stored apart from its head."""
    found: list[Summary] = []
    large: list[int] = []
    for head in heads:
        try:
            run, has_parts = views.head_summary(head)
        except (ValueError, msgspec.MsgspecError):
            continue  # another program has overwritten it
        if has_parts and run.status == "faulted" and not run.error:
            large.append(len(found))
        found.append(run)
    errors = await connection.calls([("HGET", keys.BIG + found[at].uid, "error") for at in large])
    for at, error in zip(large, errors, strict=True):
        found[at] = msgspec.structs.replace(found[at], error=error)
    return found
