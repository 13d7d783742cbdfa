"""Pages of runs: the list, one run with its live updates, its data as files, and the forms that change it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

import msgspec
from litestar.response import Stream

from iogate.gateway.console.formatting import indent_json
from iogate.gateway.console.list_filters import LISTS, NAMES, PERIODS, STATUSES, TOGGLE, RunFilters
from iogate.gateway.console.page import BY_NAME, Page, Visit, new_key, redirect
from iogate.gateway.console.pages import run_page_values
from iogate.gateway.console.rendering import SECURITY
from iogate.gateway.console.shell_lines import line
from iogate.gateway.http.responses import HTTPError, Response
from iogate.operators.roles import Role
from iogate.operators.runs.run_details import run_not_found
from iogate.store import keys
from iogate.store.runs import presentation

SHOWN: Final = 50
"""Runs on a page of the list."""
CHILDREN: Final = 20
_DATA: Final = ("input", "output")
"""Members of a run that may be large."""
HERE: Final = "Runs"
_OF_FILTERS: Final = (400, 404)
"""Statuses of errors about the filters, which the page shows above the list."""
_DIGITS: Final = 19

_ACTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "retry": {
        "label": "Retry",
        "tone": "primary",
        "text": "Continues this run with the task that faulted. Completed tasks are not repeated.",
    },
    "resume": {"label": "Resume", "tone": "primary", "text": "Continues this run where it stopped."},
    "suspend": {
        "label": "Suspend",
        "tone": "",
        "text": "No task starts and no timer fires until the run is resumed. A running task ends first.",
    },
    "cancel": {
        "label": "Cancel",
        "tone": "danger",
        "text": "Ends this run: its connections are closed, and its processes are killed.",
    },
    "redeliver": {
        "label": "Send callback again",
        "tone": "",
        "text": "Sends the callback again, with the same id.",
    },
}


async def show_list(visit: Visit) -> Any:
    """Show runs that match the filters in the query, newest first."""
    filters = RunFilters.read(visit.query)
    problem = ""
    found: dict[str, Any] = {"runs": [], "nextCursor": None, "lookedBackTo": None}
    status = 200
    try:
        visit.check_query(NAMES, lists=LISTS, buttons=(TOGGLE,))
        if status_to_toggle := visit.one(TOGGLE):
            return redirect(filters.toggled(status_to_toggle))
        if any(not value for values in visit.query.values() for value in values):
            # A browser sends the empty fields of a form too: the URL keeps only what is set.
            return redirect(filters.url(cursor=filters.cursor))
        found = await visit.call("runs.list", given={**filters.given(), "limit": str(SHOWN)})
    except HTTPError as error:
        status = error.response.status
        if status not in _OF_FILTERS:
            raise
        problem = error.response.text
    apis = () if visit.console.state.table is None else sorted(visit.console.state.table.routes)
    return await visit.show(
        "runs.html",
        {
            "title": f"Runs of {filters.api}" if filters.api else "Runs",
            "filters": filters,
            "statuses": STATUSES,
            "periods": PERIODS,
            "apis": apis,
            "problem": problem,
            # Older pages do not change, apart from the statuses of their runs.
            "is_live": not filters.cursor and not problem,
            "runs": found["runs"],
            "cursor": found["nextCursor"],
            "searched_back_to": found["lookedBackTo"],
            "retry_all": _retry_all(filters) if found["runs"] and visit.may(Role.OPERATE) else None,
            "has_where": "where" in BY_NAME["runs.list"].query,
        },
        here=HERE,
        line=line("runs", "list", options=filters.options()),
        status=status,
    )


def _retry_all(filters: RunFilters) -> str | None:
    """Return the URL that the page of runs offers to retry all; None unless it shows faulted ones only."""
    if filters.statuses != ("faulted",):
        return None
    return filters.retry_url


def _uid(visit: Visit) -> str:
    """Return the uid in the path. Raises NotFound for a text that is none."""
    uid = visit.path["uid"]
    if not (uid.isascii() and uid.isdigit() and len(uid) <= _DIGITS):
        raise run_not_found(uid)
    return uid


async def show_run(visit: Visit) -> Any:
    """Show one run."""
    uid = _uid(visit)
    run, (first, journal), children = await asyncio.gather(
        visit.call("runs.show", path={"uid": uid}, raw=_DATA),
        _journal(visit, uid),
        visit.call("runs.list", given={"parent": uid, "limit": str(CHILDREN + 1), "since": "365d"}),
    )
    # A run of 1,000 tasks takes 10 ms: a thread works it out, and calls do not wait.
    values = await asyncio.to_thread(
        run_page_values.values,
        run,
        journal,
        first=first,
        now_ms=visit.now_ms,
        whole_journal=visit.one("journal") == "all",
        all_tasks=visit.one("tasks") == "all",
    )
    may = visit.may(Role.OPERATE)
    listed = children["runs"]
    return await visit.show(
        "run.html",
        values
        | {
            "runs_of_api": RunFilters(api=run["api"]).url(),
            "actions": _actions(run) if may else [],
            "may_not": "" if may else f"The role {visit.actor.role} cannot change runs.",
            "operation": new_key(),
            "reason_required": True,
            "loads_again": values["is_live"],
            "children": listed[:CHILDREN],
            "more_children": RunFilters(parent=uid).url() if len(listed) > CHILDREN else None,
        },
        here=HERE,
        line=line("runs", "show", uid),
    )


async def _journal(visit: Visit, uid: str) -> tuple[int, list[dict[str, Any]]]:
    """Return the kept journal entries of a run for its pages, and the number of the first one."""
    page = await visit.ask(lambda store: store.runs.journal_page(uid, limit=keys.JOURNAL_ENTRIES))
    return page.first, [presentation.journal_entry(each) for each in page.entries]


def _actions(run: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the changes that the page of a run offers for its status and its callback."""
    verbs = {
        "faulted": ["retry"],
        "suspended": ["resume", "cancel"],
        "pending": ["suspend", "cancel"],
        "running": ["suspend", "cancel"],
        "waiting": ["suspend", "cancel"],
    }.get(run["status"], [])
    if run["endedAt"] and run.get("callback"):
        verbs = [*verbs, "redeliver"]
    return [{"verb": verb, **_ACTIONS[verb]} for verb in verbs]


