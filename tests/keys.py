"""The key that the stores of tests are used with."""

from __future__ import annotations

from typing import Final

from iogate.security.keyring import Keyring

LINK_KEY: Final = "k" * 40
RING: Final = Keyring((LINK_KEY,))
