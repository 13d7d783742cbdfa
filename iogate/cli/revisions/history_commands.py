"""`iogate history` and `show`: the published revisions and their content."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from iogate.cli import panels
from iogate.cli.options import RevisionArgument
from iogate.cli.render import Table
from iogate.cli.session import Session, command

COMMIT_CHARACTERS = 12
DIGEST_CHARACTERS = 12


def register(app: typer.Typer) -> None:
    command(app, "history", over_http=True, fields_of="history", rich_help_panel=panels.LIVE)(history)
    command(app, "show", over_http=True, fields_of="show", rich_help_panel=panels.LIVE)(show)


async def history(
    session: Session,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most N revisions.")] = 20,
) -> None:
    """List the revisions that the store keeps, newest first, with author, commit and changes."""
    async with session.system() as system:
        rows = (await system.revisions.history(limit))["revisions"]
    table = Table(
        columns=("revision", "live", "time", "author", "commit", "action", "changes", "message"),
        rows=[
            (
                row["revision"],
                "live" if row["live"] else None,
                row["publishedAt"],
                row["author"] or None,
                _commit(row) or None,
                _action(row),
                row["changes"] or None,
                row["message"] or None,
            )
            for row in rows
        ],
        numbers=frozenset({"revision"}),
    )
    session.screen.data("history", {"revisions": rows}, [table] if rows else [])
    if not rows:
        session.screen.note('no revision was applied yet: publish one with "iogate apply"')
    elif not any(row["live"] for row in rows):
        session.screen.warn('none of them is live: see "iogate status"')


async def show(
    session: Session,
    revision: RevisionArgument = None,
) -> None:
    """Show one revision: its origin, APIs, workflows, schedules and digests.

    Raises:
        NotFound: the store does not keep the revision, or none was applied yet.
        NotAuthentic: the revision was not signed with the key.
    """
    async with session.system() as system:
        value = await system.revisions.show(revision)
    session.screen.data("show", value, _text(value))


def _commit(row: dict[str, Any]) -> str:
    """Return the shortened commit of a revision in the history, with `*` if the folder had other changes."""
    return f"{row['commit'][:COMMIT_CHARACTERS]}{'*' if row['dirty'] else ''}"


def _action(row: dict[str, Any]) -> str:
    if row["fault"] is not None:
        return "not authentic"
    return f"{row['action']} to {row['restores']}" if row["restores"] is not None else str(row["action"])


def _text(value: dict[str, Any]) -> list[Table | str]:
    from iogate.store.revisions.origin import DEFAULT_PROJECT

    head = {
        "revision": f"{value['revision']}{', live' if value['live'] else ''}",
        "project": value["project"] if value["project"] != DEFAULT_PROJECT else "",
        "digest": value["digest"],
        "published": value["publishedAt"],
        "author": value["author"],
        "commit": value["commit"] + (" and other changes of the folder" if value["dirty"] else ""),
        "action": _action(value),
        "changes": value["changes"],
        "message": value["message"].replace("\n", f"\n{'':<10} "),
        "iogate": value["version"],
    }
    parts: list[Table | str] = ["\n".join(f"{name:<10} {text}" for name, text in head.items() if text)]
    enabled = {True: "enabled", False: "disabled", None: "by command"}
    for columns, rows in (
        (
            ("api", "verbs", "auth", "git says", "workflow", "digest"),
            [
                (
                    each["api"],
                    ", ".join(each["verbs"]),
                    each["auth"],
                    enabled[each["enabled"]],
                    each["workflow"],
                    each["digest"][:DIGEST_CHARACTERS],
                )
                for each in value["apis"]
            ],
        ),
        (
            ("workflow", "program", "title", "source"),
            [
                (each["workflow"], each["program"][:DIGEST_CHARACTERS], each["title"] or None, each["source"])
                for each in value["workflows"]
            ],
        ),
        (("scheduled", "when"), [(each["workflow"], each["when"]) for each in value["schedules"]]),
        (
            ("resource", "digest"),
            [
                (uri.removeprefix("project:///").partition("#")[0], digest[:DIGEST_CHARACTERS])
                for uri, digest in value["resources"].items()
            ],
        ),
    ):
        if rows:
            parts += ["", Table(columns=columns, rows=rows)]
    return parts
