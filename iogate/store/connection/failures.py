"""Exceptions of the store, and the mapping of error replies to them.

Used by `socket`, `connection` and `intake`. Pure. Invariant: a temporary error is a
StoreUnavailable, so that processes wait for the store; every other error of a command is a CommandFailed.
"""

from __future__ import annotations

import re
from typing import Final

from iogate.errors import Unreachable, WrongStore

AWAY: Final = "start one with `iogate up`, or check redis_url"
DEMOTED: Final = re.compile(r"(?:^|-)(?:READONLY|UNBLOCKED)\b")
"""Error of a server that is no longer the primary: the connection is closed, and the next one finds it."""
PASSING: Final = re.compile(r"(?:^|-)(?:LOADING|MASTERDOWN|BUSY|NOREPLICAS|MISCONF)\b")
"""Error of a server that accepts the same command later."""
_MISCONF: Final = re.compile(r"(?:^|-)MISCONF\b")
_OOM: Final = re.compile(r"\bOOM command not allowed\b")
"""Error of a write above maxmemory, by itself or within the error of a script."""
_FORBIDDEN: Final = re.compile(r"\bNOPERM\b|ACL failure in script|can't run this command or subcommand")
_COMMAND: Final = re.compile(r"'([\w|-]+)' command")


class CommandFailed(Exception):
    """Error reply of Redis; the command had no effect, except for writes of a script before its error."""


class StoreUnavailable(Unreachable):
    """Error of a store that cannot be used now; unless it is Unanswered, the command was not executed."""

    def __init__(self, detail: str, *, code: str = "IOG610", hint: str = AWAY) -> None:
        super().__init__(f"the store is out of reach: {detail}", code=code, hint=hint)


class Unanswered(StoreUnavailable):
    """Error of a command that was sent and got no reply: it may be executed, also later."""


class StoreFull(Unreachable):
    """Error of a store whose memory is at its limit, or above the watermark for new data."""

    def __init__(self) -> None:
        super().__init__(
            "the store is full: its memory is at or near its limit",
            code="IOG617",
            hint="delete ended runs with `iogate runs prune`, or raise the server's maxmemory",
        )


class Unsaved(StoreUnavailable):
    """Error of a write while the server cannot save its data; it can still be read."""

    def __init__(self, reply: str) -> None:
        super().__init__(
            reply,
            hint="free space on the disk of the server, or make its folder writable: its log names the error",
        )


class NotPrimary(StoreUnavailable):
    """Error of a connection to a replica, which accepts no writes."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"{address} is a replica, which accepts no writes",
            code="IOG652",
            hint="set redis_url to the primary, or to redis+sentinel://HOSTS/NAME, which finds it",
        )


class Unconfirmed(StoreUnavailable):
    """Error of a write on the primary that too few replicas confirmed in time."""

    def __init__(self, confirmed: int, wanted: int, *, done: str = "") -> None:
        """`done`: what the primary has done, for a person who would repeat it."""
        lost = f"; {done}" if done else ""
        super().__init__(
            f"{confirmed} of {wanted} replicas confirmed the write, which a failover now could lose{lost}",
            code="IOG652",
            hint="check that the replicas run and are connected: `iogate doctor`",
        )
        self.confirmed = confirmed
        self.wanted = wanted


class Drained(StoreUnavailable):
    """Error of a store that is drained before a planned failover."""

    def __init__(self, left_s: float = 1.0) -> None:
        super().__init__(
            "it is drained for a planned failover",
            code="IOG653",
            hint="`iogate store resume` ends the drain, which also ends by itself when its time is over",
        )
        self.left_s = left_s


class NotPermitted(CommandFailed, WrongStore):
    """Error of a command that the user of `redis_url` may not call."""

    def __init__(self, *, address: str, user: str, command: str, reply: str) -> None:
        WrongStore.__init__(
            self,
            f'the store at {address} refused {command} to the user "{user}": {reply}',
            code="IOG654",
            hint="docs/operations/store-access.md lists the commands, keys and channels of each user",
        )


def failure(reply: str, *, address: str, user: str, command: str) -> Exception:
    """Return the exception for an error reply of Redis to `command`."""
    if _MISCONF.search(reply):
        return Unsaved(reply)
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
