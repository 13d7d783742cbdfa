"""What follows the end of a run, as its record says it: the callback, and the run that a fault starts.

Written by `intake`, read by the scripts and by workers. Pure. Invariant: a URL that a caller has named is
sealed for its run, so that nobody who can only write to the store redirects a callback.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from iogate.compiler.revision import End
from iogate.security.keyring import SEAL_CHARACTERS, Keyring

_LETTERS: dict[End, str] = {"completed": "c", "faulted": "f", "cancelled": "x"}
HANDLED = "h"
"""A fault starts a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnds:
    """What follows the end of a run."""

    letters: str
    """Ends with a callback, by `letters`, and HANDLED."""
    url: str = ""
    """URL of the callback if the caller has named it."""


def letters(ends: Iterable[End], *, handled: bool) -> str:
    """Return the letters by which scripts know the ends of a run with a callback, or with a handler."""
    return "".join(sorted(_LETTERS[end] for end in ends)) + (HANDLED if handled else "")


def packed_ends(ring: Keyring, uid: str, after: RunEnds) -> str:
    """Return the stored form of the ends of a run: letters, and seal and URL of a caller's callback.

    Raises Misused for a keyring without keys.
    """
    if not after.url:
        return after.letters
    seal = ring.sign("callback", uid.encode(), after.url.encode()).decode()
    return f"{after.letters} {seal} {after.url}"


def callers_url(ring: Keyring, uid: str, packed: str) -> str | None:
    """Return the URL for the end of a run that the caller named, or ""; None if its seal is not valid."""
    _, _, rest = packed.partition(" ")
    if not rest:
        return ""
    seal, url = rest[:SEAL_CHARACTERS], rest[SEAL_CHARACTERS + 1 :]
    data = url.encode("utf-8", "surrogatepass")
    return url if ring.verify("callback", seal.encode("ascii", "replace"), uid.encode(), data) else None
