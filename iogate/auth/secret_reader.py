"""Secrets of callers and operators on this machine, which are missing or change.

Used by `gateway.authentication` for each API, and by `operator_tokens`. Invariant: no message contains a
secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, assert_never

from iogate import atomic_files
from iogate.auth.model import EnvSecret, FileSecret, HashedSecret, source_of
from iogate.security import secrets

if TYPE_CHECKING:
    from iogate.auth.model import StoredSecret

Fingerprint: TypeAlias = Callable[[str, str], str | None]
"""Returns the keyed fingerprint of a secret, of its source and text; None without a key."""
Check: TypeAlias = Callable[[str], object]
"""Raises ValueError for a text that cannot be used as a secret."""


def no_fingerprint(_source: str, _text: str) -> str | None:
    """Return no fingerprint of a secret that is read, outside a gateway."""
    return None


class SecretReader:
    """Reader of the secrets of one API, or of the operators."""

    def __init__(
        self,
        root: Path | None = None,
        fingerprint: Fingerprint = no_fingerprint,
        *,
        check_only: bool = False,
    ) -> None:
        """Create a reader of secrets; `check_only`: it reads no variable and no file, and misses none."""
        self.lacks: tuple[str, ...] = ()
        """Messages about missing secrets, of callers that have no other secret on this machine."""
        self.spare: tuple[str, ...] = ()
        """Messages about missing secrets, of callers that have another secret on this machine."""
        self.fingerprints: dict[str, str] = {}
        """Fingerprint of each secret in a variable or file, by its source."""
        self._root, self._fingerprint, self._check_only = root, fingerprint, check_only
        self._files: dict[Path, atomic_files.Version] = {}

    def read(
        self,
        named: Mapping[str, tuple[StoredSecret, ...]],
        into: dict[str, list[str]],
        *,
        check: Check | None = None,
    ) -> None:
        """Read the secrets of each caller, add their texts to `into`, and note those that are missing."""
        for name, values in named.items():
            accepted, missing = self.texts(values, check)
            if accepted:
                into.setdefault(name, []).extend(accepted)
                self.spare += missing
            else:
                self.lacks += missing

    def texts(
        self, values: Iterable[StoredSecret], check: Check | None = None
    ) -> tuple[list[str], tuple[str, ...]]:
        """Read secrets on this machine: return their texts, and messages about those that are missing."""
        accepted: list[str] = []
        missing: tuple[str, ...] = ()
        for secret in values:
            if self._check_only and not isinstance(secret, HashedSecret):
                continue
            if isinstance(secret, FileSecret):
                # Before the file is read, so that a change in between is noticed later.
                path = Path(secret.path) if self._root is None else self._root / secret.path
                self._files[path] = atomic_files.version(path)
            try:
                text = _resolve(secret, self._root)
                if check is not None:
                    check(text)
                accepted.append(text)
                self._note_fingerprint(secret, text)
            except secrets.Unset as unset:
                missing += (unset.message,)
            except ValueError as unusable:
                missing += (f"{source_of(secret)} {unusable}",)
        return accepted, missing

    def has_changed(self) -> bool:
        """Tell whether a file of a secret has changed since its reader read it; calls stat on each file."""
        return any(atomic_files.version(path) != known for path, known in self._files.items())

    def _note_fingerprint(self, secret: StoredSecret, text: str) -> None:
        source = source_of(secret)
        found = self._fingerprint(source, text) if source else None
        if found is not None:
            self.fingerprints[source] = found


def _resolve(secret: StoredSecret, root: Path | None) -> str:
    match secret:
        case EnvSecret():
            return secrets.resolve("env", secret.name)
        case FileSecret():
            return secrets.resolve("file", secret.path, root=root)
        case HashedSecret():
            return secrets.resolve("hash", secret.value)
        case _:
            assert_never(secret)
