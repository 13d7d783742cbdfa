"""Use of one-time links: recorded together with the delivery of their event to the run.

Called by the gateway. Invariants: one use of a link succeeds, by the store's clock and over all gateways; its
event goes to the run of the link only, also if no task of the run listens for it yet.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Literal

import msgspec

from iogate.security.keyring import Keyring
from iogate.security.one_time_links import EVENT, OneTimeLink
from iogate.store import keys
from iogate.store.connection.connection import Connection, StoreFull
from iogate.store.integrity.seals import decode_facts, seal_event

Use = Literal["ok", "used", "expired", "ended", "cancelled", "unknown"]
Condition = Literal["live", "ended", "cancelled", "unknown"]


class LinkView(msgspec.Struct, frozen=True, kw_only=True):
    """State of a one-time link and of its run, for its page."""

    used: bool
    run: Condition
    program: str = ""
    """Digest of the workflow's definition."""
    asks: str | None = None
    """Description that the run has evaluated; None if it does not listen, or the link has none."""


class _Match(msgspec.Struct):
    type: str = ""


class _Filter(msgspec.Struct):
    match: _Match = msgspec.field(default_factory=_Match)
    asks: str | None = None


_filters = msgspec.json.Decoder(list[_Filter])


class OneTimeLinks:
    """Client of the scripts of links."""

    def __init__(self, connection: Connection, ring: Keyring) -> None:
        self._connection = connection
        self._ring = ring

    async def look(self, link: OneTimeLink) -> LinkView:
        """Return the use of a one-time link, and the state of its run; changes nothing."""
        used, run, facts, wanted = await self._connection.run(
            "look_at_link", link.uid, link.name, link.expires_s * 1000
        )
        condition: Condition = run.decode()
        if condition == "unknown":
            return LinkView(used=bool(used), run=condition)
        return LinkView(
            used=bool(used),
            run=condition,
            program=decode_facts(facts).program,
            asks=_asks(wanted, EVENT + link.name),
        )

    async def uses(self, uid: str, names: Collection[str]) -> tuple[set[str], set[str]]:
        """Return the links of a run that were used: those whose event a task has got, and the others."""
        calls = [("HMGET", f"{keys.LINK}{uid}:{name}", "use", "event") for name in names]
        found = await self._connection.calls(calls) if calls else []
        by_name = dict(zip(names, found, strict=True))
        events = {name for name, (_, event) in by_name.items() if event is not None}
        return {name for name, (use, _) in by_name.items() if use is not None} - events, events

    async def use(self, link: OneTimeLink, event: bytes) -> Use:
        """Deliver the CloudEvent of a link to its run, unless the link was used, or has expired.

        Raises StoreFull above the memory watermark, and StoreUnavailable.
        """
        outcome = await self._connection.run(
            "use_link",
            link.uid,
            link.name,
            seal_event(self._ring, event),
            link.expires_s * 1000,
            secrets.token_hex(8),
        )
        if outcome == b"memory":
            raise StoreFull
        use: Use = outcome.decode()
        return use


def _asks(wanted: list[bytes], kind: str) -> str | None:
    """Return the description of a one-time link to use, from the subscriptions of its run."""
    for each in wanted:
        try:
            filters = _filters.decode(each.split(b"\n", 2)[2])
        except (msgspec.MsgspecError, IndexError, ValueError):
            continue
        for one in filters:
            if one.match.type == kind and one.asks is not None:
                return one.asks
    return None
