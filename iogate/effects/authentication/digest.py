"""Digest access authentication (RFC 7616): parses challenges, creates responses, counts uses of a nonce.

Called by `call_credentials`. MD5 and SHA-256, each also as `-sess`, with `qop=auth` or, for old servers,
none. A nonce is reused until the server calls it stale, so that most calls need no second round trip.
"""

from __future__ import annotations

import hashlib
import re
import secrets as entropy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from iogate.effects.authentication.policies import Digest
from iogate.http_syntax import TOKEN

_HASHES: Final = {"md5": hashlib.md5, "sha-256": hashlib.sha256}

_PIECE: Final = re.compile(
    rf"""[\s,]*(?:
        (?P<name>{TOKEN})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,"]+))
        | (?P<scheme>{TOKEN})(?:\s+(?P<token68>[A-Za-z0-9._~+/-]+=*)(?=\s*(?:,|\Z)))?
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """One way to authenticate that a server offers."""

    scheme: str
    """In lower case."""
    parameters: dict[str, str]


def parse_challenges(headers: Sequence[str]) -> list[Challenge]:
    """Parse digest and other challenges in `WWW-Authenticate`; a syntax error ends its value."""
    found: list[Challenge] = []
    for header in headers:
        at = 0
        while match := _PIECE.match(header, at):
            at = match.end()
            if match["scheme"] is not None:
                found.append(Challenge(scheme=match["scheme"].lower(), parameters={}))
            elif found:
                quoted = match["quoted"]
                value = match["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                found[-1].parameters.setdefault(match["name"].lower(), value)
    return found


@dataclass(kw_only=True)
class Session:
    """The use of one nonce by one user."""

    policy: Digest
    realm: str
    nonce: str
    opaque: str | None
    algorithm: str
    """As the server wrote it, "" where it wrote none."""
    qop: bool
    userhash: bool
    cnonce: str = field(default_factory=lambda: entropy.token_hex(16))
    uses: int = 0

    def authorize(self, method: str, uri: str) -> str:
        """Return the digest `Authorization` for another request; `uri` is the request target as sent."""
        self.uses += 1
        count = f"{self.uses:08x}"
        username = self.policy.username
        secret = self._hash(f"{username}:{self.realm}:{self.policy.password}")
        if self.algorithm.lower().endswith("-sess"):
            secret = self._hash(f"{secret}:{self.nonce}:{self.cnonce}")
        target = self._hash(f"{method}:{uri}")
        if self.qop:
            response = self._hash(f"{secret}:{self.nonce}:{count}:{self.cnonce}:auth:{target}")
        else:
            response = self._hash(f"{secret}:{self.nonce}:{target}")
        if self.userhash:
            identity = f'username="{self._hash(f"{username}:{self.realm}")}"'
        elif username.isascii() and username.isprintable():
            identity = f"username={_quoted(username)}"
        else:
            identity = f"username*=UTF-8''{quote(username, safe='')}"
        parts = [
            identity,
            f"realm={_quoted(self.realm)}",
            f"nonce={_quoted(self.nonce)}",
            f"uri={_quoted(uri)}",
            f'response="{response}"',
        ]
        if self.algorithm:
            parts.append(f"algorithm={self.algorithm}")
        if self.opaque is not None:
            parts.append(f"opaque={_quoted(self.opaque)}")
        if self.qop or self.algorithm.lower().endswith("-sess"):
            parts.append(f'cnonce="{self.cnonce}"')
        if self.qop:
            parts += ["qop=auth", f"nc={count}"]
        if self.userhash:
            parts.append("userhash=true")
        return "Digest " + ", ".join(parts)

    def _hash(self, text: str) -> str:
        name = self.algorithm.lower().removesuffix("-sess") or "md5"
        return _HASHES[name](text.encode(), usedforsecurity=False).hexdigest()


def open_session(policy: Digest, challenges: Sequence[Challenge]) -> Session | None:
    """Return a session for the first supported challenge: servers list the preferred one first."""
    return next(_supported_sessions(policy, challenges), None)


def _supported_sessions(policy: Digest, challenges: Sequence[Challenge]) -> Iterator[Session]:
    for challenge in challenges:
        known = challenge.parameters
        algorithm = known.get("algorithm", "")
        ways = [way.strip().lower() for way in known.get("qop", "").split(",") if way.strip()]
        if (
            challenge.scheme == "digest"
            and (algorithm.lower().removesuffix("-sess") or "md5") in _HASHES
            and {"realm", "nonce"} <= known.keys()
            and (not ways or "auth" in ways)
        ):
            yield Session(
                policy=policy,
                realm=known["realm"],
                nonce=known["nonce"],
                opaque=known.get("opaque"),
                algorithm=algorithm,
                qop=bool(ways),
                userhash=known.get("userhash", "").lower() == "true",
            )


def is_stale(challenges: Sequence[Challenge]) -> bool:
    """Tell whether a digest challenge refuses only the nonce, not the password."""
    return any(
        challenge.scheme == "digest" and challenge.parameters.get("stale", "").lower() == "true"
        for challenge in challenges
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
