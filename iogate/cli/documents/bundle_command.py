"""`iogate bundle`: the compiled project as the body of a request that publishes it over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from iogate.cli import panels
from iogate.cli.documents.bundle import compile_or_fail, save_lock
from iogate.cli.plans.publication_options import (
    EmptyOption,
    MaxDeletesOption,
    OrphansOption,
    PruneOption,
    SelectOption,
)
from iogate.cli.render import write_stdout
from iogate.cli.session import Session, command
from iogate.errors import Misused


def register(app: typer.Typer) -> None:
    command(app, "bundle", rich_help_panel=panels.DOCUMENTS)(bundle)


def bundle(
    session: Session,
    expect: Annotated[
        int,
        typer.Option("--expect", metavar="N", min=0, help="Number of the live revision; 0: none."),
    ],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Reason, for the activity.")],
    prune: PruneOption = False,
    allow_empty: EmptyOption = False,
    max_deletes: MaxDeletesOption = None,
    select: SelectOption = "",
    keep_orphans: OrphansOption = False,
    locked: Annotated[
        bool,
        typer.Option("--locked", help="Refuse fetched documents without an entry in iogate.lock."),
    ] = False,
) -> None:
    """Compile the project, and print the request that publishes it: the body of POST /v1/revisions.

    Raises:
        InvalidFiles: a document has an error.
        Misused: the reason is empty.
    """
    from iogate.cli.revisions import git_state
    from iogate.reconcile import bundle_codec

    if not reason.strip():
        raise Misused("--reason: expected a text that says why")
    settings = session.settings()
    checked = compile_or_fail(settings, purpose="apply", mode="frozen" if locked else "add")
    assert checked.bundle is not None, "compile_or_fail() raises without a bundle"
    if not locked:
        save_lock(session.screen, checked)
    git = git_state.read(Path.cwd(), settings.data_dir)
    body: dict[str, Any] = {
        "expected": expect,
        "reason": reason,
        "project": settings.project,
        "commit": git.commit or None,
        "dirty": git.dirty,
        "prune": prune,
        "allow_empty": allow_empty,
        "max_deletes": max_deletes,
        "select": select or None,
        "keep_orphans": keep_orphans,
    }
    # 0 is a value of its own: `0 in (None, False)` is true.
    head = json.dumps(
        {name: value for name, value in body.items() if value is not None and value is not False}
    )
    # Without the `schema` envelope of other commands: it is sent as it is.
    write_stdout(f'{head[:-1]}, "bundle": {bundle_codec.encode(checked.bundle).decode()}}}')
