"""Pages of batches: the list, the form that retries all runs of a list, and the progress of one batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from iogate.gateway.console.list_filters import DEFAULT_SINCE, LISTS, NAMES, TEXTS, RunFilters
from iogate.gateway.console.page import Page, Visit, new_key
from iogate.gateway.console.shell_lines import line
from iogate.gateway.http.responses import NO_PATH, HTTPError
from iogate.operators.roles import Role

HERE: Final = "Runs"
_OF_FILTERS: Final = (400, 403, 404, 409)
"""Statuses of errors about the filters, which the form shows."""
_ID_LENGTH: Final = 12
_HEX: Final = frozenset("0123456789abcdef")


def _faulted(given: Mapping[str, Any]) -> RunFilters:
    """Return the filters of the form that retries runs, by default of faulted ones in the list's period."""
    filters = RunFilters.read(
        {name: [text] if isinstance(text, str) else text for name, text in given.items()}
    )
    return replace(
        filters, statuses=filters.statuses or ("faulted",), since=filters.since or DEFAULT_SINCE, cursor=""
    )


def _members(filters: RunFilters) -> dict[str, Any]:
    """Return the filters of a page as the filter of a batch."""
    found: dict[str, Any] = {name: text for name, text in filters.given().items() if name in TEXTS}
    if filters.revision.isascii() and filters.revision.isdigit():
        found["revision"] = int(filters.revision)
    return {**found, "status": list(filters.statuses)}


async def show_form(visit: Visit) -> Any:
    """Show how many faulted runs match the filters, and the form that retries them."""
    filters = _faulted(visit.query)
    seen: dict[str, Any] = {"count": 0, "sample": [], "workers": 1}
    problem, status = "", 200
    try:
        visit.check_query(NAMES, lists=LISTS)
        given = {"action": "retry", "filter": _members(filters), "dry_run": True}
        seen = await visit.call("batches.create", given=given)
    except HTTPError as error:
        status = error.response.status
        if status not in _OF_FILTERS:
            raise
        problem = error.response.text
    return await visit.show(
        "batch_new.html",
        {
            "title": "Retry all faulted runs" + (f" of {filters.api}" if filters.api else ""),
            "filters": filters,
            "count": seen["count"],
            "sample": seen["sample"],
            "workers": seen["workers"],
            "problem": problem,
            "operation": new_key(),
        },
        here=HERE,
        line=line("runs", "retry", options=filters.options()),
        status=status,
    )


async def create(visit: Visit) -> Any:
    """Make the batch of the form that retries runs, and show it."""
    form = visit.form
    if not form.get("reason"):
        return visit.ask_for_reason(_faulted(form).retry_url)
    count = form.get("expected", "")
    batch = await visit.call(
        "batches.create",
        given={
            "action": "retry",
            "filter": _members(_faulted(form)),
            "expected": int(count) if count.isascii() and count.isdigit() and len(count) < 10 else None,
            "reason": form.get("reason", ""),
        },
        key=form.get("operation") or new_key(),
    )
    return visit.done(f"/console/batches/{batch['id']}", "batch")


async def show_list(visit: Visit) -> Any:
    """Show the batches of the last seven days, newest first."""
    visit.check_query(("cursor",))
    found = await visit.call("batches.list", given={"cursor": visit.one("cursor")})
    cursor = found["nextCursor"]
    return await visit.show(
        "batches.html",
        {
            "title": "Batches",
            "batches": found["batches"],
            "older": f"/console/batches?cursor={cursor}" if cursor else None,
        },
        here=HERE,
        line=line("batches", "list"),
    )


def _id(visit: Visit) -> str:
    id_ = visit.path["id"]
    if len(id_) != _ID_LENGTH or not _HEX.issuperset(id_):
        raise HTTPError(NO_PATH)
    return id_


async def show(visit: Visit) -> Any:
    """Show one batch with its progress; a reload shows the present one."""
    batch = await visit.call("batches.show", path={"id": _id(visit)})
    return await visit.show(
        "batch.html",
        {
            "title": f"Batch {batch['id']}",
            "batch": batch,
            "may": visit.may(Role.OPERATE),
            "operation": new_key(),
        },
        here=HERE,
        line=line("batches", "show", batch["id"]),
    )


def _change(verb: str) -> Any:
    async def change(visit: Visit) -> Any:
        """Stop or continue a batch as its form says, and show it again."""
        id_, form = _id(visit), visit.form
        key = form.get("operation") or new_key()
        await visit.call(
            f"batches.{verb}", path={"id": id_}, given={"reason": form.get("reason", "")}, key=key
        )
        return visit.done(f"/console/batches/{id_}", f"batch-{verb}")

    return change


PAGES: Final = (
    Page(path="/console/batches", handler=show_list),
    Page(path="/console/batches", handler=create, method="POST", role=Role.OPERATE),
    Page(path="/console/batches/new", handler=show_form, role=Role.OPERATE),
    Page(path="/console/batches/{id:str}", handler=show),
    *(
        Page(
            path=f"/console/batches/{{id:str}}/{verb}",
            handler=_change(verb),
            method="POST",
            role=Role.OPERATE,
            form_on="/console/batches/{id}",
        )
        for verb in ("stop", "continue")
    ),
)
