"""Shares of the tries of a worker among the hosts of callbacks.

Used by `callback_delivery`. Pure. Invariant: hosts that are slow, or whose speed is unknown, never have all
tries at the same time, in whatever spelling and under however many names of one pattern they are called.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Final

import msgspec

AT_ONCE: Final = 32
"""Tries of one worker at the same time."""
AT_ONCE_PER_HOST: Final = 8
AT_ONCE_PER_PATTERN: Final = 16
"""Tries for all hosts that one entry with `*` allows."""
SLOW_AT_ONCE: Final = 16
"""Tries for all hosts that were slow in their last tries."""
UNPROVEN_AT_ONCE: Final = 24
"""Tries for all hosts that were slow or have not been tried yet; the others are kept for fast hosts."""
SLOW_S: Final = 2.0
KNOWN_HOSTS: Final = 4_096


class Share(msgspec.Struct, frozen=True):
    """The groups that a try counts for."""

    host: str
    """In its normal form."""
    pattern: str = ""
    """API and entry of `allow`, if that entry allows several hosts."""


class Shares:
    """Tries in progress, and the speed of the hosts that were called lately."""

    def __init__(self) -> None:
        self._hosts: Counter[str] = Counter()
        self._patterns: Counter[str] = Counter()
        self._seconds: OrderedDict[str, float] = OrderedDict()
        """Duration of a try, by host and by pattern; the one that was called last is at the end."""
        self._slow = 0
        self._unproven = 0
        self._turns: dict[str, float] = {}
        """Time from which a host or pattern with all its tries has another one."""

    def enter(self, share: Share) -> Try | None:
        """Begin a try of a callback; None if the share of the host or of its pattern is used up."""
        seconds = self._seconds.get(share.host)
        slow, unproven = seconds is not None and seconds >= SLOW_S, seconds is None or seconds >= SLOW_S
        if (
            self._hosts[share.host] >= AT_ONCE_PER_HOST
            or (share.pattern and self._patterns[share.pattern] >= AT_ONCE_PER_PATTERN)
            or (slow and self._slow >= SLOW_AT_ONCE)
            or (unproven and self._unproven >= UNPROVEN_AT_ONCE)
        ):
            return None
        self._hosts[share.host] += 1
        self._patterns[share.pattern] += 1
        self._slow += slow
        self._unproven += unproven
        return Try(share, slow, unproven)

    def leave(self, found: Try, seconds: float) -> None:
        """End a try of a callback, and remember how long its host took."""
        share = found.share
        for counter, name in ((self._hosts, share.host), (self._patterns, share.pattern)):
            counter[name] -= 1
            if counter[name] <= 0:
                del counter[name]
        self._slow -= found.slow
        self._unproven -= found.unproven
        for name in filter(None, (share.pattern, share.host)):
            before = self._seconds.pop(name, seconds)
            self._seconds[name] = (before + seconds) / 2
        while len(self._seconds) > KNOWN_HOSTS:
            self._seconds.popitem(last=False)

    def wait_s(self, share: Share, now_s: float, least_s: float, most_s: float) -> float:
        """Return the seconds after which a callback without a try is due again.

        They grow from one callback to the next, by the speed of the host. Otherwise thousands of waiting
        callbacks of one slow host would be looked at again and again.
        """
        name = share.pattern or share.host
        step_s = self._seconds.get(name, 0.0) / AT_ONCE_PER_HOST
        turn_s = max(self._turns.get(name, 0.0) + step_s, now_s + least_s)
        if turn_s > now_s + most_s:
            turn_s = now_s + least_s
        self._turns[name] = turn_s
        if len(self._turns) > KNOWN_HOSTS:
            self._turns = {each: turn for each, turn in self._turns.items() if turn > now_s}
        return turn_s - now_s


class Try(msgspec.Struct, frozen=True):
    """A try in progress, with what it was counted as."""

    share: Share
    slow: bool
    unproven: bool
