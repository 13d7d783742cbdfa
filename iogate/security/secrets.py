"""Secrets: where they come from, how they are stored and how a presented one is judged.

Callers: the compiler hashes literals, the gateway verifies credentials, workers resolve what a
workflow's `use.secrets` names, the command line makes tokens. Invariant: no message, no `repr` and no
exception of this module ever carries a secret, and a judgement takes no longer for a near miss than
for a far one.
"""

from __future__ import annotations

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
from iogate.security.password_hashing import Hashing, Parameters, cost, missing, parameters
from iogate.supervision import handover

Kind = Literal["env", "file", "hash"]

MEMORY_KIB = 19 * 1024
"""Argon2id as OWASP recommends it for interactive logins: 19 MiB, two passes, one lane."""
PASSES = 2
LANES = 1
REMEMBERED_S = 60.0
"""How long a password that was right once need not be hashed again."""
REMEMBERED_MAX = 4096

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_ALPHABET = string.digits + string.ascii_letters
_PREFIX = "iog_"
_BODY = 30  # base-62 characters: 178 bits
_CHECK = 6  # holds a CRC-32


class Unset(IogateError):
    """A secret that a document refers to and this machine does not have."""

    exit_code = 3

    def __init__(self, message: str, *, kind: Kind, name: str, hint: str) -> None:
        super().__init__(message, code="IOG650", hint=hint)
        self.kind = kind
        self.name = name


