"""`iogate export`: files of a revision, which plan as no change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iogate.cli import panels
from iogate.cli.options import RevisionArgument
from iogate.cli.render import to_yaml
from iogate.cli.session import Session, command
from iogate.errors import Misused, Refused
from iogate.messages import counted
from iogate.settings import FILE_NAME

if TYPE_CHECKING:
    from iogate.reconcile.export import Exported

NOT_EMPTY = "IOG713"


def register(app: typer.Typer) -> None:
    command(app, "export", over_http=True, rich_help_panel=panels.LIVE)(export)


async def export(
    session: Session,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder to write to.")],
    revision: RevisionArgument = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write into a folder that is not empty, and replace files.")
    ] = False,
) -> None:
    """Write the files of a revision, which plan as no change.

    Raises:
        NotFound: the store does not keep the revision, or none was applied yet.
        Refused: the folder is not empty.
        Misused: a file cannot be written.
    """
    from iogate.reconcile.export import export as export_files

    async with session.system() as system:
        version = await system.revisions.version(revision)
    found = export_files(version.bundle)
    files = _texts(found)
    if found.variables and (to / FILE_NAME).exists():
        session.screen.warn(
            f"{to / FILE_NAME} was left as it is; compare its vars with those of the revision"
        )
        del files[FILE_NAME]
    _write(to, files, force=force)
    session.screen.data(
        "export",
        {"revision": version.number, "folder": str(to), "files": sorted(files), "missing": found.missing},
        [str(to / name) for name in sorted(files)],
    )
    session.screen.note(
        f"revision {version.number}: {counted(len(files), 'file')}; comments, debug cases and settings "
        "except vars are not part of it"
    )
    for each in found.missing:
        commit = f" at commit {version.commit}" if version.commit else ""
        session.screen.warn(f"a revision does not keep {each}: take it from git{commit}")


def _texts(found: Exported) -> dict[str, bytes]:
    """Return the content of each exported file, documents in their canonical form."""
    from iogate.documents.formatter.file_formatter import format_bytes

    files = dict(found.contents)
    for name, value in found.documents.items():
        raw = to_yaml(value).encode()
        try:
            text = format_bytes(raw, name).text
        except Refused:
            text = None
        files[name] = raw if text is None else text.encode()
    if found.variables:
        files[FILE_NAME] = to_yaml({"vars": found.variables}).encode()
    return files


def _write(folder: Path, files: dict[str, bytes], *, force: bool) -> None:
    """Write exported files into a folder.

    Raises:
        Refused: the folder has entries, and `force` is false.
        Misused: a file cannot be written, or a link leads it out of the folder.
    """
    try:
        if not force and folder.exists() and any(folder.iterdir()):
            raise Refused(
                f"{folder} is not empty",
                code=NOT_EMPTY,
                hint="name another folder, or pass --force to replace files of the same name",
            )
        for name in files:
            if not (folder / name).resolve().is_relative_to(folder.resolve()):
                raise Misused(f"--to {folder}: a link leads {name} out of the folder", hint="remove the link")
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as error:
        raise Misused(f"--to {folder}: cannot be written: {error.strerror}") from None
