"""Stores that this machine has used, with their format numbers: the file `known_stores` in `data_dir`.

Written by the parents of gateways and workers and by `iogate store adopt`. Invariant: a number never
decreases. The number in the store proves nothing: a process without the key can delete it, so that the store
looks like one of an earlier release, whose unsigned objects an adoption would sign.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from iogate.atomic_files import write_atomically
from iogate.security.redaction_patterns import redact_url
from iogate.store.embedded import data_folder

FILE: Final = "known_stores"
EMBEDDED: Final = "embedded"
"""Name of the embedded store of the folder, wherever its socket is."""
ADOPTING: Final = 1
"""Format number of a store whose adoption has begun and may be repeated."""
MOST = 64
_MOST_BYTES = 256 * 1024


def stored_name(url: str, *, embedded: bool) -> str:
    """Return the name of a store in the file of known stores, without passwords.

    It is the same in all releases.
    """
    return EMBEDDED if embedded else redact_url(url, "***")


class KnownStores:
    """File of one `data_dir`: one line per store, with its format number and name."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE

    def format_number(self, name: str) -> int:
        """Return the highest format number with which this machine has used a known store, else 0."""
        return self._read().get(name, 0)

    def remember(self, name: str, format_number: int) -> None:
        """Record a store as known in this format; a lower number changes nothing.

        Raises OSError or Unreachable if the file cannot be written.
        """
        stores = self._read()
        if stores.get(name, 0) >= format_number:
            return
        stores.pop(name, None)
        kept = [*stores.items(), (name, format_number)][-MOST:]
        data_folder.make(self._path.parent)
        lines = "".join(f"{number} {each}\n" for each, number in kept)
        write_atomically(self._path, lines, sync=True)

    def _read(self) -> dict[str, int]:
        try:
            with self._path.open(encoding="utf-8", errors="replace") as file:
                lines = file.read(_MOST_BYTES).splitlines()
        except FileNotFoundError:
            return {}
        pairs = (line.partition(" ") for line in lines)
        return {name: int(form) for form, _, name in pairs if form.isdecimal() and len(form) < 10 and name}