def resolve(kind: Kind, value: str, *, root: Path | None = None) -> str:
    """The text that `{env: NAME}` or `{file: PATH}` stands for; a hash stands for itself.

    Raises Unset for a variable or file that is absent, unreadable or empty: an empty token would open
    the door to everyone who sends an empty header. A file's last line break is not part of its secret.
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
                text = path.read_text(encoding="utf-8")
            except FileNotFoundError:
                reason = "does not exist"
            except UnicodeDecodeError:
                reason = "is not UTF-8 text"
            except OSError as error:
                reason = f"cannot be read: {error.strerror}"
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
    """`sha256:HEX`: enough for a token, which has more entropy than anyone can search."""
    return "sha256:" + hashlib.sha256(_encode(text)).hexdigest()


def hash_password(text: str, *, salt: bytes | None = None) -> str:
    """`$argon2id$…`; the compiler gives a salt of its own, so that equal files compile equally."""
    return hash_secret(
        _encode(text),
        salt if salt is not None else entropy.token_bytes(16),
        time_cost=PASSES,
        memory_cost=MEMORY_KIB,
        parallelism=LANES,
        hash_len=32,
        type=Type.ID,
    ).decode("ascii")


def hash_fault(text: str) -> str | None:
    """Say what is wrong with the text of `{hash: …}`; None: nothing."""
    if text.startswith("$argon2id$"):
        try:
            verify_secret(text.encode("ascii"), b"", Type.ID)
        except (InvalidHashError, UnicodeEncodeError):
            return "not a complete argon2id hash"
        except VerificationError as error:
            # A well-formed hash answers "does not match"; a broken one says why it cannot be read.
            return None if "match" in str(error) else "not a complete argon2id hash"
        return None
    if _SHA256.fullmatch(text):
        return None
    if text.startswith("sha256:"):
        return '"sha256:" must be followed by 64 lower-case hexadecimal digits'
    return 'expected "sha256:…" or "$argon2id$…"'


def generate_token() -> str:
    """A new token: a prefix that scanners of repositories find, 178 bits, and a checksum."""
    body = "".join(entropy.choice(_ALPHABET) for _ in range(_BODY))
    return _PREFIX + body + _checksum(body)


def is_token(text: str) -> bool:
    """Tell whether `generate_token` made this text: its checksum holds."""
    body = text.removeprefix(_PREFIX)
    return (
        text.startswith(_PREFIX)
        and len(body) == _BODY + _CHECK
        and hmac.compare_digest(_encode(_checksum(body[:_BODY])), _encode(body[_BODY:]))
    )


@dataclass(frozen=True, slots=True)
class _Expected:
    """One accepted value: the SHA-256 of a clear one or of a token, or an Argon2 hash."""

    caller: str
    sha256: bytes = b""
    argon2: bytes = b""


class Presented(NamedTuple):
    """A token, or the password of `user`, hashed once for all verifiers that look for it."""

    value: bytes
    digest: bytes
    user: str | None = None


def presented(text: str, user: str | None = None) -> Presented:
    value = _encode(text)
    return Presented(value, hashlib.sha256(value).digest(), user)


class Verifier:
    """Judges presented credentials against the accepted values of one API.

    `credentials` maps the name of each caller (or user) to its values, clear or hashed: several while
    one is rotated out. Clear values are kept as SHA-256 only. `hashing` is shared by all verifiers of a
    process. Both judgements take the client's address, by which wrong credentials are counted before an
    Argon2 hash is computed; they raise `password_hashing.Busy`.
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
        self._hashing = hashing or Hashing()
        self.token_work = [parameters(each.argon2) for each in self._expected if each.argon2]
        """Hashes that a wrong token costs."""
        self.password_work = self._costs_most(credentials)
        """Hashes that a wrong password costs."""
        self._monotonic = monotonic
        self._key = entropy.token_bytes(32)
        self._remembered: dict[bytes, float] = {}
        self._ruled_out: dict[bytes, float] = {}
        """Argon2 hashes and texts that do not match, as `settle` found."""

    def _costs_most(self, callers: Iterable[str]) -> list[Parameters]:
        """Return the parameters of the hashes of the caller whose hashes cost the most."""
        found = [
            [parameters(each.argon2) for each in self._expected if each.caller == caller and each.argon2]
            for caller in callers
        ]
        return max(found, key=cost, default=[])

    def quick_token(self, presented: bytes) -> str | None:
        """Name of the caller whose token this is, Argon2 aside; None: `token` has to judge."""
        return _whose(self._expected, hashlib.sha256(presented).digest())

    def known(self, shown: Presented) -> str | None:
        """Return the caller whose credential this is, if that can be told without an Argon2 hash."""
        return self._known(self._of(shown.user), shown.digest)

    async def settle(self, shown: Presented) -> str | None:
        """Return the caller whose credential this is, and let `known` tell it for REMEMBERED_S.

        For a credential that is right elsewhere: whoever has one is not guessing, and no failure is counted.
        """
        found = self.known(shown)
        if found is not None:
            return found
        for each in self._of(shown.user):
            if not each.argon2 or self._remembers(self._ruled_out, each.argon2, shown.digest):
                continue
            matches = await self._hashing.run(_matches, each.argon2, shown.value)
            self._remember(self._remembered if matches else self._ruled_out, each.argon2, shown.digest)
            found = each.caller if matches else found
        return found

    def _of(self, user: str | None) -> tuple[_Expected, ...]:
        if user is None:
            return self._expected
        return tuple(expected for expected in self._expected if expected.caller == user)

    async def token(self, presented: str, *, address: str = "") -> str | None:
        """Name of the caller whose token this is; None: nobody's."""
        return await self._judge(self._expected, _encode(presented), address, pad=False)

    async def password(self, user: str, presented: str, *, address: str = "") -> str | None:
        """The user's name if the password is theirs; None otherwise, after as much work as for any user."""
        return await self._judge(self._of(user), _encode(presented), address, pad=True)

    async def _judge(
        self, candidates: Sequence[_Expected], presented: bytes, address: str, *, pad: bool
    ) -> str | None:
        digest = hashlib.sha256(presented).digest()
        found = self._known(candidates, digest)
        if found is not None or not self.password_work:
            return found
        slow = [expected for expected in candidates if expected.argon2]
        self._hashing.admit(address)
        for expected in slow:
            if await self._hashing.run(_matches, expected.argon2, presented):
                found = expected.caller
                self._remember(self._remembered, expected.argon2, digest)
        if found is not None:
            self._hashing.succeeded(address)
        elif pad:
            for each in missing(self.password_work, [parameters(mine.argon2) for mine in slow]):
                await self._hashing.run(each.spend, presented)
        return found

    def _known(self, candidates: Sequence[_Expected], digest: bytes) -> str | None:
        found = _whose(candidates, digest)
        if found is None and self._remembered:
            for expected in candidates:
                if expected.argon2 and self._remembers(self._remembered, expected.argon2, digest):
                    return expected.caller
        return found

    def _remembers(self, memory: Mapping[bytes, float], hashed: bytes, digest: bytes) -> bool:
        return memory.get(self._memory(hashed, digest), 0.0) > self._monotonic()

    def _remember(self, memory: dict[bytes, float], hashed: bytes, digest: bytes) -> None:
        now = self._monotonic()
        if len(memory) >= REMEMBERED_MAX:
            for key in [key for key, until in memory.items() if until <= now]:
                del memory[key]
        if len(memory) < REMEMBERED_MAX:
            memory[self._memory(hashed, digest)] = now + REMEMBERED_S

    def _memory(self, hashed: bytes, digest: bytes) -> bytes:
        # Keyed anew in each process: a core dump does not hold a fast hash of a slow secret's text.
        return hmac.digest(self._key, hashed + digest, "sha256")


def _whose(candidates: Sequence[_Expected], digest: bytes) -> str | None:
    found: str | None = None
    for expected in candidates:
        # No early exit: how many values were compared must not tell which one was right.
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
    # Headers arrive as Latin-1 or with surrogates; no presented text may raise.
    return text.encode("utf-8", "surrogatepass")
