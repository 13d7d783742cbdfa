"""Filters of the list of runs, which live in the URL: so a link, a bookmark and Back restore them.

Used by `pages.run_list`. Pure. Invariant: `query` of the filters that `read` has returned gives the same
filters. An unknown status stays among them, so that the HTTP API refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

STATUSES: Final = ("pending", "running", "waiting", "suspended", "completed", "faulted", "cancelled")
TEXTS: Final = ("project", "api", "workflow", "caller", "parent", "revision", "where", "since", "until")
TOGGLE: Final = "toggle"
"""Parameter of the buttons of the statuses: adds one to the filters, or removes it; ALL removes all."""
ALL: Final = "all"
NAMES: Final = ("status", *TEXTS, "cursor")
"""Parameters of the query."""
LISTS: Final = ("status",)
"""Those that may be repeated."""
PERIODS: Final = (
    ("1h", "Last hour"),
    ("24h", "Last 24 hours"),
    ("7d", "Last 7 days"),
    ("30d", "Last 30 days"),
)
DEFAULT_SINCE: Final = "7d"
LONGEST: Final = 500
_SEPARATOR: Final = re.compile("[:=]")


@dataclass(frozen=True, kw_only=True)
class RunFilters:
    """Filters of a list of runs as texts; an empty one matches all."""

    statuses: tuple[str, ...] = ()
    project: str = ""
    api: str = ""
    workflow: str = ""
    caller: str = ""
    parent: str = ""
    revision: str = ""
    where: str = ""
    """Name and value of an attribute, with = between, as in the command, or with :."""
    since: str = ""
    """Empty: the default of the list."""
    until: str = ""
    cursor: str = ""

    @classmethod
    def read(cls, given: Mapping[str, Sequence[str]]) -> RunFilters:
        """Read the filters of a list of runs from the query of a page."""
        texts = {name: _first(given, name) for name in (*TEXTS, "cursor")}
        wanted = {part.strip()[:LONGEST] for text in given.get("status", ()) for part in text.split(",")} - {
            ""
        }
        unknown = sorted(wanted.difference(STATUSES))
        return cls(statuses=(*(each for each in STATUSES if each in wanted), *unknown), **texts)

    @property
    def is_filtered(self) -> bool:
        """Tell whether a filter of the list of runs is set, apart from the time and the cursor."""
        return bool(self.statuses) or any(getattr(self, name) for name in TEXTS if name != "since")

    @property
    def has_more(self) -> bool:
        """Tell whether a filter is set that the page with the list of runs shows on demand."""
        return bool(self.workflow or self.caller or self.where or self.until)

    def query(self) -> dict[str, str]:
        """Return the filters of a list of runs as parameters of its URL, without empty ones."""
        found = {"status": ",".join(self.statuses)} | {name: getattr(self, name) for name in TEXTS}
        return {name: text for name, text in (found | {"cursor": self.cursor}).items() if text}

    def url(self, **changes: object) -> str:
        """Return the URL of the list of runs with other filters, from its beginning without a `cursor`."""
        changed: RunFilters = replace(self, **({"cursor": ""} | changes))  # type: ignore[arg-type]
        query = urlencode(changed.query(), safe="/:,")
        return f"/console/runs?{query}" if query else "/console/runs"

    @property
    def retry_url(self) -> str:
        """Return the URL of the form that retries all runs of the filtered list."""
        return self.url().replace("/console/runs", "/console/batches/new", 1)

    def toggled(self, status: str) -> str:
        """Return the URL of the list of runs with a status added or removed as a filter; ALL removes all."""
        if status == ALL:
            return self.url(statuses=())
        wanted = {*self.statuses} ^ {status}
        return self.url(statuses=tuple(each for each in STATUSES if each in wanted))

    def given(self) -> dict[str, str]:
        """Return the filters of a page as the HTTP API takes them, with an attribute as NAME:VALUE."""
        return self.query() | ({"where": _SEPARATOR.sub(":", self.where, count=1)} if self.where else {})

    def options(self) -> dict[str, str]:
        """Return the filters of a page as options of `iogate runs list`."""
        given = self.query() | ({"where": _SEPARATOR.sub("=", self.where, count=1)} if self.where else {})
        return {name: text for name, text in given.items() if name != "cursor"}


def _first(given: Mapping[str, Sequence[str]], name: str) -> str:
    return next((text.strip()[:LONGEST] for text in given.get(name, ()) if text.strip()), "")
