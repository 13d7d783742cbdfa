"""Filters of the list of runs, which live in the URL: so a link, a bookmark and Back restore them.

Used by `pages.run_list`. Pure. Invariant: `query` of the filters that `read` has returned gives the same
filters; an unknown or empty parameter is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

STATUSES: Final = ("pending", "running", "waiting", "suspended", "completed", "faulted", "cancelled")
TEXTS: Final = ("api", "workflow", "caller", "parent", "revision", "where", "since", "until")
PERIODS: Final = (
    ("1h", "Last hour"),
    ("24h", "Last 24 hours"),
    ("7d", "Last 7 days"),
    ("30d", "Last 30 days"),
)
DEFAULT_SINCE: Final = "7d"
LONGEST: Final = 500


@dataclass(frozen=True, kw_only=True)
class RunFilters:
    """Filters of a list of runs as texts; an empty one matches all."""

    statuses: tuple[str, ...] = ()
    api: str = ""
    workflow: str = ""
    caller: str = ""
    parent: str = ""
    revision: str = ""
    where: str = ""
    since: str = ""
    """Empty: the default of the list."""
    until: str = ""
    cursor: str = ""

    @classmethod
    def read(cls, given: Mapping[str, Sequence[str]]) -> RunFilters:
        """Return the filters of a query."""
        texts = {name: _first(given, name) for name in (*TEXTS, "cursor")}
        wanted = {part for text in given.get("status", ()) for part in text.split(",")}
        return cls(statuses=tuple(each for each in STATUSES if each in wanted), **texts)

    @property
    def is_filtered(self) -> bool:
        """Tell whether a filter is set, apart from the time and the cursor."""
        return bool(self.statuses) or any(getattr(self, name) for name in TEXTS if name != "since")

    @property
    def has_more(self) -> bool:
        """Tell whether a filter is set that the page shows on demand."""
        return bool(self.workflow or self.caller or self.where or self.until)

    def query(self) -> dict[str, str]:
        """Return the parameters of the query, without empty ones."""
        found = {"status": ",".join(self.statuses)} | {name: getattr(self, name) for name in TEXTS}
        return {name: text for name, text in (found | {"cursor": self.cursor}).items() if text}

    def url(self, **changes: object) -> str:
        """Return the URL of the list with other filters, from its beginning unless `cursor` is given."""
        changed: RunFilters = replace(self, **({"cursor": ""} | changes))  # type: ignore[arg-type]
        query = urlencode(changed.query(), safe="/:,")
        return f"/console/runs?{query}" if query else "/console/runs"

    @property
    def retry_url(self) -> str:
        """Return the URL of the form that retries all runs of the list."""
        return self.url().replace("/console/runs", "/console/batches/new", 1)

    def toggled(self, status: str) -> str:
        """Return the URL of the list with a status added to the filters, or removed from them."""
        wanted = {*self.statuses} ^ {status}
        return self.url(statuses=tuple(each for each in STATUSES if each in wanted))

    def options(self) -> dict[str, str]:
        """Return the same filters as options of `iogate runs list`."""
        given = self.query() | ({"where": self.where.replace(":", "=", 1)} if self.where else {})
        return {name: text for name, text in given.items() if name != "cursor"}


def _first(given: Mapping[str, Sequence[str]], name: str) -> str:
    return next((text.strip()[:LONGEST] for text in given.get(name, ()) if text.strip()), "")
