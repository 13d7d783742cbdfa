"""Rules of an API for its traffic, applied to one call: rate by caller, concurrency key, coalescing.

Made by `routing_table` once per revision, used by `call_handler`. Invariant: an API without such rules has
none, so that its calls cost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iogate.gateway.calls.rate_blocks import RateBlocks
from iogate.store.runs.traffic import Traffic, key_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iogate.compiler.revision import Api
    from iogate.gateway.http.request import Request


class TrafficRules:
    """Rules of one API; see `of`."""

    __slots__ = ("_coalesce", "_concurrency", "_pointer", "_replace", "_times", "blocks")

    def __init__(self, api: Api, blocks: RateBlocks | None) -> None:
        self.blocks = blocks
        """None unless the rate is counted by caller or address."""
        # Positions in the keys of an input, in the order of `call_keys.input_pointers`.
        after = 0 if api.idempotency.key_pointer is None else 1
        self._concurrency = None if api.limits.of_key is None else after
        coalesce = api.coalesces
        self._coalesce = None if coalesce is None else after + (self._concurrency is not None)
        # Part of the coalescing key: a waiting run may have been accepted under an earlier declaration.
        self._pointer = "" if coalesce is None else coalesce.key
        self._times = (0, 0) if coalesce is None else (_ms(coalesce.window_s), _ms(coalesce.max_s))
        self._replace = api.limits.replaces

    @classmethod
    def of(cls, api: Api) -> TrafficRules | None:
        """Return the traffic rules of an API; None if it has none."""
        limits = api.limits
        per = limits.counted_by if limits.rate else "api"
        if per == "api" and limits.of_key is None and not limits.replaces and api.coalesces is None:
            return None
        return cls(api, None if per == "api" else RateBlocks(per))

    def of_call(self, request: Request, caller: str, keys: Sequence[str | None]) -> Traffic:
        """Return the traffic rules for one call; `keys` are those of its input.

        A call without a key is not bound by the rule.
        """
        key = keys[self._concurrency] if self._concurrency is not None else None
        merge = keys[self._coalesce] if self._coalesce is not None else None
        window, most = self._times if merge is not None else (0, 0)
        return Traffic(
            per="" if self.blocks is None else key_hash(self.blocks.key(request, caller)),
            key="" if key is None else key_hash(key),
            replace=self._replace,
            merge="" if merge is None else key_hash(f"{self._pointer}\0{merge}"),
            window=window,
            most=most,
        )


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
