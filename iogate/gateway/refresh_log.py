"""Log records of the refresh of live revisions: outages of the store, refused revisions and defects.

Used by `revision_refresher`, which tries four times a second. Invariant: each reason is logged once, and
again only after the store was reachable or another revision was loaded.
"""

from __future__ import annotations

import logging
import time

from iogate.errors import IogateError
from iogate.store.connection.connection import CommandFailed

log = logging.getLogger(__name__)

BROKEN = (IogateError, CommandFailed, TimeoutError)
"""Expected errors: the store is unreachable, full or slow, or the revision is invalid."""
MAX_REASONS = 10
"""Maximum number of reasons that one outage logs."""


class RefreshLog:
    """Log of the refresh in one gateway process."""

    def __init__(self, *, quiet_s: float) -> None:
        """Create the log of a refresh; an outage ends when no request has failed for `quiet_s`."""
        self._quiet_s = quiet_s
        self._reasons: set[str] = set()
        """Reasons of the outage of the store that were logged."""
        self._failed_at: float | None = None
        """Time of the last failure in the outage, None if there is none."""
        self._refused = ""
        """Reason of the last refused revision or defect that was logged."""

    def revision_loaded(self) -> None:
        """Note that the refresh has loaded a revision: the next refusal is logged again."""
        self._refused = ""

    def announced(self) -> None:
        """Note that the store has taken an announcement of the gateway, and log the end of an outage."""
        if self._failed_at is None or time.monotonic() - self._failed_at < self._quiet_s:
            return
        self._failed_at = None
        self._reasons.clear()
        log.info("the store is reachable again", extra={"action": "store.reachable"})

    def failed(self, error: BaseException, *, about_revision: bool) -> None:
        """Log the error of a refresh, a defect with its traceback."""
        if not isinstance(error, BROKEN):
            self._log_defect(error)
            return
        text = str(error) or "the store did not respond in time"
        if not about_revision:
            self._failed_at = time.monotonic()
            if text not in self._reasons and len(self._reasons) < MAX_REASONS:
                self._reasons.add(text)
                log.warning("%s", text, extra={"action": "store.unreachable"})
        elif text != self._refused:
            self._refused = text
            log.warning("%s", text, extra={"action": "revision.refused"})

    def _log_defect(self, error: BaseException) -> None:
        text = repr(error)
        if text == self._refused:
            return
        self._refused = text
        log.error(
            "cannot follow the store, trying again: %s",
            text,
            exc_info=error,
            extra={"action": "refresh.failed"},
        )
