"""Drift of the live system: overrides, and objects of the store that differ from the live revision.

Used by `iogate drift`, and by its route.
"""

from __future__ import annotations

from typing import Any

from iogate.operators.live_revision import live_number
from iogate.operators.publication_plan import overrides_of
from iogate.reconcile import drift
from iogate.reconcile.live_plan import live
from iogate.store.store import Store


async def show(store: Store) -> dict[str, Any]:
    """Return the drift from the live revision, and its number: `overrides`, and differences of the `store`.

    Raises NotFound if nothing was applied yet, NotAuthentic if the live revision is forged.
    """
    await live_number(store)
    number, revision = await live(store)
    return {
        "revision": number,
        "overrides": list(overrides_of(await store.gates.states())),
        "store": [each.to_json() for each in await drift.find(store, revision)],
    }
