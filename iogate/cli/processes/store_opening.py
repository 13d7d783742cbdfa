"""Opening of the store with the keys of this machine, which are generated for a store without keys.

Used by every command that opens the store. Invariants: the first process that needs a key generates it,
once; a second machine must use the key of the first; reading needs no key. A store that this machine has
used with signatures is adopted again only on request (`--trust-all`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from iogate.errors import Unreachable, WrongStore
from iogate.security.redaction_patterns import redact_url
from iogate.store.embedded.known_stores import ADOPTING, KnownStores, stored_name
from iogate.store.keys import FORMAT_NUMBER

if TYPE_CHECKING:
    from iogate.settings import Settings
    from iogate.store.integrity.adoption import Adopted
    from iogate.store.store import Store

CLIENT = "iogate-cli"


async def open_to_read(settings: Settings, url: str) -> Store:
    """Open the store for a read-only command; without the local keys if the store does not trust them."""
    from iogate.store.integrity.newest_seals import NewestSeals
    from iogate.store.integrity.store_format import SET_BACK, TOO_OLD
    from iogate.store.integrity.trust import WRONG_KEY, keyring
    from iogate.store.store import open_store

    try:
        return await open_store(
            url,
            client_name=CLIENT,
            keyring=keyring(settings, Path.cwd()),
            replicas=settings.confirming,
            project=settings.project,
            seals=NewestSeals(settings.data_dir, url, writes=False),
        )
    except WrongStore as error:
        if error.code not in {WRONG_KEY, TOO_OLD, SET_BACK}:
            raise
    return await open_store(url, client_name=CLIENT, replicas=settings.confirming, project=settings.project)


async def open_to_change(settings: Settings, url: str, publishes: bool) -> Store:
    """Open the store for a command that changes data; `publishes`: it signs a revision.

    Raises WrongStore for a store that is used with another key, or that an earlier release wrote.
    """
    from iogate.store.integrity.newest_seals import NewestSeals
    from iogate.store.integrity.trust import keyring
    from iogate.store.store import open_store

    if publishes and settings.publish_key is None:
        await ensure_key(settings, url)
    ring = keyring(settings, Path.cwd(), publishes=publishes)
    return await open_store(
        url,
        client_name=CLIENT,
        keyring=ring,
        replicas=settings.confirming,
        project=settings.project,
        seals=NewestSeals(settings.data_dir, url),
    )


async def open_to_serve(
    settings: Settings, *, publishes: bool, embedded: bool, say: Callable[[str], None]
) -> Store:
    """Open the store for a parent of gateways or workers, which need the key.

    An embedded store that an earlier release wrote is adopted. Raises WrongStore as `open_to_change` does,
    and for a store whose form was set back.
    """
    from iogate.store.integrity import store_format
    from iogate.store.integrity.newest_seals import NewestSeals
    from iogate.store.integrity.trust import keyring
    from iogate.store.store import open_store

    url = settings.redis_url
    assert url is not None
    await ensure_key(settings, url)
    ring = keyring(settings, Path.cwd(), publishes=publishes)
    if embedded:
        store = await open_store(url, client_name=CLIENT, keyring=ring, adopts=True)
        try:
            if await store.is_older():
                await check_older(settings, store, url, embedded=True)
                say("the store was written by an earlier release: signing its data")
                say(summarize_adoption(await sign_all(settings, store, url, embedded=True, say=say)))
        finally:
            await store.close()
    known = KnownStores(settings.data_dir)
    name = stored_name(url, embedded=embedded)
    try:
        store = await open_store(
            url,
            client_name="iogate-parent",
            keyring=ring,
            replicas=settings.confirming,
            project=settings.project,
            seals=NewestSeals(settings.data_dir, url),
        )
    except WrongStore as error:
        if error.code == store_format.TOO_OLD and known.format_number(name) > ADOPTING:
            raise store_format.set_back(redact_url(url)) from None
        raise
    # A read-only folder must not prevent the use of an external store.
    with contextlib.suppress(*(() if embedded else (OSError, Unreachable))):
        known.remember(name, FORMAT_NUMBER)
    return store


async def open_to_adopt(settings: Settings, url: str) -> Store:
    """Open the store with any content and with a key of this machine, which is generated if missing."""
    from iogate.store.integrity import trust
    from iogate.store.integrity.newest_seals import NewestSeals
    from iogate.store.store import open_store

    if trust.link_key(settings) is None:
        trust.generate_link_key(settings)
    ring = trust.keyring(settings, Path.cwd(), publishes=settings.publish_key is not None)
    seals = NewestSeals(settings.data_dir, url)
    return await open_store(url, client_name=CLIENT, keyring=ring, adopts=True, seals=seals)


async def check_older(settings: Settings, store: Store, url: str, *, embedded: bool) -> None:
    """Check before opening that a store of an older form has not been used with signatures.

    An adoption that this machine began and did not end has left signatures, and may be repeated. Raises
    WrongStore for a store whose form was set back.
    """
    from iogate.store.integrity import store_format

    known = KnownStores(settings.data_dir).format_number(stored_name(url, embedded=embedded))
    if known > ADOPTING or (known < ADOPTING and await store.was_signed()):
        raise store_format.set_back(store.address)


async def sign_all(
    settings: Settings, store: Store, url: str, *, embedded: bool, say: Callable[[str], None]
) -> Adopted:
    """Sign all data in the opened store, and record that this machine has done so."""
    from iogate.store.integrity.adoption import adopt

    known, name = KnownStores(settings.data_dir), stored_name(url, embedded=embedded)
    known.remember(name, ADOPTING)
    found = await adopt(store, lambda done, total: say(f"  {done} of about {total} keys checked"))
    known.remember(name, FORMAT_NUMBER)
    return found


async def ensure_key(settings: Settings, url: str) -> None:
    """Generate the key to open the store with, if this machine has none and no process uses one.

    Raises WrongStore if another process does.
    """
    from iogate.store.integrity import trust
    from iogate.store.store import open_store

    if trust.link_key(settings) is not None:
        return
    store = await open_store(url, client_name=CLIENT)
    try:
        await store.check_unused()
    except WrongStore:
        # Another command in this folder may have generated it meanwhile.
        if trust.link_key(settings) is None:
            raise
        return
    finally:
        await store.close()
    trust.generate_link_key(settings)


def summarize_adoption(found: Adopted) -> str:
    """Return a one-line summary of the adoption of a store by the key of this machine."""
    counts = {
        "revision": found.revisions,
        "run": found.runs,
        "ended run": found.ended,
        "message": found.messages,
        "event": found.events,
    }
    parts = [f"{number} {noun}{'' if number == 1 else 's'}" for noun, number in counts.items() if number]
    return "signed: " + (", ".join(parts) or "nothing, the store is empty")
