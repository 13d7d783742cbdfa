"""Opens the store with the keys of this machine, which are generated for a store that has none yet.

Used by every command that opens the store. Invariants: a key is generated once, by the first process that
needs one, and a second machine is told to use the first one's; what only reads needs none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from iogate.errors import WrongStore

if TYPE_CHECKING:
    from iogate.settings import Settings
    from iogate.store.adoption import Adopted
    from iogate.store.connection import Store

CLIENT = "iogate-cli"


async def open_to_read(settings: Settings, url: str) -> Store:
    """Open the store for a command that only reads, with the keys of this machine if they are its own."""
    from iogate.store.connection import open_store
    from iogate.store.forms import TOO_OLD
    from iogate.store.trust import WRONG_KEY, keyring

    try:
        return await open_store(
            url, client_name=CLIENT, keyring=keyring(settings, Path.cwd()), replicas=settings.confirming
        )
    except WrongStore as error:
        if error.code not in {WRONG_KEY, TOO_OLD}:
            raise
    return await open_store(url, client_name=CLIENT, replicas=settings.confirming)


async def open_to_change(settings: Settings, url: str, publishes: bool) -> Store:
    """Open the store for a command that changes something; `publishes`: it signs a revision.

    Raises WrongStore for a store that is used with another key, or that an earlier release wrote.
    """
    from iogate.store.connection import open_store
    from iogate.store.trust import keyring

    if publishes and settings.publish_key is None:
        await make_key(settings, url)
    ring = keyring(settings, Path.cwd(), publishes=publishes)
    return await open_store(url, client_name=CLIENT, keyring=ring, replicas=settings.confirming)


async def open_to_serve(
    settings: Settings, *, publishes: bool, embedded: bool, say: Callable[[str], None]
) -> Store:
    """Open the store for a parent of gateways or workers, which need the key.

    An embedded store that an earlier release wrote is adopted. Raises WrongStore as `open_to_change` does.
    """
    from iogate.store.adoption import adopt
    from iogate.store.connection import open_store
    from iogate.store.trust import keyring

    assert settings.redis_url is not None
    await make_key(settings, settings.redis_url)
    ring = keyring(settings, Path.cwd(), publishes=publishes)
    if embedded:
        store = await open_store(settings.redis_url, client_name=CLIENT, keyring=ring, adopts=True)
        try:
            if await store.is_older():
                say("the store was written by an earlier release: what it holds is signed now")
                say(adopted(await adopt(store, said(say))))
        finally:
            await store.close()
    return await open_store(
        settings.redis_url, client_name="iogate-parent", keyring=ring, replicas=settings.confirming
    )


async def open_to_adopt(settings: Settings, url: str) -> Store:
    """Open the store, whatever it holds, with a key of this machine, which is generated if there is none."""
    from iogate.store import trust
    from iogate.store.connection import open_store

    if trust.link_key(settings) is None:
        trust.generate(settings)
    ring = trust.keyring(settings, Path.cwd(), publishes=settings.publish_key is not None)
    return await open_store(url, client_name=CLIENT, keyring=ring, adopts=True)


async def make_key(settings: Settings, url: str) -> None:
    """Generate the key of this machine if it has none and no other process uses the store with one.

    Raises WrongStore where others do.
    """
    from iogate.store import trust
    from iogate.store.connection import open_store

    if trust.link_key(settings) is not None:
        return
    store = await open_store(url, client_name=CLIENT)
    try:
        await store.check_unused()
    finally:
        await store.close()
    trust.generate(settings)


def said(say: Callable[[str], None]) -> Callable[[int, int], None]:
    """Return a listener that says how far an adoption is."""
    return lambda done, total: say(f"  {done} of about {total} keys looked at")


def adopted(found: Adopted) -> str:
    """Say in one line what an adoption signed."""
    counts = {
        "revision": found.revisions,
        "run": found.runs,
        "ended run": found.ended,
        "message": found.messages,
        "event": found.events,
    }
    parts = [f"{number} {noun}{'' if number == 1 else 's'}" for noun, number in counts.items() if number]
    return "signed: " + (", ".join(parts) or "nothing was there")
