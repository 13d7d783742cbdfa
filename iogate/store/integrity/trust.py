"""Keyring of a process, from its settings, and the check that the store is used with the same keys.

Called by gateways, workers and the command line before they open the store. Invariants: a key is generated
only for a store that has none yet; the store holds public names of keys, never a key.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from iogate.atomic_files import locked_folder
from iogate.errors import Misused, WrongStore
from iogate.security.keyring import Keyring
from iogate.security.secrets import Unset, resolve
from iogate.settings import LINK_KEY_FILE, Settings
from iogate.store import keys
from iogate.store.connection.connection import Connection
from iogate.store.connection.failures import CommandFailed, StoreFull, Unsaved
from iogate.store.embedded import data_folder

WRONG_KEY = "IOG670"
MOST_NAMES = 16


def keyring(settings: Settings, root: Path | None = None, *, publishes: bool = False) -> Keyring:
    """Return the keyring of trusted keys, of the settings and `data_dir/link_key`; maybe without keys.

    `publishes` reads `publish_key` too. Raises Unset if that has no value, Misused for an invalid key.
    """
    found = link_key(settings)
    private = None
    if publishes and settings.publish_key is not None:
        ((kind, value),) = settings.publish_key.items()
        private = resolve("file" if kind == "file" else "env", value, root=root)
    return Keyring(
        () if found is None else (found, *settings.previous_link_keys),
        publish_key=private,
        publishers=settings.publishers,
    )


def gateway_keyring(settings: Settings, root: Path | None = None) -> Keyring:
    """Return the keyring of trusted keys of a gateway, with `publish_key` if it publishes for operators.

    Without `publishers`, nobody accepts signatures of that key, and `link_key` signs. A `publish_key` that
    is invalid or has no value here is left out: the settings may be those of several machines. Raises Misused
    for invalid `publishers`.
    """
    if settings.operators and settings.publishers and settings.publish_key is not None:
        with contextlib.suppress(Unset, Misused):
            return keyring(settings, root, publishes=True)
    return keyring(settings, root)


def link_key(settings: Settings) -> str | None:
    """Return the trusted key: the setting `link_key`, else the generated one in `data_dir`, else None."""
    if settings.link_key:
        return settings.link_key
    try:
        return (settings.data_dir / LINK_KEY_FILE).read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def generate_link_key(settings: Settings) -> None:
    """Write a new key to trust to `data_dir/link_key`, for its owner only, unless the file has a key.

    The file is created atomically, and on the disk afterwards: a store whose key is lost cannot be opened.
    Raises Unreachable if the folder cannot be written.
    """
    data_folder.make(settings.data_dir)
    path = settings.data_dir / LINK_KEY_FILE
    written = settings.data_dir / f"{LINK_KEY_FILE}.{secrets.token_hex(8)}"
    descriptor = os.open(written, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with locked_folder(settings.data_dir) as folder:
            try:
                path.hardlink_to(written)
            except FileExistsError:
                # Earlier releases did not wait for the disk: a power failure could leave an empty file.
                with contextlib.suppress(OSError):  # another user's file
                    if not path.read_bytes().strip():
                        written.replace(path)
            with contextlib.suppress(OSError):  # a file system without fsync of folders
                os.fsync(folder)
    finally:
        written.unlink(missing_ok=True)


async def key_names(connection: Connection) -> set[str]:
    """Return the names of the keys that processes of the store trust."""
    found = await connection.call("HGETALL", keys.KEYS)
    return {name.decode("ascii", "replace") for name in found[::2]}


async def check_key(connection: Connection, ring: Keyring) -> None:
    """Check that the store's processes trust one of these keys, and register the name of the first one.

    Raises WrongStore if other processes use other keys, StoreUnavailable if the store does not answer.
    """
    if not ring.can_sign:
        return
    try:
        known = await key_names(connection)
    except CommandFailed:
        # Invalid value or missing permission. The signatures are checked anyway.
        return
    if known and known.isdisjoint(ring.ids):
        raise wrong_key(connection.address, known, ring)
    if ring.ids[0] not in known and len(known) < MOST_NAMES:
        # Missing permission, or a server that accepts no writes now, and can still be read.
        with contextlib.suppress(CommandFailed, StoreFull, Unsaved):
            await connection.call("HSET", keys.KEYS, ring.ids[0], 1)


def wrong_key(address: str, known: set[str], ring: Keyring) -> WrongStore:
    """Return the error of a process with a `link_key` that the processes of the store do not trust."""
    others = ", ".join(sorted(f"{name:.16}" for name in known)[:4])
    if ring.can_sign:
        difference = f"this process has another link_key (named {ring.ids[0]}) than"
    else:
        difference = "this process has no link_key, unlike"
    return WrongStore(
        f"{difference} those that use the store at {address} (named {others})",
        code=WRONG_KEY,
        hint="set link_key to the same value on every machine that shares the store: it is in the settings "
        "of the others, or in link_key in their data_dir. If that key is lost, `iogate store adopt "
        "--trust-all` signs the content of the store with the key of this machine",
    )
