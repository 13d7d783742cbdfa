"""`iogate watch`: the pull mode of GitOps, for a folder or a branch of a git repository."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iogate.cli import panels
from iogate.cli.options import parse_seconds
from iogate.cli.plans.publication_options import (
    WAIT,
    EmptyOption,
    MaxDeletesOption,
    OrphansOption,
    PruneOption,
    WaitOption,
)
from iogate.cli.session import Session, command
from iogate.errors import IogateError, Misused, NotTaken

if TYPE_CHECKING:
    from iogate.cli.pull.project_watcher import ProjectWatcher
    from iogate.settings import Settings

FOLDER_S = 1.0
GIT_S = 30.0


def register(app: typer.Typer) -> None:
    command(app, "watch", rich_help_panel=panels.LIVE)(watch)


async def watch(
    session: Session,
    git: Annotated[
        str | None,
        typer.Option("--git", metavar="URL|DIR", help="Watch this git repository, not the current folder."),
    ] = None,
    ref: Annotated[
        str, typer.Option("--ref", metavar="REF", help="Branch or tag of the repository.")
    ] = "main",
    path: Annotated[
        str, typer.Option("--path", metavar="DIR", help="Folder of the project in the repository.")
    ] = "",
    interval: Annotated[
        str | None,
        typer.Option(
            "--interval", metavar="TIME", help="Interval between checks; default 30s, for a folder 1s."
        ),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Check once, and fail if the newest version is not live.")
    ] = False,
    prune: PruneOption = False,
    keep_orphans: OrphansOption = False,
    allow_empty: EmptyOption = False,
    max_deletes: MaxDeletesOption = None,
    wait: WaitOption = WAIT,
) -> None:
    """Apply the project in the current folder, or on a git branch, after each change until stopped.

    Raises:
        Misused: options are wrong, or git is missing.
        NotTaken: with `--once`, the newest version is not live.
    """
    from iogate import logs
    from iogate.cli.pull.project_sources import FolderSource, Source, git_source
    from iogate.cli.pull.project_watcher import ProjectWatcher
    from iogate.cli.revisions.folder_changes import stamp
    from iogate.settings import project_environments

    if git is None and (path or ref != "main"):
        raise Misused("--ref and --path need --git")
    if prune and keep_orphans:
        raise Misused("--prune and --keep-orphans cannot be combined")
    interval_s = parse_seconds(interval, "--interval") or (FOLDER_S if git is None else GIT_S)
    # The environment is that of the followed project, which `--git` does not have here.
    settings = session.settings(needs_environment=git is None)
    logs.set_up(settings.log_format)
    source: Source
    if git is None:
        source = FolderSource(folder=Path.cwd(), stamp=partial(stamp, data_dir=settings.data_dir))
    else:
        source = git_source(git, ref, path, settings.data_dir)
    fixed = {"IOGATE_DATA_DIR": str(settings.data_dir.absolute())}
    if session.environment is not None:
        fixed[project_environments.VARIABLE] = session.environment
    watcher = ProjectWatcher(
        source=source,
        open_store=lambda project: session.store(replace(settings, project=project)),
        project_of=lambda folder: _project(session, settings, folder),
        options=[
            *(["--prune"] if prune else ()),
            *(["--keep-orphans"] if keep_orphans else ()),
            *(["--allow-empty"] if allow_empty else ()),
            *(["--max-deletes", str(max_deletes)] if max_deletes is not None else ()),
            *("--wait", wait),
        ],
        # Also of an embedded store: the files may name another one.
        environment=lambda: {**fixed, "IOGATE_REDIS_URL": session.store_url(settings)},
        repeats=not once,
    )
    if once:
        if not await watcher.look():
            raise NotTaken(f"the newest version of {source.shown} is not live")
        return
    session.screen.note(f"watching {source.shown}")
    await _until_signal(watcher, interval_s)


def _project(session: Session, settings: Settings, folder: Path) -> str:
    """Return the project to watch, to which the files of a folder belong; the apply reports invalid ones."""
    from iogate.cli.store_address import read_project_settings

    try:
        return read_project_settings(environment=session.environment, folder=folder).project
    except IogateError:
        return settings.project


async def _until_signal(watcher: ProjectWatcher, interval_s: float) -> None:
    working = asyncio.create_task(watcher.run(interval_s), name="watch")
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await working
