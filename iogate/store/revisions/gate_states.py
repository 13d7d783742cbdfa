"""State of the gate of one API, as the store has it: switch, override and load.

Read by `gates`, shown by commands and plans. Pure. Invariant: an unreadable gate counts as disabled, with an
empty digest.
"""

from __future__ import annotations

import msgspec

from iogate.store.connection.connection import pairs
from iogate.store.revisions.origin import DEFAULT_PROJECT

ACCEPTING = (b"1", b"2")
"""Switches with which an API accepts calls."""
_HOLDING = ("2", "3")


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """Switch that has precedence over the value in git.

    It is a hold, or has an end, or differs from git; one that disables may also agree with git.
    """

    enabled: bool
    author: str
    reason: str
    set_at_ms: int
    expires_at_ms: int | None
    held: bool = False
    """Whether new runs are on hold."""

    @property
    def state(self) -> str:
        """State of a gate under this override, for people: see `state_of`."""
        return state_of(enabled=self.enabled, held=self.held)


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """Last switch of an API without a value in git, with its author and reason."""

    author: str
    reason: str
    set_at_ms: int


class Switched(msgspec.Struct, frozen=True, kw_only=True):
    """Change of one API by `set_enabled`."""

    api: str
    before: str
    """State before: see `state_of`; "deleted" for an API of which only runs on hold are left."""
    after: str
    held_before: int
    """Number of runs that were on hold, or not released yet."""
    held: int
    """Number of runs that are on hold, or not released yet."""


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """State of one API: switch and load."""

    api: str
    enabled: bool
    digest: str
    git: bool | None
    """Value in git; None if left to `iogate enable`."""
    override: Override | None
    queued: int
    running: int
    held: bool = False
    """Whether new runs do not start until `enable`, or until the override expires."""
    release_per_s: float | None = None
    """Rate at which `enable --rate` releases the runs that were on hold; None if it does not."""
    switched: Switch | None = None
    """Who set the switch of an API that git leaves to `iogate enable`; None if nobody has."""
    project: str = DEFAULT_PROJECT
    """Project that owns the API."""

    @property
    def state(self) -> str:
        """State of this gate, for people: see `state_of`."""
        return state_of(enabled=self.enabled, held=self.held)


def state_of(*, enabled: bool, held: bool) -> str:
    """Return the state of a gate: `enabled`, `held`, `disabled`, or `disabled, held`.

    With `disabled, held`, the API refuses calls, and its runs are on hold.
    """
    return ("held" if enabled else "disabled, held") if held else "enabled" if enabled else "disabled"


def read_gate(api: str, row: list[bytes] | None, now_ms: int) -> Gate:
    """Return the gate of stored fields; a disabled one without a digest if iogate did not write them."""
    try:
        return _decode_gate(api, row or [], now_ms)
    except (KeyError, ValueError):
        return Gate(api=api, enabled=False, digest="", git=None, override=None, queued=0, running=0)


def _switch(by: str) -> Switch:
    """Decode the field `by` of a gate's state, written by `switch.lua`. Raises ValueError otherwise."""
    head, _, reason = by.partition("\n")
    at, _, author = head.partition(" ")
    return Switch(author=author, reason=reason, set_at_ms=int(at))


def _decode_gate(api: str, row: list[bytes], now_ms: int) -> Gate:
    """Decode a gate. Raises KeyError or ValueError for one that iogate did not write."""
    fields = {name: value.decode() for name, value in pairs(row).items()}
    expires = int(fields["until"]) if fields.get("until") else None
    expired = expires is not None and now_ms >= expires
    override = None
    if fields.get("override") and not expired:
        override = Override(
            enabled=fields["override"].encode() in ACCEPTING,
            author=fields.get("author", ""),
            reason=fields.get("reason", ""),
            set_at_ms=int(fields.get("at", 0)),
            expires_at_ms=expires,
            held=fields["override"] in _HOLDING,
        )
    every_ms = float(fields["hold"].partition(" ")[2]) if "hold" in fields else 0.0
    return Gate(
        api=api,
        enabled=fields["base" if expired else "on"].encode() in ACCEPTING,
        digest=fields["digest"],
        git=None if fields["git"] == "" else fields["git"] == "1",
        override=override,
        queued=sum(int(fields.get(name, 0)) for name in ("inq", "bl", "dl")),
        running=int(fields.get("run", 0)),
        held=override is not None and override.held,
        switched=_switch(fields["by"]) if "by" in fields else None,
        release_per_s=round(1000 / every_ms, 6) if every_ms > 0 else None,
        project=fields.get("project", DEFAULT_PROJECT),
    )
