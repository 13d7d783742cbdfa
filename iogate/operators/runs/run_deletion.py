"""Deletion of ended runs before the end of their retention, which frees the store's memory.

Used by `runs prune` and by the HTTP API of operators. Invariant: only runs that ended before a given time are
deleted, so that a repetition deletes nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from iogate.errors import Misused
from iogate.messages import listed
from iogate.operators.batches.batch_selection import filter_json
from iogate.operators.runs.filter_names import require_known_names
from iogate.store.keys import ENDED
from iogate.store.runs.presentation import list_item, rfc3339

if TYPE_CHECKING:
    from iogate.operators.activity import Record
    from iogate.store.runs.run_index import RunFilter
    from iogate.store.runs.views import Summary
    from iogate.store.store import Store

AT_ONCE: Final = 10_000
"""Maximum number of runs that one request deletes."""
PART: Final = 500
"""Runs after which the record of the change is brought up to date."""
COUNTED: Final = 100_000
"""Number of runs after which a preview stops counting."""
SAMPLE: Final = 10
"""Runs that a preview shows."""


@dataclass(frozen=True, kw_only=True)
class Prunable:
    """Ended runs that a filter selects for deletion."""

    uids: Sequence[str]
    sample: Sequence[Summary]
    """The first of them."""
    complete: bool
    """False if there may be more."""

    def to_json(self) -> dict[str, Any]:
        """Return the preview of a deletion as JSON: number of runs, whether it is complete, and a sample."""
        return {
            "count": len(self.uids),
            "complete": self.complete,
            "sample": [list_item(each) for each in self.sample],
        }


async def select(
    store: Store, wanted: RunFilter, before_ms: int, *, most: int | None = None, continues: bool = False
) -> Prunable:
    """Return the ended runs to delete: those that match a filter, newest first; `most` limits them.

    `continues`: runs may have been deleted before, with the last one by which a name was known.

    Raises Misused for a status of runs that have not ended, and as `require_known_names` does if no run
    matches.
    """
    for status in wanted.statuses:
        if status not in ENDED:
            raise Misused(
                f"status {status}: only runs that have ended can be deleted; expected {listed(sorted(ENDED))}"
            )
    uids: list[str] = []
    sample: list[Summary] = []
    async for page in store.runs.ended_before(before_ms, wanted):
        sample += page[: SAMPLE - len(sample)]
        uids += [run.uid for run in page]
        if most is not None and len(uids) >= most:
            return Prunable(uids=uids[:most], sample=sample, complete=False)
    if not uids:
        lost = {"workflow": None, "project": None, "where": None} if continues else {}
        await require_known_names(store, msgspec.structs.replace(wanted, **lost))
    return Prunable(uids=uids, sample=sample, complete=True)


async def delete(store: Store, found: Prunable, wanted: RunFilter, before_ms: int, record: Record) -> int:
    """Delete the selected ended runs, and return their number; `record` has it after each part.

    Raises Unreachable.
    """
    members = {"before": rfc3339(before_ms), **filter_json(wanted)}
    filters = " ".join(f"{name}={_shown(value)}" for name, value in members.items())
    pruned = 0
    for first in range(0, len(found.uids), PART):
        record.count = pruned
        record.note = f"deleted at least {pruned} before an error: {filters}"
        pruned += await store.runs.prune(found.uids[first : first + PART], before_ms)
    record.count = pruned
    record.note = f"deleted {pruned}: {filters}"
    return pruned


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)
