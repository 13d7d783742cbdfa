"""Work for credentials that open no run: as much, and counted in the same way, whether the run exists or not.

Used by `runs`. Wrong credentials cost Argon2 hashes if the run's API has some, and a run that does not exist
has no API: time and 429s would tell which uids exist. So the work is filled up to that of the costliest API.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from iogate.gateway import auth
from iogate.password_hashing import Busy, cost, missing

if TYPE_CHECKING:
    from iogate.gateway.auth import Client, Guard
    from iogate.password_hashing import Hashing, Parameters


def of_costliest(guards: Iterable[Guard], headers: Mapping[bytes, bytes]) -> list[Parameters]:
    """Return the hashes that credentials of these kinds cost at most at one of the APIs."""
    scheme = headers.get(b"authorization", b"")[:6].lower()
    has_token = bool(headers.get(b"token")) or scheme == b"bearer"
    has_password = bool(headers.get(b"user") and headers.get(b"password")) or scheme == b"basic "
    found: list[Parameters] = []
    for guard in guards:
        if has_token:
            found = max(found, guard.token_work, key=cost)
        if has_password:
            found = max(found, guard.password_work, key=cost)
    return found


async def spend(
    work: Sequence[Parameters], spent: Sequence[Parameters], *, hashing: Hashing, client: Client
) -> None:
    """Compute what `spent` lacks of `work`, and count a failure unless `spent` has.

    Raises Failed: the 429 for too many wrong credentials.
    """
    try:
        if work and not spent:
            hashing.admit(client[0] if client else "")
        for each in missing(work, spent):
            await hashing.run(each.spend, b"")
    except Busy as busy:
        raise auth.too_often(busy) from None
