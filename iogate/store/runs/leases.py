"""Leases of runs: take, commit, renew, release, and recovery after the death of a worker.

Called by worker processes and by the parent that supervises them. Invariant: a run is leased under one
fencing token at a time; a commit with an older token or a wrong sequence number changes nothing.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from iogate.errors import WorkflowError
from iogate.security.keyring import Keyring
from iogate.store import keys
from iogate.store.connection.connection import Connection
from iogate.store.connection.packing import encode
from iogate.store.connection.pubsub import Doorbell, PubSub
from iogate.store.integrity.refusals import Refusals
from iogate.store.maintenance.audit import audit
from iogate.store.maintenance.process_presence import GATEWAY, WORKER, Presence
from iogate.store.runs.claims import Claim, Message, decode_claim, decode_messages
from iogate.store.runs.commits import Child, Commit, Move, TaskRow, pack_commit, rq_text
from iogate.store.runs.uids import UidSource
from iogate.store.statistics.error_groups import group_of

__all__ = [
    "Child",
    "Claim",
    "Commit",
    "CommitResult",
    "Leases",
    "Message",
    "Move",
    "RenewResult",
    "TakeResult",
    "TaskRow",
]

COMMITS = 256
"""Commits in one script; a script blocks the server."""
RENEWED_AT_ONCE = 500
"""Leases in one renew script, which passes them to single commands: Lua bounds the arguments of a call."""
RELEASED_AT_ONCE = 64
"""Leases in one release script."""


class TakeResult(msgspec.Struct, frozen=True, kw_only=True):
    """Claims of one take, with the state of the queue."""

    now_ms: int
    claims: tuple[Claim, ...]
    suspended: bool
    suspects: int
    """Runs that wait for a solitary worker."""


class CommitResult(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of one commit."""

    applied: bool
    cancelled: bool = False
    woken: bool = False
    """The run was queued instead of parked, because a message came or its time has passed."""
    suspended: bool = False
    """A suspension is requested or done: the run stops once it is parked or queued."""
    left_out: bool = False
    """A scheduled run was not started, because too many runs of the schedule are queued."""
    crowded: bool = False
    """Not applied: too many live runs descend from one run."""
    taken: bool = False
    """Not applied: another run has the uid of a child."""


