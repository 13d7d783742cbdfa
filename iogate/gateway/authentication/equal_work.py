"""Judgement of who asks for a run: as much work, and counted in the same way, whether the run exists or not.

Used by `run_handler`. Wrong credentials cost Argon2 hashes if the run's API has some, and a run that does not
exist has no API: time and 429s would tell which uids exist. So the work is filled up to that of the costliest
API. Credentials that open some API are right, perhaps used on a run that has expired: they count as no
failure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from iogate.compiler.revision import AnyAuth, HashedSecret, TokenAuth, UserAuth
from iogate.gateway.authentication import authenticator
from iogate.gateway.http.responses import Failed
from iogate.security import secrets
from iogate.security.password_hashing import Busy, cost, missing

if TYPE_CHECKING:
    from iogate.gateway.authentication.authenticator import Client, Guard
    from iogate.security.password_hashing import Hashing, Parameters


_NOBODYS = HashedSecret(value=secrets.hash_token(secrets.generate_token()))
_CLOSED = authenticator.Guard(
    AnyAuth(any=(TokenAuth(tokens={"": (_NOBODYS,)}), UserAuth(users={"": (_NOBODYS,)})))
)
"""Guard of the runs that do not exist, and of those whose API is gone."""


async def caller(
    own: Guard | None,
    guards: Sequence[Guard],
    headers: Mapping[bytes, bytes],
    repeated: frozenset[bytes],
    *,
    hashing: Hashing,
    client: Client,
) -> str | None:
    """Return the caller whom the guard `own` of the run's API knows by these credentials; None: nobody.

    `own` is one of `guards`, or None where there is no run or its API is gone. Raises Failed: the 429 for
    too many wrong credentials.
    """
    own = own or _CLOSED
    shown = authenticator.shown(headers, repeated)
    if (found := own.known(shown)) is not None:
        return found
    # No early exit: time must not tell which guard knows them.
    known_by = [each for each in guards if each.known(shown) is not None] if any(shown) else []
    if known_by:
        return await _caller_known_elsewhere(own, guards, shown)
    try:
        return await own.judge(headers, repeated, client)
    except Failed as failed:
        if failed.answer.status == 429:
            raise
        # Whatever is wrong with the credentials: to say it would say that there is such a run.
    work = of_costliest(guards, headers)
    await spend(work, own.work(headers, repeated), hashing=hashing, client=client)
    return None


async def _caller_known_elsewhere(
    own: Guard, guards: Sequence[Guard], shown: authenticator.Shown
) -> str | None:
    """Return what `caller` returns for credentials that another guard knows."""
    found: str | None = None
    try:
        # One secret may open several APIs. All are asked, lest time tell whether one of them has the run.
        for each in guards:
            named = await each.settle(shown)
            if each is own:
                found = named
    except Busy as busy:
        raise authenticator.too_often(busy) from None
    if found is not None:
        return found
    return authenticator.NOBODY if own.opens_to_all and not own.unset else None


def of_costliest(guards: Iterable[Guard], headers: Mapping[bytes, bytes]) -> list[Parameters]:
    """Return the hashes that credentials of these kinds cost at most at one of the APIs."""
    scheme = headers.get(b"authorization", b"")[:6].lower()
    has_token = bool(headers.get(b"token")) or scheme == b"bearer"
    has_password = bool(headers.get(b"user") and headers.get(b"password")) or scheme == b"basic "
    found: list[Parameters] = []
    for guard in guards:
        if has_token and (work := guard.token_work):
            found = max(found, work, key=cost)
        if has_password and (work := guard.password_work):
            found = max(found, work, key=cost)
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
        raise authenticator.too_often(busy) from None
