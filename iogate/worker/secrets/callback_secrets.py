"""Secrets of the callbacks of the live revisions: whether this worker has them.

Used by `maintenance`, which announces the result, so that a missing secret is known before the first
callback. The delivery resolves the secret again for each try. Invariant: a secret is kept as its fingerprint
only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from iogate.auth.model import source_of
from iogate.compiler.revision import Callback
from iogate.security import standard_webhooks
from iogate.security.secrets import Unset, resolve
from iogate.store.maintenance.process_presence import CALLBACK

if TYPE_CHECKING:
    from iogate.compiler.revision import Revision
    from iogate.security.keyring import Keyring


class CallbackSecrets:
    """State of the secrets of all callbacks, by project and API."""

    def __init__(self, root: Path, keyring: Keyring) -> None:
        self._root = root
        self._keyring = keyring
        self._callbacks: dict[str, dict[str, Callback]] = {}
        self._missing: dict[str, str] = {}
        self._resolved_apis: set[str] = set()
        self.fingerprints: dict[str, str] = {}
        """Fingerprint of each resolved secret, by its source."""
        self.appeared = False
        """Whether a callback has got a secret since this was last set to False; also one at the start."""

    def take(self, project: str, revision: Revision | None) -> None:
        """Follow the callbacks of the live revision of a project; None: it has none any more."""
        apis = {} if revision is None else revision.apis
        self._callbacks[project] = {
            api.id: api.callback for api in apis.values() if isinstance(api.callback, Callback)
        }
        self.refresh()

    def refresh(self) -> None:
        """Resolve the secrets of all callbacks again."""
        missing: dict[str, str] = {}
        fingerprints: dict[str, str] = {}
        before, resolved = self._resolved_apis, set[str]()
        for callbacks in self._callbacks.values():
            for api, callback in callbacks.items():
                try:
                    text = self._resolved(callback)
                except (Unset, ValueError) as error:
                    missing[api] = str(error)
                    continue
                resolved.add(api)
                source = source_of(callback.secret)
                if (fingerprint := self._keyring.fingerprint(source, text)) is not None:
                    fingerprints[source] = fingerprint
        self._missing, self.fingerprints = missing, fingerprints
        self._resolved_apis = resolved
        self.appeared |= not resolved <= before

    def announced(self) -> Mapping[str, str]:
        """Return for `Process.detail` the reason for each missing or invalid secret of callbacks."""
        return {CALLBACK + api: reason for api, reason in self._missing.items()}

    def _resolved(self, callback: Callback) -> str:
        """Return the secret of a callback.

        Raises Unset if it is missing, and ValueError if it cannot sign.
        """
        kind, _, value = source_of(callback.secret).partition(" ")
        text = resolve("env" if kind == "env" else "file", value, root=self._root)
        standard_webhooks.key(text)
        return text
