"""Check of the server's configuration: whether it can lose an accepted call.

Used by `doctor` and `up`. Invariant: it changes nothing, and reports what it cannot read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from iogate.store.connection.connection import CommandFailed, Connection
from iogate.store.events.outbox import Sink

_REPLICA = re.compile(r"(?:slave|replica)\d+:ip=(?P<ip>[^,]*),port=(?P<port>\d+),state=(?P<state>\w+)")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Unsafe setting, with a hint."""

    level: Literal["error", "warning"]
    setting: str
    message: str
    hint: str


async def findings(connection: Connection, sinks: Sequence[Sink] = ()) -> list[Finding]:
    """Check the server: return unsafe settings and sinks that have lost events, errors first."""
    try:
        settings = await _settings(connection)
    except CommandFailed as error:
        return [
            Finding(
                level="warning",
                setting="config",
                message=f"the server refuses CONFIG GET ({error}): durability is unknown",
                hint="allow `CONFIG GET` to this user, or check the settings by hand",
            )
        ]
    found = [finding for finding in _check_settings(settings) if finding is not None]
    found += [finding for finding in await _check_replication(connection, settings) if finding is not None]
    found += [_dropped_events(sink) for sink in sinks if sink.dropped]
    return sorted(found, key=lambda finding: finding.level)


async def _settings(connection: Connection) -> dict[str, str]:
    settings: dict[str, str] = {}
    for name in (
        "appendonly",
        "appendfsync",
        "maxmemory-policy",
        "no-appendfsync-on-rewrite",
        "maxmemory",
        "min-replicas-to-write",
    ):
        reply = await connection.call("CONFIG", "GET", name)
        if reply:
            settings[name] = reply[1].decode()
    return settings


def _check_settings(settings: dict[str, str]) -> list[Finding | None]:
    return [
        _finding_unless(
            settings.get("appendonly", "yes") == "yes",
            "error",
            "appendonly",
            "appendonly is no: the end of the server loses all accepted runs",
            "CONFIG SET appendonly yes, also in its configuration file",
        ),
        _finding_unless(
            settings.get("appendfsync", "always") != "no",
            "error",
            "appendfsync",
            "appendfsync is no: a power failure loses accepted runs",
            "CONFIG SET appendfsync always",
        ),
        _finding_unless(
            settings.get("appendfsync", "always") != "everysec",
            "warning",
            "appendfsync",
            "appendfsync is everysec: a power failure loses up to about two seconds of accepted runs",
            "CONFIG SET appendfsync always, for zero loss",
        ),
        _finding_unless(
            settings.get("maxmemory-policy", "noeviction") == "noeviction",
            "error",
            "maxmemory-policy",
            f"maxmemory-policy is {settings.get('maxmemory-policy')}: a full server deletes runs",
            "CONFIG SET maxmemory-policy noeviction",
        ),
        _finding_unless(
            settings.get("no-appendfsync-on-rewrite", "no") == "no",
            "error",
            "no-appendfsync-on-rewrite",
            "no-appendfsync-on-rewrite is yes: a power failure during a rewrite loses accepted runs",
            "CONFIG SET no-appendfsync-on-rewrite no",
        ),
    ]


async def _check_replication(connection: Connection, settings: dict[str, str]) -> list[Finding | None]:
    """Check `durability` against the connected replicas and the server's settings; return the findings."""
    try:
        connected = len(online_replicas((await connection.call("INFO", "replication")).decode()))
    except CommandFailed:
        return []
    least = int(settings.get("min-replicas-to-write", 0))
    watched = connection.has_sentinels
    return [
        _finding_unless(
            connected >= connection.replicas,
            "error",
            "durability",
            f"durability is replicated with {connection.replicas} replicas, and {connected} are connected: "
            "calls get a 503",
            "connect replicas, or lower the setting replicas",
        ),
        _finding_unless(
            bool(connection.replicas) or not (connected or watched),
            "warning",
            "durability",
            "durability is local: a failover loses calls that no replica has received",
            "set durability: replicated",
        ),
        _finding_unless(
            bool(connection.replicas) or not watched or least > 0,
            "warning",
            "min-replicas-to-write",
            "min-replicas-to-write is 0: an isolated primary accepts calls that the failover loses",
            "set durability: replicated, or CONFIG SET min-replicas-to-write 1",
        ),
        _finding_unless(
            connected >= least,
            "error",
            "min-replicas-to-write",
            f"min-replicas-to-write is {least}, and {connected} replicas are connected: writes fail",
            "connect replicas, or lower min-replicas-to-write",
        ),
    ]


def online_replicas(info: str) -> list[str]:
    """Return the replicas of the checked server that INFO replication calls online."""
    return [f"{each['ip']}:{each['port']}" for each in _REPLICA.finditer(info) if each["state"] == "online"]


def _dropped_events(sink: Sink) -> Finding:
    return Finding(
        level="warning",
        setting=f"events.sinks.{sink.name}",
        message=f"{sink.dropped} events for the sink {sink.name} were dropped: its outbox was full",
        hint=f"check that its url responds: {sink.waiting} events wait for it",
    )


def _finding_unless(
    fine: bool,  # noqa: FBT001 -- the result of the check
    level: Literal["error", "warning"],
    setting: str,
    message: str,
    hint: str,
) -> Finding | None:
    return None if fine else Finding(level=level, setting=setting, message=message, hint=hint)
