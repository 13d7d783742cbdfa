"""Key sets of token issuers: fetched, cached, refreshed in the background, kept while an issuer is down.

The APIs of one process with the same issuer share a `KeySet`; `jwt` verifies tokens with it. `KeySets.run` is
a background task of the process. Invariants: a set is fetched by one task at a time, for unknown keys at most
every UNKNOWN_S; keys that an issuer has withdrawn verify nothing, not even a token that they have verified
before; a set in use is at most MAX_AGE_S old.

    empty ──fetched──▶ fresh ──REFRESH_S, or an unknown key──▶ fetch again ──fetched──▶ fresh
      │                                                             │
      └──failed: again after RETRY_S, doubled each time ◀──failed───┘ the last keys stay for MAX_AGE_S
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TypeAlias

from iogate import json_values
from iogate.gateway.authentication.jwt_keys import (
    UnusableKeys,
    VerificationKey,
    load_library,
    missing_library,
    read_key_set,
    verified_payload,
)
from iogate.security import base64url
from iogate.timing.durations import format_seconds

log = logging.getLogger(__name__)

REFRESH_S: Final = 300.0
RETRY_S: Final = (1.0, 60.0)
"""First and longest pause after failures."""
UNKNOWN_S: Final = 10.0
"""Least time between two fetches for a key that is not in the set."""
MAX_AGE_S: Final = 86_400.0
"""Time for which the last keys stay in use while the issuer is down."""
WAIT_S: Final = 2.0
"""Longest wait of a request for a fetch."""
MAX_TOKEN: Final = 16_384
REMEMBERED: Final = 4096
"""Verified tokens that a set remembers."""
_TICK_S: Final = 0.5
"""Least pause between two looks at the sets."""
_MOST_TRIED: Final = 10
"""Keys that are tried for a token without the name of its key."""


class KeySource(NamedTuple):
    """Place of a key set: its URL, or the OpenID configuration of an issuer, which names it."""

    issuer: str = ""
    jwks: str = ""

    def __str__(self) -> str:
        return self.jwks or self.issuer


Fetch: TypeAlias = Callable[[KeySource], Awaitable[bytes]]
"""Returns the JSON of a key set. Raises UnusableKeys."""


class Verified(NamedTuple):
    """Claims of a token with a valid signature."""

    claims: Mapping[str, Any]
    algorithm: str
    key: VerificationKey


class KeySet:
    """Keys of one issuer, and the tokens that they have verified."""

    def __init__(
        self,
        source: KeySource | None = None,
        keys: Sequence[VerificationKey] = (),
        *,
        fetch: Fetch | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source = source
        """None: the keys are given, and never fetched."""
        self.problem = ""
        """Why the last fetch failed."""
        self.due_s = 0.0
        """Time of the next fetch, by `monotonic`."""
        self._keys = frozenset(keys)
        self._fetch, self._monotonic = fetch, monotonic
        self._fetched_s: float | None = None
        self._tried_s = float("-inf")
        self._failures = 0
        self._fetching: asyncio.Task[None] | None = None
        self._verified: dict[bytes, Verified] = {}
        # The key is random in each process: a dump of memory contains no fast hash of a token.
        self._hash_key = secrets.token_bytes(32)

    @property
    def keys(self) -> frozenset[VerificationKey]:
        """The keys of the set that are in use; none if it is too old."""
        if self._fetched_s is not None and self._monotonic() - self._fetched_s > MAX_AGE_S:
            return frozenset()
        return self._keys

    @property
    def unset(self) -> tuple[str, ...]:
        """Message about the missing keys of the set, after a fetch of it has failed."""
        return (self.problem,) if self.problem and not self.keys else ()

    def remembered(self, token: bytes) -> Verified | None:
        """Return a token that this key set verified before with a key that it still has."""
        if not self._verified or len(token) > MAX_TOKEN:
            return None
        found = self._verified.get(self._digest(token))
        return found if found is not None and found.key in self.keys else None

    async def verify(self, token: bytes, algorithms: frozenset[str]) -> Verified | None:
        """Verify a token with the keys of this set; return it, or None without a valid signature.

        Fetches the set again if it does not have the key that the token names. Raises UnusableKeys if there
        are no keys.
        """
        head = _read_head(token)
        if head is None or (algorithms and head[0] not in algorithms):
            return None
        algorithm, kid = head
        if not self.keys:
            await self._wait_for_fetch(at_once=False)
            if not self.keys:
                raise UnusableKeys(self.problem or "the keys are not loaded yet")
        candidates = self._candidates(algorithm, kid)
        if not candidates and kid is not None and self._may_look_again():
            await self._wait_for_fetch(at_once=True)
            candidates = self._candidates(algorithm, kid)
        for key in candidates:
            payload = verified_payload(token, key, algorithm)
            if payload is not None:
                return self._remember(token, payload, algorithm, key)
        return None

    def _candidates(self, algorithm: str, kid: str | None) -> list[VerificationKey]:
        fitting = [each for each in self.keys if algorithm in each.algorithms]
        named = [each for each in fitting if kid is not None and each.kid == kid]
        # A key without a name may be any; a token that names a key is not verified by another one.
        unnamed = [each for each in fitting if kid is None or each.kid is None]
        return (named or unnamed)[:_MOST_TRIED]

    def _remember(
        self, token: bytes, payload: bytes, algorithm: str, key: VerificationKey
    ) -> Verified | None:
        try:
            claims = json_values.parse(payload)
        except ValueError:
            return None
        if not isinstance(claims, dict):
            return None
        found = Verified(claims, algorithm, key)
        while len(self._verified) >= REMEMBERED:
            del self._verified[next(iter(self._verified))]
        self._verified[self._digest(token)] = found
        return found

    def forget(self, token: bytes) -> None:
        """Forget a token that the key set has verified, because it has expired."""
        self._verified.pop(self._digest(token), None)

    def _digest(self, token: bytes) -> bytes:
        return blake2b(token, digest_size=32, key=self._hash_key).digest()

    def _may_look_again(self) -> bool:
        return self._fetch is not None and self._monotonic() - self._tried_s >= UNKNOWN_S

    async def _wait_for_fetch(self, *, at_once: bool) -> None:
        """Wait for the fetch of the key set that is under way; start one if it is due, or `at_once`."""
        if self._fetching is None and (at_once or self._monotonic() >= self.due_s):
            self.start_fetch()
        if self._fetching is not None:
            await asyncio.wait({self._fetching}, timeout=WAIT_S)

    def start_fetch(self) -> None:
        """Start a fetch of the key set in a task of its own, unless one is under way."""
        if self._fetch is None or self.source is None or self._fetching is not None:
            return
        self._tried_s = self._monotonic()
        self._fetching = asyncio.create_task(self._refresh(self._fetch, self.source))
        self._fetching.add_done_callback(self._fetched)

    def _fetched(self, _: object) -> None:
        self._fetching = None

    async def _refresh(self, fetch: Fetch, source: KeySource) -> None:
        try:
            await load_library()
            if missing := missing_library():
                raise UnusableKeys(missing)  # noqa: TRY301 - handled as each other failure
            keys = frozenset(read_key_set(await fetch(source)))
        except UnusableKeys as error:
            self._fail(str(error), source)
        except Exception as error:
            log.exception(
                "keys of %s cannot be fetched",
                source,
                extra={"action": "keys.failed", "source": str(source)},
            )
            self._fail(repr(error), source)
        else:
            self._take(keys, source)

    def _take(self, keys: frozenset[VerificationKey], source: KeySource) -> None:
        if keys != self._keys or self.problem:
            log.info(
                "%d key%s of %s loaded",
                len(keys),
                "" if len(keys) == 1 else "s",
                source,
                extra={"action": "keys.loaded", "source": str(source)},
            )
        self._keys, self.problem, self._failures = keys, "", 0
        self._fetched_s = self._monotonic()
        self.due_s = self._fetched_s + REFRESH_S * random.uniform(0.9, 1.0)  # noqa: S311 - spreads load
        self._verified = {digest: each for digest, each in self._verified.items() if each.key in keys}

    def _fail(self, reason: str, source: KeySource) -> None:
        now = self._monotonic()
        first, longest = RETRY_S
        self.due_s = now + min(longest, first * 2**self._failures) * random.uniform(0.8, 1.2)  # noqa: S311
        self._failures = min(self._failures + 1, 10)
        # Announcements separate messages by semicolons.
        problem = f"keys of {source} cannot be loaded: {reason.replace('; ', ', ')}"
        if problem == self.problem:
            return
        self.problem = problem
        rest = (
            f"the last ones stay in use for {format_seconds(round(MAX_AGE_S - (now - self._fetched_s)))}"
            if self.keys and self._fetched_s is not None
            else "tokens of this issuer get a 503"
        )
        log.warning("%s; %s", problem, rest, extra={"action": "keys.missing", "source": str(source)})


class KeySets:
    """Key sets of one process, by their source."""

    def __init__(
        self, fetch: Fetch | None = None, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch, self._monotonic = fetch, monotonic
        self._sets: weakref.WeakValueDictionary[KeySource, KeySet] = weakref.WeakValueDictionary()
        self._added = asyncio.Event()

    def get(self, source: KeySource) -> KeySet:
        """Return the key set of a source, which is fetched as long as somebody holds it."""
        found = self._sets.get(source)
        if found is None:
            found = self._sets[source] = KeySet(source, fetch=self._fetch, monotonic=self._monotonic)
            self._added.set()
        return found

    async def run(self) -> None:
        """Fetch each key set before it gets old, until cancelled."""
        while True:
            self._added.clear()
            wait_s = self._start_due()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._added.wait(), wait_s)

    def _start_due(self) -> float | None:
        """Start the fetches of key sets that are due; return seconds until the next, None without a set."""
        now = self._monotonic()
        waits: list[float] = []
        for each in list(self._sets.values()):
            if each.due_s <= now:
                each.start_fetch()
            waits.append(max(each.due_s - now, _TICK_S))
        return min(waits, default=None)


def _read_head(token: bytes) -> tuple[str, str | None] | None:
    """Return algorithm and name of the key of the set from the header of a token; None if malformed."""
    if len(token) > MAX_TOKEN or token.count(b".") != 2:
        return None
    try:
        head = json_values.parse(base64url.decode(token.partition(b".")[0].decode("ascii")))
    except ValueError:
        return None
    if not isinstance(head, dict) or "crit" in head:
        # An extension that must be understood (RFC 7515, section 4.1.11); none is.
        return None
    algorithm, kid = head.get("alg"), head.get("kid")
    if not isinstance(algorithm, str) or not isinstance(kid, str | None):
        return None
    return algorithm, kid
