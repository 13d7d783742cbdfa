"""Reading of runs under the memory budget for large responses.

Used by `caller_routes`, `run_completion`, and the routes of operators. A run with at most SMALL bytes of
stored data is read at once. Of a larger one only the head is, and its data when their memory is reserved,
which the response keeps until it is sent. Invariant: beside one run that is being read, no more memory than
the budget holds data of runs for responses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from iogate.gateway.http.large_responses import Sending
    from iogate.store.runs.operations import RunView
    from iogate.store.store import Store

SMALL: Final = 16 * 1024
"""Most stored bytes of data that are read without a reservation."""
UNCOUNTED: Final = 64 * 1024
"""Most bytes of data in memory that are not counted."""


async def read_data(
    store: Store, view: RunView, sending: Sending, *, only_results: bool = False
) -> RunView | None:
    """Reserve memory for the data of a run, and return the run with it; None if it no longer exists.

    `view` was read with `most=SMALL`; it is returned if it has its data. Raises HTTPError, the 503, if there
    is no room, and Unreachable.
    """
    found: RunView | None = view
    # It may have got more data since.
    while found is not None and found.unread:
        sending.reserve(found.unread)
        found = await store.runs.show(found.uid, most=found.unread, only_results=only_results)
    if found is not None and found.data_bytes > UNCOUNTED:
        # The stored form may be compressed.
        sending.reserve(found.data_bytes)
    return found
