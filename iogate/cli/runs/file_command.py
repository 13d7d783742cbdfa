"""`iogate runs file`: list the files that a call has sent, or write one of them.

Invariant: a file is written under the name that the command line gives, else into the folder of the session
under a safe name, whatever a server says; it replaces another one only with `--force`.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from iogate.cli.options import UidArgument
from iogate.cli.render import Output, Table, write_bytes
from iogate.cli.session import Session, command
from iogate.errors import Misused, NotFound
from iogate.file_references import safe_filename
from iogate.messages import counted, listed, quoted

SHOWN_DIGITS = 12
"""Digits of a SHA-256 in a list; as many as a command accepts at least are `LEAST_DIGITS`."""
LEAST_DIGITS = 8
STDOUT = "-"


def register(group: typer.Typer) -> None:
    """Add the command `file` to `iogate runs`."""
    command(group, "file", over_http=True)(file)


async def file(
    session: Session,
    uid: UidArgument,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Name of the part, its filename, or the beginning of its SHA-256."
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="PATH",
            help="Where to write the file; - for stdout. Default: here, under its filename.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --out.")] = False,
) -> None:
    """List the files of a run, or write one of them.

    Raises:
        NotFound: there is no such run or file.
        Misused: several files have the name, or the file exists here, or `--force` lacks `--out`.
    """
    if out == STDOUT and session.screen.output is not Output.TEXT:
        raise Misused("--out - writes the file itself to stdout; it cannot be combined with -o")
    if name is None and (out is not None or force):
        raise Misused("--out and --force need the NAME of a file", hint=f"iogate runs file {uid} lists them")
    if force and out is None:
        raise Misused(
            "--force needs --out PATH: the sender of the file has chosen its filename, which may be that "
            "of any file here",
            hint=f"iogate runs file {uid} {shlex.quote(name or '')} --out PATH --force",
        )
    async with session.system() as system:
        files = await system.runs.files(uid)
        if name is None:
            session.screen.data("runs.file", {"uid": uid, "files": files, "path": None}, [_table(files)])
            return
        chosen = _choose(files, name, uid)
        content = await system.runs.read_file(uid, chosen)
    if out == STDOUT:
        write_bytes(content)
        return
    path = Path(out or safe_filename(chosen["filename"] or chosen["name"]))
    _write(path, content, force=force)
    session.screen.data(
        "runs.file",
        {"uid": uid, "files": [chosen], "path": str(path)},
        [f"wrote {counted(len(content), 'byte')} to {path}"],
    )


def _choose(files: Sequence[dict[str, Any]], name: str, uid: str) -> dict[str, Any]:
    for key in ("name", "filename"):
        found = [each for each in files if each[key] == name]
        if found:
            break
    else:
        found = [each for each in files if len(name) >= LEAST_DIGITS and each["sha256"].startswith(name)]
    contents = {each["sha256"]: each for each in found}
    if not contents:
        names = sorted({each["name"] for each in files})
        has = f"it has {listed(map(quoted, names))}" if names else "its call has sent none"
        raise NotFound(f"run {uid} has no file {quoted(name)}: {has}")
    if len(contents) > 1:
        raise Misused(
            f"run {uid} has {len(contents)} files {quoted(name)}",
            hint="name one by its SHA-256: "
            + ", ".join(f"{sha256[:SHOWN_DIGITS]} ({each['filename']})" for sha256, each in contents.items()),
        )
    return found[0]


def _write(path: Path, content: bytes, *, force: bool) -> None:
    if path.is_dir():
        raise Misused(f"{path} is a folder", hint="give the path of a file with --out")
    try:
        with path.open("wb" if force else "xb") as written:
            written.write(content)
    except FileExistsError:
        hint = f"choose another name with --out, or replace it with --out {shlex.quote(str(path))} --force"
        raise Misused(f"{path} exists", hint=hint) from None
    except OSError as error:
        raise Misused(f"{path} cannot be written: {error.strerror}") from None


def _table(files: Sequence[dict[str, Any]]) -> Table | str:
    if not files:
        return "no files"
    return Table(
        columns=("name", "filename", "type", "size", "sha256"),
        rows=[
            (each["name"], each["filename"], each["contentType"], each["size"], each["sha256"][:SHOWN_DIGITS])
            for each in files
        ],
        numbers=frozenset({"size"}),
    )
