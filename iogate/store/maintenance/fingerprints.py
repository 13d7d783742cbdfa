"""Keyed fingerprints of the secrets that a process has resolved, and since when it has each value.

Announced by gateways and workers, compared by `status`. Invariant: a fingerprint reveals nothing about a
secret to a reader of the store, who lacks `link_key` and therefore cannot test a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from iogate.security.keyring import Keyring
from iogate.store.maintenance.process_presence import Fingerprint
from iogate.timing.clock import epoch_ms

MOST: Final = 500
"""Maximum number of fingerprints in an announcement, which each process repeats every few seconds."""


class Fingerprints:
    """Fingerprints of one process, by the source of each secret: `env NAME` or `file PATH`."""

    def __init__(self, keyring: Keyring, *, now_ms: Callable[[], int] = epoch_ms) -> None:
        self._keyring = keyring
        self._now_ms = now_ms
        self._found: dict[str, Fingerprint] = {}

    @property
    def key(self) -> str:
        """Return the public name of the key of fingerprints, which are compared only if it is the same."""
        return self._keyring.ids[0] if self._keyring.can_sign else ""

    def update(self, values: Mapping[str, str]) -> dict[str, Fingerprint]:
        """Return the fingerprints of secrets to announce; `values` are those of the present ones.

        A value that has not changed keeps its time.
        """
        now_ms = self._now_ms()
        found = {}
        for source in sorted(values)[:MOST]:
            known, value = self._found.get(source), values[source]
            same = known is not None and known.value == value
            found[source] = known if known is not None and same else Fingerprint(value, now_ms)
        self._found = found
        return found