def _change(verb: str) -> Any:
    async def change(visit: Visit) -> Any:
        """Change one run as its form says, and show the run again."""
        uid, form = _uid(visit), visit.form
        given: dict[str, Any] = {"reason": form.get("reason", "")}
        if verb == "retry":
            given |= {"from": form.get("from"), "on": form.get("on")}
        key = form.get("operation") or new_key()
        await visit.call(f"runs.{verb}", path={"uid": uid}, given=given, key=key)
        return visit.done(f"/console/runs/{uid}", verb)

    return change


async def follow(visit: Visit) -> Any:
    """Stream the journal of a run after the entry that the page has, as server-sent events."""
    request = visit.request
    after = visit.one("after")
    if b"last-event-id" not in request.headers and after.isdigit():
        headers = {**request.headers, b"last-event-id": after.encode()}
        request = msgspec.structs.replace(request, headers=headers)
    found = await visit.stream("runs.events", path={"uid": _uid(visit)}, request=request)
    if isinstance(found, Stream):
        found.iterator = _while_logged_in(visit, found.iterator)
    return found


async def _while_logged_in(visit: Visit, events: Any) -> AsyncGenerator[bytes, None]:
    """Yield the events of a page's stream until the session of the browser ends."""
    async with contextlib.aclosing(events):
        async for event in events:
            if visit.console.operator(visit.request) is None:
                return
            yield event


async def follow_list(visit: Visit) -> Stream:
    """Stream a notice whenever runs have changed, for an open list."""
    events = visit.console.list_changes.follow()
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return Stream(_while_logged_in(visit, events), media_type="text/event-stream", headers=headers)


def _file(side: str) -> Any:
    async def download(visit: Visit) -> Response:
        """Return the input or output of a run as a file."""
        uid = _uid(visit)
        run = await visit.call("runs.show", path={"uid": uid}, raw=_DATA)
        content = indent_json(run[side])
        name = f"attachment; filename=run-{uid}-{side}.json".encode()
        return Response(200, content, [*SECURITY, (b"content-disposition", name)])

    return download


PAGES: Final = (
    Page(path="/console/runs", handler=show_list),
    Page(path="/console/runs/changes", handler=follow_list, is_stream=True),
    Page(path="/console/runs/{uid:str}", handler=show_run),
    Page(path="/console/runs/{uid:str}/events", handler=follow, is_stream=True),
    Page(path="/console/runs/{uid:str}/input.json", handler=_file("input")),
    Page(path="/console/runs/{uid:str}/output.json", handler=_file("output")),
    *(
        Page(
            path=f"/console/runs/{{uid:str}}/{verb}",
            handler=_change(verb),
            method="POST",
            role=Role.OPERATE,
            form_on="/console/runs/{uid}",
        )
        for verb in _ACTIONS
    ),
)
