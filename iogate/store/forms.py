"""The number of the store's form, and what is asked of a store before it is used.

Called by `open_store`. Invariants: a process with keys uses no store whose form it does not know, and
none that was not adopted since an earlier release wrote it; readers without keys may read both.
"""

from __future__ import annotations

from iogate.errors import WrongStore
from iogate.keyring import Keyring
from iogate.store import keys, trust
from iogate.store.failures import CommandFailed, NotPermitted
from iogate.store.line import Line

TOO_NEW = "IOG671"
TOO_OLD = "IOG672"


async def number(line: Line) -> int:
    """Return the number of the store's form: 1 for one without seals, the newest for an empty one."""
    form, live = await line.calls([("GET", keys.FORMAT), ("EXISTS", keys.LIVE)])
    if form is not None:
        return int(form) if form.isdigit() and len(form) < 10 else 0
    return 1 if live else keys.FORMAT_NUMBER


async def check(line: Line, ring: Keyring, *, adopts: bool = False) -> None:
    """Check that this process may use the store with these keys.

    Raises WrongStore for a newer form; and, unless it `adopts`, for an older form or other keys.
    """
    try:
        form = await number(line)
    except (CommandFailed, NotPermitted):
        # A user who may not read it, or an outsider's value: signatures decide anyway.
        form = keys.FORMAT_NUMBER
    if form > keys.FORMAT_NUMBER:
        raise WrongStore(
            f"the store at {line.address} has form {form}, and this release of iogate knows forms up to "
            f"{keys.FORMAT_NUMBER}",
            code=TOO_NEW,
            hint="use the release that wrote it, or a newer one",
        )
    if adopts or not (ring.verifies_revisions or ring.publishes):
        return
    if form < keys.FORMAT_NUMBER:
        raise WrongStore(
            f"the store at {line.address} was written by an earlier release: what it holds is not signed",
            code=TOO_OLD,
            hint="stop all gateways and workers, then let `iogate store adopt` sign what is there",
        )
    await trust.agree(line, ring)
