"""Failures of the store, and the failure that an error reply of the server means.

Used by `socket`, `connection` and `intake`. Pure. Invariant: an error that passes by itself is a
StoreUnavailable, so that processes wait for the store; every other error of a command is a CommandFailed.
"""

from __future__ import annotations

import re
from typing import Final

from iogate.errors import Unreachable, WrongStore

AWAY: Final = "start one with `iogate up`, or check redis_url"
DEMOTED: Final = re.compile(r"(?:^|-)(?:READONLY|UNBLOCKED)\b")
"""The server is not the primary any more: the connection is closed, and the next one finds the primary."""
PASSING: Final = re.compile(r"(?:^|-)(?:LOADING|MASTERDOWN|BUSY|NOREPLICAS)\b")
_OOM: Final = re.compile(r"\bOOM command not allowed\b")
"""Refusal of a write by a server over its maxmemory, as it is or within a script's error."""
_FORBIDDEN: Final = re.compile(r"\bNOPERM\b|ACL failure in script|can't run this command or subcommand")
_COMMAND: Final = re.compile(r"'([\w|-]+)' command")


class CommandFailed(Exception):
    """Redis answered with an error: the command had no effect beyond what its script had done."""


class StoreUnavailable(Unreachable):
    """The store did not answer; whether it did what was asked is unknown."""

    def __init__(self, detail: str, *, code: str = "IOG610", hint: str = AWAY) -> None:
        super().__init__(f"the store is out of reach: {detail}", code=code, hint=hint)


class StoreFull(Unreachable):
    """The store takes nothing in: its memory is at its limit, or what is left is kept for runs under way."""

    def __init__(self) -> None:
        super().__init__(
            "the store is full: its memory is at its limit, or so near that it takes nothing in",
            code="IOG617",
            hint="delete ended runs with `iogate runs prune`, or raise the server's maxmemory",
        )


class NotPrimary(StoreUnavailable):
    """The server is a replica: it takes no writes."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"{address} is a replica, which takes no writes",
            code="IOG652",
            hint="set redis_url to the primary, or to redis+sentinel://HOSTS/NAME, which finds it",
        )


class Unconfirmed(StoreUnavailable):
    """The primary has done what was asked, but too few replicas have confirmed it in time."""

    def __init__(self, confirmed: int, wanted: int) -> None:
        super().__init__(
            f"{confirmed} of {wanted} replicas confirmed the write; a failover now could lose it",
            code="IOG652",
            hint="see whether the replicas run and are connected: `iogate doctor`",
        )


class Drained(StoreUnavailable):
    """The store takes nothing before a planned failover."""

    def __init__(self, left_s: float = 1.0) -> None:
        super().__init__(
            "it is drained for a planned failover",
            code="IOG653",
            hint="`iogate store resume` opens it; it opens by itself when the time of the drain is over",
        )
        self.left_s = left_s


class NotPermitted(CommandFailed, WrongStore):
    """The user of `redis_url` lacks a permission."""

    def __init__(self, *, address: str, user: str, command: str, reply: str) -> None:
        WrongStore.__init__(
            self,
            f'the store at {address} refused {command} to the user "{user}": {reply}',
            code="IOG654",
            hint="docs/operations/store-access.md lists the commands, keys and channels of each user",
        )


def failure(reply: str, *, address: str, user: str, command: str) -> Exception:
    """Return the failure that an error reply to `command` means."""
    if DEMOTED.search(reply) or PASSING.search(reply):
        return StoreUnavailable(reply)
    if _OOM.search(reply):
        return StoreFull()
    if reply.startswith("DRAINED"):
        left_ms = re.search(r"\d+", reply)
        return Drained(int(left_ms[0]) / 1000 if left_ms else 1.0)
    if _FORBIDDEN.search(reply):
        named = _COMMAND.search(reply)
        asked = named[1].upper().replace("|", " ") if named else command
        return NotPermitted(address=address, user=user, command=asked, reply=reply)
    return CommandFailed(reply)
