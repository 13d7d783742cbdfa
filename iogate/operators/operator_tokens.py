"""Authentication of the operators of the setting `operators` by their tokens.

Used by `gateway.operators` for each request, and by the console for each session. Invariants: no message or
representation contains a token; the time of a comparison does not depend on how similar a wrong token is; an
address with too many wrong tokens is refused even with a right one, unless that one was used from there
shortly before, so that nobody can guess tokens or lock an operator out.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from iogate.auth.secret_reader import Fingerprint, SecretReader, no_fingerprint
from iogate.messages import conjoined
from iogate.operators.roles import Operator, Role
from iogate.security.failure_limit import FailureLimit, network
from iogate.security.secrets import Verifier, hash_token
from iogate.settings.operators import DeclaredOperator

LEAST_TOKEN: Final = 16
"""Characters of a token; a shorter one could be guessed in spite of the limit of attempts."""
REMEMBERED_S: Final = 3600.0
"""Time after its last use from an address for which a right token is exempt from the limit of attempts."""
REMEMBERED: Final = 1000
LOOK_S: Final = 1.0
"""Interval between checks of the files with tokens, which may have been replaced."""


class OperatorTokens:
    """Operators of one process, found by their tokens. `root` is the folder of relative paths of files."""

    def __init__(
        self,
        declared: Mapping[str, DeclaredOperator],
        *,
        root: Path | None = None,
        fingerprint: Fingerprint = no_fingerprint,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._declared = declared
        self._root, self._fingerprint, self._monotonic = root, fingerprint, monotonic
        self._failures = FailureLimit(monotonic=monotonic)
        self._recent: dict[tuple[str, bytes], float] = {}
        """Address and digest of right tokens, and the time of their last use; least recent first."""
        self._read()

    def _read(self) -> None:
        secrets = SecretReader(self._root, self._fingerprint)
        tokens: dict[str, list[str]] = {}
        self.closed: dict[str, str] = {}
        """Operators who cannot log in on this machine, with the reason."""
        self.spare: dict[str, str] = {}
        """Operators with a missing token who have another one on this machine."""
        for name, each in self._declared.items():
            accepted, missing = secrets.texts(each.tokens, _check_length)
            if accepted:
                tokens[name] = accepted
            if missing:
                (self.spare if accepted else self.closed)[name] = "; ".join(missing)
        self._hashes = {name: frozenset(map(_hash, texts)) for name, texts in tokens.items()}
        self._close_shared(tokens)
        self._secrets = secrets
        self._verifier = Verifier(tokens)
        self._operators = {
            name: Operator(name=name, role=Role.of(self._declared[name].role)) for name in tokens
        }
        self._looked_s = self._monotonic()

    def _close_shared(self, tokens: dict[str, list[str]]) -> None:
        """Close the operators that have a token in common, since it does not tell who acts."""
        holders: dict[str, list[str]] = {}
        for name, hashes in self._hashes.items():
            for hashed in hashes:
                holders.setdefault(hashed, []).append(name)
        for names in holders.values():
            if len(names) > 1:
                for name in names:
                    tokens.pop(name, None)
                    self.closed[name] = f"operators {conjoined(names)} have the same token"

    @property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of each operator token that is read from a variable or file, by its source."""
        return self._secrets.fingerprints

    def refresh(self) -> bool:
        """Read operator tokens again if a file has changed, at most once a second; return whether it did."""
        if self._monotonic() - self._looked_s < LOOK_S:
            return False
        self._looked_s = self._monotonic()
        if not self._secrets.has_changed():
            return False
        self._read()
        return True

    def authenticate(self, token: bytes, address: str) -> Operator | None:
        """Return the operator with this token; None if it is wrong, which counts as a failure of the address.

        Raises Busy if the address has sent too many wrong tokens.
        """
        used = network(address), hashlib.sha256(token).digest()
        is_recent = self._is_recent(used)
        if not is_recent:
            self._failures.count_attempt(address)
        found = self._find(token)
        if found is None:
            if is_recent:
                self._failures.count_attempt(address)
            return None
        if not is_recent:
            self._failures.succeeded(address)
        self._remember(used)
        return found

    def recognize(self, token: bytes, address: str) -> Operator | None:
        """Return the operator with this token, which may be the credential of a caller: it counts no failure.

        None for an address with too many wrong tokens. Call `count_failure` if it is no credential at all.
        """
        used = network(address), hashlib.sha256(token).digest()
        if self._failures.wait_s(address) > 0 and not self._is_recent(used):
            return None
        found = self._find(token)
        if found is not None:
            self._remember(used)
        return found

    def count_failure(self, address: str) -> None:
        """Count a wrong operator token of an address. Raises Busy if the address has sent too many."""
        self._failures.count_attempt(address)

    def operator(self, name: str) -> Operator | None:
        """Return the operator with this name; None if the settings have none, or no token, for it."""
        return self._operators.get(name)

    def generation(self, name: str) -> str:
        """Return a text that changes with the tokens of an operator: a session ends with its token."""
        joined = "\n".join(sorted(self._hashes.get(name, ())))
        return hashlib.sha256(joined.encode()).hexdigest()

    def _find(self, token: bytes) -> Operator | None:
        name = self._verifier.quick_token(token)
        return None if name is None else self._operators.get(name)

    def _is_recent(self, used: tuple[str, bytes]) -> bool:
        since = self._recent.get(used)
        return since is not None and self._monotonic() - since < REMEMBERED_S

    def _remember(self, used: tuple[str, bytes]) -> None:
        self._recent.pop(used, None)
        while len(self._recent) >= REMEMBERED:
            del self._recent[next(iter(self._recent))]
        self._recent[used] = self._monotonic()


def _check_length(text: str) -> None:
    if len(text) < LEAST_TOKEN:
        raise ValueError(f"has less than {LEAST_TOKEN} characters; `iogate secret new` generates a token")


def _hash(text: str) -> str:
    return text if text.startswith("sha256:") else hash_token(text)
