"""Resolution, hashing and verification of secrets.

The compiler hashes literals, the gateway verifies credentials, workers resolve `use.secrets` of workflows,
and the command line generates tokens. Invariant: no message, `repr` or exception of this module contains a
secret, and the time of a verification does not depend on how similar a wrong secret is.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets as entropy
import string
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type, hash_secret, verify_secret

from iogate.errors import IogateError
from iogate.security import regular_files
from iogate.security.failure_limit import Busy
from iogate.security.password_hashing import Hashing, Parameters, cost, missing, parameters
from iogate.supervision import handover

Kind = Literal["env", "file", "hash"]

MAX_FILE = 64 * 1024
"""Bytes of a file with a secret."""
MEMORY_KIB = 19 * 1024
"""Argon2id as OWASP recommends it for interactive logins: 19 MiB, two passes, one lane."""
PASSES = 2
LANES = 1
REMEMBERED_S = 60.0
"""Time for which a verifier caches the result of a check: of a correct credential, from its last use."""
RULED_OUT_MAX = 4096

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_ALPHABET = string.digits + string.ascii_letters
_PREFIX = "iog_"
_BODY = 30  # base-62 characters: 178 bits
_CHECK = 6  # holds a CRC-32


class Unset(IogateError):
    """A secret that a document refers to is missing on this machine."""

    exit_code = 3

    def __init__(self, message: str, *, kind: Kind, name: str, hint: str) -> None:
        super().__init__(message, code="IOG650", hint=hint)
        self.kind = kind
        self.name = name


def resolve(kind: Kind, value: str, *, root: Path | None = None) -> str:
    """Resolve a reference to a secret, `{env: NAME}` or `{file: PATH}`; a hash is returned unchanged.

    Raises Unset for a variable or file that is missing, unreadable or empty, since an empty token would admit
    callers with an empty header, and for a file that is not regular or larger than MAX_FILE. The last line
    break of a file is not part of the secret.
    """
    match kind:
        case "hash":
            return value
        case "env":
            found = handover.variable(value)
            text = found or ""
            if not text:
                state = "not set" if found is None else "empty"
                raise Unset(
                    f"environment variable {value} is {state}",
                    kind=kind,
                    name=value,
                    hint=f"set {value} in the environment of the process that needs it",
                )
            return text
        case "file":
            path = Path(value) if root is None else root / value
            try:
                text = regular_files.read_text(path, most=MAX_FILE)
            except ValueError as error:
                reason = str(error)
            else:
                text = text.removesuffix("\n").removesuffix("\r")
                if text:
                    return text
                reason = "is empty"
            raise Unset(
                f"secret file {value} {reason}",
                kind=kind,
                name=value,
                hint=f"write the secret to {value}, readable by the process that needs it",
            )


def hash_token(text: str) -> str:
    """Hash a secret token to `sha256:HEX`, which suffices: its entropy rules out a search."""
    return "sha256:" + hashlib.sha256(_encode(text)).hexdigest()


def hash_password(text: str, *, salt: bytes | None = None) -> str:
    """Hash a secret password to `$argon2id$…`; the compiler passes a fixed `salt`, to compile equally."""
    return hash_secret(
        _encode(text),
        salt if salt is not None else entropy.token_bytes(16),
        time_cost=PASSES,
        memory_cost=MEMORY_KIB,
        parallelism=LANES,
        hash_len=32,
        type=Type.ID,
    ).decode("ascii")


def generate_token() -> str:
    """Generate a secret token: a prefix for repository scanners, 178 random bits, and a checksum."""
    body = "".join(entropy.choice(_ALPHABET) for _ in range(_BODY))
    return _PREFIX + body + _checksum(body)


def is_token(text: str) -> bool:
    """Tell whether a secret is a token of `generate_token`, by its checksum."""
    body = text.removeprefix(_PREFIX)
    return (
        text.startswith(_PREFIX)
        and len(body) == _BODY + _CHECK
        and hmac.compare_digest(_encode(_checksum(body[:_BODY])), _encode(body[_BODY:]))
    )


@dataclass(frozen=True, slots=True)
class _Expected:
    """An accepted value: the SHA-256 of a plain value or of a token, or an Argon2 hash."""

    caller: str
    sha256: bytes = b""
    argon2: bytes = b""


class Presented(NamedTuple):
    """A token, or the password of `user`, from a request; hashed once for all verifiers."""

    value: bytes
    digest: bytes
    user: str | None = None


def presented(text: str, user: str | None = None) -> Presented:
    """Hash a token or password from a request, for comparison with secrets."""
    value = _encode(text)
    return Presented(value, hashlib.sha256(value).digest(), user)


class Verifier:
    """Verifier of credentials against the accepted values of one API.

    `credentials` maps the name of each caller (or user) to its plain or hashed values, several during a
    rotation. Plain values are kept as SHA-256 only. `hashing` is shared by all verifiers of a process;
    without it, the verifier counts no failures. `password`, and `token` if it computes Argon2 hashes, count a
    credential as a failure of the client's address before they check it, and raise `failure_limit.Busy`.
    A token that is compared by SHA-256 alone is too long to be guessed, so that it is not counted.
    """

    def __init__(
        self,
        credentials: Mapping[str, Sequence[str]],
        *,
        hashing: Hashing | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._expected = tuple(
            _expect(caller, value) for caller, values in credentials.items() for value in values
        )
        self._counts = hashing is not None
        self._hashing = hashing or Hashing()
        self.token_work = [parameters(each.argon2) for each in self._expected if each.argon2]
        """Hashes to compute for a wrong token."""
        self.password_work = self._costs_most(credentials)
        """Hashes to compute for a wrong password."""
        self._monotonic = monotonic
        self._key = entropy.token_bytes(32)
        self._right: dict[bytes, float] = {}
        """Accepted values that were given, with the end of the time for which the result is cached.

        The key is the SHA-256, or what `_memory` makes of an Argon2 hash and the text that matches it; there
        is at most one for each accepted value. No result outlives its value: when a secret is replaced or
        revoked, the gateway builds a new verifier.
        """
        self._ruled_out: dict[bytes, float] = {}
        """Argon2 hashes and texts that do not match, as found by `verify`."""
        self._running: dict[bytes, asyncio.Task[str | None]] = {}
        """Checks in progress, which further requests with the same credential join."""

    def _costs_most(self, callers: Iterable[str]) -> list[Parameters]:
        """Return the parameters of the most expensive hashes of the secrets of one caller."""
        found = [
            [parameters(each.argon2) for each in self._expected if each.caller == caller and each.argon2]
            for caller in callers
        ]
        return max(found, key=cost, default=[])

    def quick_token(self, presented: bytes) -> str | None:
        """Return the caller with this secret token by SHA-256 alone; after None, `token` has to decide."""
        return _match_sha256(self._expected, hashlib.sha256(presented).digest())

    def known_caller(self, credential: Presented) -> str | None:
        """Return the caller with this secret if that is known without a count and an Argon2 hash, else None.

        It is for a plain token or its SHA-256, and for any credential that was correct within REMEMBERED_S.
        """
        candidates = self._of(credential.user)
        if credential.user is None and (found := _match_sha256(candidates, credential.digest)) is not None:
            return found
        if self._right:
            now = self._monotonic()
            for expected in candidates:
                if expected.argon2:
                    key = self._memory(expected.argon2, credential.digest)
                elif hmac.compare_digest(expected.sha256, credential.digest):
                    key = expected.sha256
                else:
                    continue
                if self._right.get(key, 0.0) > now:
                    self._right[key] = now + REMEMBERED_S
                    return expected.caller
        return None

    def needs_hash(self, user: str | None) -> bool:
        """Tell whether the verifier computes Argon2 hashes for a password of `user` or, for None, a token."""
        return any(each.argon2 for each in self._of(user))

    async def verify(self, credential: Presented) -> str | None:
        """Return the caller with this secret, and cache the result for `known_caller`.

        Use it for a credential that is valid for another API: no failure is counted. Raises Busy.
        """
        found = self.known_caller(credential) or self._match_plain(credential)
        if found is not None:
            return found
        for each in self._of(credential.user):
            if not each.argon2 or self._is_ruled_out(each.argon2, credential.digest):
                continue
            if await self._hashing.run(_matches, each.argon2, credential.value):
                self._remember(self._memory(each.argon2, credential.digest))
                found = each.caller
            else:
                self._rule_out(each.argon2, credential.digest)
        return found

    def _of(self, user: str | None) -> tuple[_Expected, ...]:
        if user is None:
            return self._expected
        return tuple(expected for expected in self._expected if expected.caller == user)

    async def token(self, text: str, *, address: str = "") -> str | None:
        """Return the caller with this secret as its token, else None. Raises Busy."""
        return await self._verify(presented(text), address)

    async def password(self, user: str, text: str, *, address: str = "") -> str | None:
        """Return the user if the secret is its password, else None; the work is the same. Raises Busy."""
        return await self._verify(presented(text, user), address)

    async def _verify(self, credential: Presented, address: str) -> str | None:
        """Return the caller with this secret; None if it is wrong, which counts as a failure. Raises Busy."""
        found = self.known_caller(credential)
        if found is not None or (credential.user is None and not self.token_work):
            return found
        counted = address if self._counts else ""
        of_user = b"" if credential.user is None else b"user " + _encode(credential.user)
        key = self._memory(of_user, credential.digest)
        running = self._running.get(key)
        if running is not None:
            # Only the first of equal credentials is counted before: a burst of a correct one is not refused.
            found = await asyncio.shield(running)
            if found is None:
                self._hashing.count_attempt(counted)
            return found
        self._hashing.count_attempt(counted)
        running = asyncio.create_task(self._check(credential, counted), name="credential")
        self._running[key] = running
        running.add_done_callback(lambda done: self._checked(key, done))
        # If the caller disconnects, the check continues for those that have joined it.
        return await asyncio.shield(running)

    def _checked(self, key: bytes, done: asyncio.Task[str | None]) -> None:
        del self._running[key]
        if not done.cancelled():
            done.exception()  # A caller that has disconnected does not retrieve it.

    async def _check(self, credential: Presented, address: str) -> str | None:
        """Return the caller with this secret; uncount the attempt unless the secret is wrong. Raises Busy."""
        try:
            found = self._match_plain(credential) or await self._match_hashes(credential)
        except Busy:
            self._hashing.succeeded(address)
            raise
        if found is not None:
            self._hashing.succeeded(address)
        return found

    def _match_plain(self, credential: Presented) -> str | None:
        """Return the caller with this secret as plain value or SHA-256, else None."""
        found = _match_sha256(self._of(credential.user), credential.digest)
        if found is not None and credential.user is not None:
            self._remember(credential.digest)
        return found

    async def _match_hashes(self, credential: Presented) -> str | None:
        """Return the caller with this secret by Argon2 hashes, of equal work for each user. Raises Busy."""
        found: str | None = None
        slow = [expected for expected in self._of(credential.user) if expected.argon2]
        for expected in slow:
            if await self._hashing.run(_matches, expected.argon2, credential.value):
                found = expected.caller
                self._remember(self._memory(expected.argon2, credential.digest))
        if found is None and credential.user is not None:
            for each in missing(self.password_work, [parameters(other.argon2) for other in slow]):
                await self._hashing.run(each.spend, credential.value)
        return found

    def _remember(self, key: bytes) -> None:
        self._right[key] = self._monotonic() + REMEMBERED_S

    def _is_ruled_out(self, hashed: bytes, digest: bytes) -> bool:
        return self._ruled_out.get(self._memory(hashed, digest), 0.0) > self._monotonic()

    def _rule_out(self, hashed: bytes, digest: bytes) -> None:
        now, memory = self._monotonic(), self._ruled_out
        if len(memory) >= RULED_OUT_MAX:
            for key in [key for key, until in memory.items() if until <= now]:
                del memory[key]
        if len(memory) < RULED_OUT_MAX:
            memory[self._memory(hashed, digest)] = now + REMEMBERED_S

    def _memory(self, hashed: bytes, digest: bytes) -> bytes:
        # The key is random in each process: a core dump contains no fast hash of a password.
        return hmac.digest(self._key, hashed + digest, "sha256")


def _match_sha256(candidates: Sequence[_Expected], digest: bytes) -> str | None:
    found: str | None = None
    for expected in candidates:
        # No early exit: the time must not reveal which value matched.
        if expected.sha256 and hmac.compare_digest(expected.sha256, digest):
            found = expected.caller
    return found


def _expect(caller: str, value: str) -> _Expected:
    if value.startswith("$argon2id$"):
        return _Expected(caller, argon2=_encode(value))
    if _SHA256.fullmatch(value):
        return _Expected(caller, sha256=bytes.fromhex(value.removeprefix("sha256:")))
    return _Expected(caller, sha256=hashlib.sha256(_encode(value)).digest())


def _matches(hashed: bytes, presented: bytes) -> bool:
    try:
        return verify_secret(hashed, presented, Type.ID)
    except (VerificationError, InvalidHashError):
        return False


def _checksum(body: str) -> str:
    rest, digits = zlib.crc32(body.encode("utf-8", "surrogatepass")), ""
    for _ in range(_CHECK):
        rest, digit = divmod(rest, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


def _encode(text: str) -> bytes:
    # Headers may contain surrogates; encoding a credential must not raise.
    return text.encode("utf-8", "surrogatepass")
