"""The number of the store's form, and what is asked of a store before it is used.

Called by `open_store`. Invariants: a process with keys uses no store whose form it does not know, and
none that was not adopted since an earlier release wrote it; readers without keys may read both. A store
that shows signatures is never taken for one of an earlier release.
"""

from __future__ import annotations

from iogate.errors import WrongStore
from iogate.security.keyring import Keyring
from iogate.store import keys
from iogate.store.connection.connection import Connection
from iogate.store.connection.failures import CommandFailed, NotPermitted
from iogate.store.integrity import trust

TOO_NEW = "IOG671"
TOO_OLD = "IOG672"
SET_BACK = "IOG677"


async def number(connection: Connection) -> int:
    """Return the number of the store's form: 1 for one without seals, the newest for an empty one."""
    form, live = await connection.calls([("GET", keys.FORMAT), ("EXISTS", keys.LIVE)])
    if form is not None:
        return int(form) if form.isdigit() and len(form) < 10 else 0
    return 1 if live else keys.FORMAT_NUMBER


async def is_older(connection: Connection) -> bool:
    """Tell whether the store has the form of an earlier release.

    A number that cannot be read counts as the newest: signatures decide anyway.
    """
    try:
        return await number(connection) < keys.FORMAT_NUMBER
    except (CommandFailed, NotPermitted):
        return False


async def was_signed(connection: Connection) -> bool:
    """Tell whether the store shows that processes with keys have used it: their names, or signatures."""
    names, numbers, live = await connection.calls(
        [("EXISTS", keys.KEYS), ("LRANGE", keys.REVISIONS, 0, -1), ("HGET", keys.LIVE, "number")]
    )
    kept = [each.decode("utf-8", "replace") for each in (*numbers, *([live] if live else []))]
    signed = (
        await connection.calls([("HEXISTS", keys.REVISION + each, "sig") for each in kept]) if kept else []
    )
    return bool(names or any(signed))


def set_back(address: str) -> WrongStore:
    """Return the error of a store that held signed objects and looks like one of an earlier release now."""
    return WrongStore(
        f"the store at {address} was used by this release before, and {keys.FORMAT} says that an earlier "
        "release wrote it: something without the key changed it, or an old backup was restored",
        code=SET_BACK,
        hint="find out who else can write to the store; only if all of its content is to be trusted, stop "
        "all gateways and workers and sign it with `iogate store adopt --trust-all`",
    )


async def check(connection: Connection, ring: Keyring, *, adopts: bool = False) -> None:
    """Check that this process may use the store with these keys.

    Raises WrongStore for a newer form; and, unless it `adopts`, for an older form, a form that was set back,
    or other keys.
    """
    try:
        form = await number(connection)
    except (CommandFailed, NotPermitted):
        # A user who may not read it, or an outsider's value: signatures decide anyway.
        form = keys.FORMAT_NUMBER
    if form > keys.FORMAT_NUMBER:
        raise WrongStore(
            f"the store at {connection.address} has form {form}, and this release of iogate knows forms up "
            f"to {keys.FORMAT_NUMBER}",
            code=TOO_NEW,
            hint="use the release that wrote it, or a newer one",
        )
    if adopts or not (ring.verifies_revisions or ring.publishes):
        return
    if form < keys.FORMAT_NUMBER:
        if await was_signed(connection):
            raise set_back(connection.address)
        raise WrongStore(
            f"the store at {connection.address} was written by an earlier release, so what it holds is not "
            "signed",
            code=TOO_OLD,
            hint="stop all gateways and workers, then let `iogate store adopt` sign what is there",
        )
    await trust.check_key(connection, ring)