class RenewResult(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of a worker whose lease is lost, or about which it must do something."""

    lost: frozenset[str]
    cancelled: frozenset[str]
    woken: frozenset[str] = frozenset()
    """Runs with unconsumed messages."""
    suspended: frozenset[str] = frozenset()
    """Runs with a requested suspension."""


COUNTED = 10_000
DIED = f"the worker that ran this run alone died {keys.DEATHS} times"
BOUND = "Bound it, or move the work to a script, which has limits of its own"
UNENDING = (
    f"most likely an expression that does not end, or takes more memory than a worker may have. {BOUND}"
)


def poison(detail: str, *, instance: str | None = None) -> dict[str, Any]:
    """Return the error of a run under whose leases too many workers died."""
    return WorkflowError("runtime", status=500, title="poisoned", detail=detail, instance=instance).to_json()


POISONED = json.dumps(poison(f"{DIED}: {UNENDING}")).encode()
"""Error if the current task of the run is unknown."""
_POISON = (POISONED, rq_text(POISONED), encode(group_of(POISONED)))
_COMMIT_RESULTS = tuple(
    CommitResult(
        applied=bool(n & 1),
        cancelled=bool(n & 2),
        woken=bool(n & 4),
        suspended=bool(n & 8),
        left_out=bool(n & 16),
        crowded=bool(n & 32),
        taken=bool(n & 64),
    )
    for n in range(128)
)


class Leases:
    """Client of the scripts that lease, commit and recover runs."""

    def __init__(self, connection: Connection, pubsub: PubSub, ring: Keyring, refusals: Refusals) -> None:
        self._connection = connection
        self._pubsub = pubsub
        self._ring = ring
        self._refusals = refusals
        self._uids = UidSource()
        self._take_id: str | None = None
        self._taking = asyncio.Lock()

    async def take(
        self, worker: str, limit: int, *, lease_ms: int = keys.LEASE_MS, solitary: bool = False
    ) -> TakeResult:
        """Lease up to `limit` runs, or one suspect if `solitary`; wake due timers and expire leases first.

        After a StoreUnavailable the next call repeats the lost one.
        """
        # One at a time, because two takes with the same id would get the same runs.
        async with self._taking:
            self._take_id = self._take_id or secrets.token_hex(6)
            now, suspended, suspects, strangers, *claims = await self._connection.run(
                "take", worker, limit, lease_ms, int(solitary), self._take_id, *_POISON
            )
            self._take_id = None
        for entry in strangers:
            self._refusals.note("queue entry", entry.decode("utf-8", "replace"), "there is no such run")
        return TakeResult(
            now_ms=now,
            suspended=bool(suspended),
            suspects=suspects,
            claims=tuple(claim for fields in claims if (claim := self._decode(fields)) is not None),
        )

    async def held_by(self, workers: Collection[str]) -> int:
        """Return the number of runs that these workers hold, among the first COUNTED leases to expire."""
        uids = await self._connection.call("ZRANGE", keys.LEASES, 0, COUNTED - 1)
        holders = await self._connection.calls([("HGET", keys.RUN + uid.decode(), "wkr") for uid in uids])
        return sum(holder is not None and holder.decode() in workers for holder in holders)

    async def commit(self, commits: Sequence[Commit], *, lease_ms: int = keys.LEASE_MS) -> list[CommitResult]:
        """Apply commits and return their results in order; idempotent."""
        results: list[CommitResult] = []
        for first in range(0, len(commits), COMMITS):
            results.extend(await self._commit(commits[first : first + COMMITS], lease_ms))
        taken = [index for index, result in enumerate(results) if result.taken]
        if taken:
            again = await self.commit(
                [self._redraw_uids(commits[index]) for index in taken], lease_ms=lease_ms
            )
            for index, result in zip(taken, again, strict=True):
                results[index] = result
        return results

    async def _commit(self, commits: Sequence[Commit], lease_ms: int) -> list[CommitResult]:
        batch = encode([pack_commit(commit, self._ring) for commit in commits])
        _, *codes = await self._connection.run("commit", lease_ms, batch)
        return [_COMMIT_RESULTS[code] for code in codes]

    def _redraw_uids(self, commit: Commit) -> Commit:
        """Return a commit under lease with new uids for its children, after one was taken."""
        children = [msgspec.structs.replace(child, uid=self._uids.next()) for child in commit.children]
        return msgspec.structs.replace(commit, children=children)

    def _decode(self, fields: list[Any]) -> Claim | None:
        claim = decode_claim(fields, self._ring)
        if claim is None:
            self._refusals.note("run", fields[0].decode("utf-8", "replace"), "it cannot be read")
        elif claim.forged:
            self._refusals.note("run", claim.uid, f"{claim.forged} does not verify")
        else:
            self._note_forged(claim.uid, claim.inbox)
        return claim

    def _note_forged(self, uid: str, inbox: Sequence[Message]) -> None:
        for message in inbox:
            if message.forged:
                self._refusals.note("message", f"{uid}:{message.number}", "it does not verify")

    async def renew(
        self, worker: str, held: Mapping[str, int], *, lease_ms: int = keys.LEASE_MS
    ) -> RenewResult:
        """Extend leases by `lease_ms`; return which are lost, and the runs that need attention."""
        lost, cancelled, woken, suspended = found = (set[str](), set[str](), set[str](), set[str]())
        for part in _parts(held, RENEWED_AT_ONCE):
            answer = await self._connection.run("renew", worker, lease_ms, *_flat(part))
            for uids, more in zip(found, answer, strict=True):
                uids.update(uid.decode() for uid in more)
        return RenewResult(
            lost=frozenset(lost),
            cancelled=frozenset(cancelled),
            woken=frozenset(woken),
            suspended=frozenset(suspended),
        )

    async def inbox(self, uid: str, token: int) -> tuple[Message, ...]:
        """Return the first unconsumed messages of a leased run, at most INBOX_READ, up to about TAKE_BYTES.

        Empty if the lease is lost. A message is returned again until `inbox_done` of a commit covers it.
        """
        found = await self._connection.run("inbox", uid, token)
        inbox = decode_messages(found[0], found[1:], uid, self._ring) if found else ()
        self._note_forged(uid, inbox)
        return inbox

    async def release(self, worker: str, held: Mapping[str, int]) -> None:
        """Release leases without a commit; the runs are queued again."""
        for part in _parts(held, RELEASED_AT_ONCE):
            await self._connection.run("release", worker, *_flat(part))

    async def recover(self, worker: str, *, uid: str = "", error: bytes = POISONED, seen: bool = True) -> int:
        """End the leases of a dead worker, remove it from RQ, and return the number of its leases.

        A run is queued after its first loss at one point, and is a suspect after the second. Each call of the
        script ends after RECOVER_MS; if the calls stop early, the other leases expire by themselves.
        `seen`: a living parent saw the worker die by itself; only such a death counts towards `poisoned`.
        `error` is used for the run `uid` if this death poisons it.
        """
        poisoned = (uid, error, rq_text(error), encode(group_of(error)), int(seen))
        recovered, position = 0, b"-inf"
        while position:
            count, position = await self._connection.run("recover", worker, *_POISON, *poisoned, position)
            recovered += count
        return recovered

    async def suspects(self) -> int:
        """Return the number of runs that a solitary worker is to lease."""
        waiting: int = await self._connection.call("LLEN", keys.SUSPECTS)
        return waiting

    async def audit(self) -> int:
        """Repair leases after changes by other programs, about once per minute; return how many runs."""
        presence = Presence(self._connection, self._pubsub)
        processes = [*await presence.list(GATEWAY), *await presence.list(WORKER)]
        return (await audit(self._connection, processes)).restored

    def doorbell(self, worker: str) -> tuple[Doorbell, Any]:
        """Return a bell that rings when there is a run to lease, and the context that subscribes it.

        It rings at most once after a take that left the worker idle capacity.
        """
        bell = Doorbell()
        return bell, self._pubsub.listening(keys.WAKE_CHANNEL + worker, bell.ring)

    def cancellations(self, listener: Any) -> Any:
        """Return a context that calls `listener(uid)` when a leased run is cancelled; a hint only."""
        return self._pubsub.listening(keys.CANCEL_CHANNEL, listener)

    def inbox_changes(self, listener: Any) -> Any:
        """Return a context that calls `listener(uid)` when a leased run gets a message; a hint only."""
        return self._pubsub.listening(keys.NEWS_CHANNEL, listener)


def _parts(held: Mapping[str, int], size: int) -> Iterator[Mapping[str, int]]:
    """Yield the leases in parts of at most `size`, one for each script."""
    leases = list(held.items())
    for first in range(0, len(leases), size):
        yield dict(leases[first : first + size])


def _flat(held: Mapping[str, int]) -> list[str | int]:
    return [part for pair in held.items() for part in pair]
