"""Format number of the store, and the checks before a store is used.

Called by `open_store`. Invariants: a process with keys uses no store of an unknown format, and none of an
earlier release that was not adopted; readers without keys may read both. A store with signatures is never
treated as one of an earlier release.
"""

from __future__ import annotations

from iogate.errors import WrongStore
from iogate.security.keyring import Keyring
from iogate.store import keys
from iogate.store.connection.connection import Connection
from iogate.store.connection.failures import CommandFailed, NotPermitted
from iogate.store.integrity import trust
from iogate.store.revisions import projects

TOO_NEW = "IOG671"
TOO_OLD = "IOG672"
SET_BACK = "IOG677"


async def number(connection: Connection) -> int:
    """Return the format number of the store: 1 for one without seals, the newest for an empty one."""
    form, live = await connection.calls([("GET", keys.FORMAT), ("EXISTS", keys.LIVE)])
    if form is not None:
        return int(form) if form.isdigit() and len(form) < 10 else 0
    return 1 if live else keys.FORMAT_NUMBER


async def is_older(connection: Connection) -> bool:
    """Return whether the store has the format of an earlier release.

    An unreadable number counts as the newest, because the signatures are checked anyway.
    """
    try:
        return await number(connection) < keys.FORMAT_NUMBER
    except (CommandFailed, NotPermitted):
        return False


async def was_signed(connection: Connection) -> bool:
    """Return whether the store was signed, whatever its format says: by names of keys, or by signatures."""
    names, live = await connection.calls([("EXISTS", keys.KEYS), ("HGET", keys.LIVE, "number")])
    numbers = await projects.kept(connection)
    kept = [each.decode("utf-8", "replace") for each in (*numbers, *([live] if live else []))]
    signed = (
        await connection.calls([("HEXISTS", keys.REVISION + each, "sig") for each in kept]) if kept else []
    )
    return bool(names or any(signed))


def set_back(address: str) -> WrongStore:
    """Return the error of a signed store whose format is now that of an earlier release."""
    return WrongStore(
        f"the store at {address} was used by this release before, and {keys.FORMAT} says that an earlier "
        "release wrote it: a program without the key changed it, or an old backup was restored",
        code=SET_BACK,
        hint="find out who else can write to the store; only if all of its content is to be trusted, stop "
        "all gateways and workers and sign it with `iogate store adopt --trust-all`",
    )


async def check(connection: Connection, ring: Keyring, *, adopts: bool = False) -> None:
    """Check by the store's format that this process may use the store with these keys.

    Raises WrongStore for a newer format; and, unless it `adopts`, for an older format, a format that was set
    back, or other keys.
    """
    try:
        found = await number(connection)
    except (CommandFailed, NotPermitted):
        # The user may not read it, or the value is invalid. The signatures are checked anyway.
        found = keys.FORMAT_NUMBER
    if found > keys.FORMAT_NUMBER:
        raise WrongStore(
            f"the store at {connection.address} has format {found}, and this release of iogate knows formats "
            f"up to {keys.FORMAT_NUMBER}",
            code=TOO_NEW,
            hint="use the release that wrote it, or a newer one",
        )
    if adopts or not (ring.verifies_revisions or ring.publishes):
        return
    if found < keys.FORMAT_NUMBER:
        if await was_signed(connection):
            raise set_back(connection.address)
        raise WrongStore(
            f"the store at {connection.address} was written by an earlier release, so its content is not "
            "signed",
            code=TOO_OLD,
            hint="stop all gateways and workers, then sign its content with `iogate store adopt`",
        )
    await trust.check_key(connection, ring)
