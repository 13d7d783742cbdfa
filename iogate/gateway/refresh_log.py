"""Log records of the refresh of live revisions: outages of the store, refused revisions and defects.

Used by `revision_refresher`, which tries four times a second. Invariants: a reason is logged again only after
the store was reachable or a revision was loaded; however many reasons there are, a few are logged a minute.
"""

from __future__ import annotations

import logging
import time

from iogate.errors import IogateError
from iogate.logs import Throttle
from iogate.store.connection.connection import CommandFailed

log = logging.getLogger(__name__)

BROKEN = (IogateError, CommandFailed, TimeoutError)
"""Expected errors: the store is unreachable, full or slow, or the revision is invalid."""
BURST = 10
PER_S = 1 / 30
"""Rate of records after BURST."""
REMEMBERED = 100
"""Number of logged reasons that are remembered, to log each once."""


class RefreshLog:
    """Log of the refresh in one gateway process."""

    def __init__(self, *, quiet_s: float) -> None:
        """Create the log of a refresh; an outage ends when no request has failed for `quiet_s`."""
        self._quiet_s = quiet_s
        self._failed_at: float | None = None
        """Time of the last failure in an outage of the store, None if there is none."""
        self._in_outage: set[str] = set()
        """Logged reasons of the outage."""
        self._since_loaded: set[str] = set()
        """Logged reasons of refused revisions, and logged defects."""
        self._throttle = Throttle(burst=BURST, per_s=PER_S)

    def revision_loaded(self) -> None:
        """Note that the refresh has loaded a revision: the next refusal is logged again."""
        self._since_loaded.clear()

    def announced(self) -> None:
        """Note that the store has taken an announcement of the gateway, and log the end of an outage."""
        if self._failed_at is None or time.monotonic() - self._failed_at < self._quiet_s:
            return
        self._failed_at = None
        self._in_outage.clear()
        log.info("the store is reachable again", extra={"action": "store.reachable"})

    def failed(self, error: BaseException, *, about_revision: bool) -> None:
        """Log the error of a refresh, a defect with its traceback."""
        if not isinstance(error, BROKEN):
            text = repr(error)
            if self._is_new(text, self._since_loaded):
                log.error(
                    "cannot follow the store, trying again: %s",
                    text,
                    exc_info=error,
                    extra={"action": "refresh.failed"},
                )
            return
        text = str(error) or "the store did not respond in time"
        if about_revision:
            if self._is_new(text, self._since_loaded):
                log.warning("%s", text, extra={"action": "revision.refused"})
            return
        self._failed_at = time.monotonic()
        if self._is_new(text, self._in_outage):
            log.warning("%s", text, extra={"action": "store.unreachable"})

    def _is_new(self, reason: str, logged: set[str]) -> bool:
        """Add a reason to the logged ones; return whether it is to be logged."""
        if reason in logged:
            return False
        if len(logged) >= REMEMBERED:
            logged.clear()
        logged.add(reason)
        return self._throttle.passes()
