"""The page of the activity: changes by operators, with their reasons and outcomes."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from iogate.gateway.console.page import Page, Visit, redirect
from iogate.gateway.console.shell_lines import line
from iogate.gateway.http.responses import HTTPError
from iogate.operators.activity import ACTIONS

FILTERS: Final = ("operator", "action", "target", "since")


async def show_activity(visit: Visit) -> Any:
    """Show changes by operators, newest first."""
    given = {name: visit.one(name) for name in FILTERS}
    problem = ""
    found: dict[str, Any] = {"activity": [], "nextCursor": None}
    try:
        visit.check_query((*FILTERS, "cursor"))
        if any(not value for values in visit.query.values() for value in values):
            # A browser sends the empty fields of a form too: the URL keeps only what is set.
            kept = {name: values[0] for name, values in visit.query.items() if values[0]}
            return redirect(f"/console/activity?{urlencode(kept)}" if kept else "/console/activity")
        found = await visit.call("activity.list", given={**given, "cursor": visit.one("cursor")})
    except HTTPError as error:
        if error.response.status != 400:
            raise
        problem = error.response.text
    set_ = {name: text for name, text in given.items() if text}
    cursor = found["nextCursor"]
    return await visit.show(
        "activity.html",
        {
            "title": "Activity",
            "given": given,
            "actions": ACTIONS,
            "is_filtered": bool(set_),
            "entries": found["activity"],
            "older": f"/console/activity?{urlencode({**set_, 'cursor': cursor})}" if cursor else None,
            "problem": problem,
        },
        here="Activity",
        line=line("activity", options=set_),
        status=400 if problem else 200,
    )


PAGES: Final = (Page(path="/console/activity", handler=show_activity),)
