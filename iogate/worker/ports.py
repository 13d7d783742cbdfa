"""Ports of the executor: protocols of what it needs from the store, the outside and the clock.

Satisfied by structure. In a worker: `Leases` and `Revisions` of the store, `Effects` of the effects,
`StoreClock` and `SecretStore`; in a test of a workflow: a store in memory, effects with mocks and a virtual
clock. Invariant: the modules of `runs` have no other way to the store, to the outside or to the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from iogate.compiler.revision import Revision
from iogate.effects.dispatcher import EffectContext
from iogate.engine.commands import ChildEnded, Perform, Performed, StartChild
from iogate.engine.expression_scope import Environment
from iogate.store.events.bus import Batch, Delivery
from iogate.store.runs.claims import Claim, Message
from iogate.store.runs.commits import Child, Commit
from iogate.store.runs.leases import CommitResult
from iogate.worker.secrets.redaction import Redaction


class Leases(Protocol):
    """Runs under lease, as the executor changes them."""

    async def commit(self, commits: Sequence[Commit]) -> list[CommitResult]:
        """Apply commits of the executor and return their results in order; idempotent.

        Raises Unreachable, or CommandFailed if the store rejects one of them.
        """
        ...

    async def inbox(self, uid: str, token: int) -> Sequence[Message]:
        """Return the first unconsumed messages of a leased run to the executor.

        Raises Unreachable or CommandFailed.
        """
        ...


class Events(Protocol):
    """Event bus, as a matcher reads it."""

    async def take(self, owner: str, limit: int = ..., /) -> Batch:
        """Return the next events and candidate subscriptions to this owner, if it is the matcher.

        An owner becomes the matcher if there is none.
        """
        ...

    async def deliver(self, owner: str, upto: int, deliveries: Sequence[Delivery], /) -> bool:
        """Deliver events for the matcher, then remove those up to `upto`; False for another matcher."""
        ...


class Revisions(Protocol):
    """Published revisions, and the programs and files that they name by digest."""

    async def live_for(self, api: str) -> tuple[int, str] | None:
        """Return number and digest of the live revision for an API to the executor, or None."""
        ...

    async def load(self, number: int) -> Revision:
        """Return a revision to the executor.

        Raises NotFound or NotAuthentic.
        """
        ...

    async def program(self, digest: str) -> bytes:
        """Return the definition of a program to the executor.

        Raises NotFound or NotAuthentic.
        """
        ...

    async def content(self, digest: str) -> bytes:
        """Return a file that workflows name to the executor.

        Raises NotFound or NotAuthentic.
        """
        ...


class Effects(Protocol):
    """The outside of a run: calls, processes and functions."""

    async def perform(self, perform: Perform, *, run: EffectContext) -> Performed:
        """Perform an effect for the executor, to its end."""
        ...


class Timer(Protocol):
    """A callback that will be called."""

    def cancel(self) -> None:
        """Drop this callback of the executor."""
        ...


class Clock(Protocol):
    """Time of the store, and time that only moves forward."""

    def now_ms(self) -> int:
        """Return the time of the store to the executor, in milliseconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment to the executor."""
        ...

    def call_later(self, delay_s: float, callback: Callable[..., object], *arguments: Any) -> Timer:
        """Call the executor back after a delay."""
        ...


class Secrets(Protocol):
    """Resolved secrets, and the redaction that hides them."""

    @property
    def redaction(self) -> Redaction: ...

    @property
    def error_types(self) -> str:
        """Family of URIs that names the standard's errors for the executor."""
        ...

    def environment(self, names: tuple[str, ...]) -> Environment:
        """Return the engine environment for workflows with these secrets to the executor."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedChildren:
    """Children to start, and the results of those that are not started."""

    children: list[Child] = field(default_factory=list)
    ended: list[ChildEnded] = field(default_factory=list)
    """Results for the tasks that wait for a child, such as the error of one that cannot start."""


class Children(Protocol):
    """Child workflows of runs."""

    async def resolve(self, claim: Claim, starts: Sequence[StartChild]) -> ResolvedChildren:
        """Return children to start to the executor, and the results of those that are not started."""
        ...
