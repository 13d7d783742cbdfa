"""Pages of revisions: the history, one revision with its changes, and the form of a rollback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from iogate.errors import IogateError
from iogate.gateway.console.page import Page, Visit, new_key
from iogate.gateway.console.shell_lines import line
from iogate.gateway.http.responses import NO_PATH, HTTPError
from iogate.operators import revisions
from iogate.operators.live_revision import live_number
from iogate.operators.roles import Role

Json = Mapping[str, Any]
HERE: Final = "Revisions"
SHOWN: Final = 50


async def show_list(visit: Visit) -> Any:
    """Show the kept revisions, newest first."""
    visit.check_query(("cursor",))
    cursor = visit.one("cursor") or None
    found = await visit.ask(lambda store: revisions.page(store, limit=SHOWN, cursor=cursor))
    entries = [{**each, "changes_text": _changes(each["changes"])} for each in found["revisions"]]
    values = {"title": "Revisions", "revisions": entries, "next": found["nextCursor"]}
    return await visit.show("revisions.html", values, here=HERE, line=line("history"))


def _changes(changes: Any) -> str:
    """Return the number of changes of a revision as text, for the pages of revisions."""
    if isinstance(changes, dict):
        return ", ".join(f"{number} {name}" for name, number in changes.items() if number)
    return str(changes or "")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


async def show(visit: Visit) -> Any:
    """Show one revision, and its difference to the one before or to another one."""
    number = _number(visit.path["number"])
    if number is None:
        raise HTTPError(NO_PATH)
    revision = await visit.ask(lambda store: revisions.show(store, number))
    against = _number(visit.one("against")) or await visit.ask(lambda store: revisions.earlier(store, number))
    first, second = (number, number) if against is None else (min(against, number), max(against, number))
    changes, problem = [], ""
    if first != second:
        try:
            changes = (await visit.ask(lambda store: revisions.diff(store, first, second)))["changes"]
        except IogateError as error:
            problem = error.message
    heading = (
        "No earlier revision is kept" if against is None else f"Changes from revision {first} to {second}"
    )
    shown = line("diff", str(first), str(second)) if first != second else line("show", str(number))
    return await visit.show(
        "revision.html",
        {
            "revision": revision,
            "facts": _facts(revision),
            "against": against,
            "heading": heading,
            "changes": changes,
            "problem": problem,
            "may_roll_back": visit.may(Role.ADMIN) and not revision["live"],
            "live": await visit.ask(live_number),
            "operation": new_key(),
        },
        here=HERE,
        line=shown,
    )


def _facts(revision: Json) -> list[tuple[str, str]]:
    commit = revision["commit"] or ""
    facts = [
        ("Author", revision["author"]),
        ("Commit", commit + (" + local changes" if revision["dirty"] else "")),
        ("Project", revision["project"]),
        ("Action", revision["action"]),
        ("Restores", revision["restores"]),
        ("iogate", revision["version"]),
        ("Digest", revision["digest"][:23]),
    ]
    return [(name, str(text)) for name, text in facts if text]


async def roll_back(visit: Visit) -> Any:
    """Publish the content of a revision again, as its form says, in place of the one that was live then."""
    number = _number(visit.path["number"])
    if number is None:
        raise HTTPError(NO_PATH)
    form = visit.form
    done = await visit.call(
        "revisions.rollback",
        path={"number": str(number)},
        key=form.get("operation") or new_key(),
        version=form.get("version"),
        given={"reason": form.get("reason", ""), "prune": True if form.get("prune") else None},
    )
    return visit.done(f"/console/revisions/{done['revision']}", "rollback")


PAGES: Final = (
    Page(path="/console/revisions", handler=show_list),
    Page(path="/console/revisions/{number:str}", handler=show),
    Page(
        path="/console/revisions/{number:str}/rollback",
        handler=roll_back,
        method="POST",
        role=Role.ADMIN,
        form_on="/console/revisions/{number}",
    ),
)
