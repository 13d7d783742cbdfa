"""`iogate fmt`: writes documents in their canonical form.

Invariant: a file is replaced as a whole, or stays as it is; a difference shows no secret.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iogate.cli import panels
from iogate.cli.documents.problem_display import problem_json, show_problems
from iogate.cli.documents.source_diff import unified_diff
from iogate.cli.render import Output, write_bytes, write_stderr, write_stdout
from iogate.cli.session import CHANGES, Session, command
from iogate.errors import InvalidFiles, Misused, NotFound, Refused
from iogate.messages import counted

if TYPE_CHECKING:
    from iogate.documents.formatter.file_formatter import Formatted
    from iogate.documents.problems import Problem
    from iogate.documents.yaml.source import Source

CANNOT_WRITE = "IOG721"


def register(app: typer.Typer) -> None:
    command(app, "fmt", rich_help_panel=panels.DOCUMENTS)(fmt)


def fmt(
    session: Session,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATHS", help="Files or folders; default: apis.d and workflows.d; - for stdin."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 2 if a file would change.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Like --check, and print the differences.")] = False,
    stdin_filename: Annotated[
        str, typer.Option(metavar="FILE", help="Name of the file on stdin, for messages.")
    ] = "stdin.yaml",
) -> None:
    """Write documents in their canonical form: order of keys, layout and quotes; comments stay.

    Raises:
        InvalidFiles: a file is no valid YAML, or no document; the others are formatted.
        NotFound: a path does not exist.
        Refused: a file cannot be written.
    """
    from iogate.documents.formatter.file_formatter import format_file
    from iogate.documents.yaml.project_files import FOLDERS, find_files, name_in_project

    if paths == [Path("-")]:
        _stdin(session, stdin_filename, check=check, diff=diff)
        return
    if Path("-") in (paths or ()):
        raise Misused("- stands for stdin, and cannot be combined with files")
    for path in paths or ():
        if not path.exists():
            raise NotFound(f"{path}: no such file or folder")
    report = _Report(session, writes=not (check or diff), diff=diff)
    root = Path.cwd()
    seen: set[Path] = set()
    for path in paths or [Path(folder) for folder in FOLDERS if Path(folder).is_dir()]:
        for file in find_files(path, report.unreadable):
            if (real := file.resolve()) in seen:
                continue
            seen.add(real)
            name = name_in_project(file, root)
            try:
                report.add(real, name, format_file(file, name))
            except Refused as error:
                report.refuse(error)
    if not seen:
        where = ", ".join(map(str, paths or FOLDERS))
        session.screen.warn(f"nothing to format: no files found in {where} of {root}")
    report.finish()


class _Report:
    """Results of all files, and the writing of those that change."""

    def __init__(self, session: Session, *, writes: bool, diff: bool) -> None:
        self._session = session
        self._writes = writes
        self._diff = diff
        self._files = 0
        self._changed: list[str] = []
        self._problems: list[Problem] = []
        self._sources: dict[str, Source] = {}
        self._refused: list[Refused] = []

    def add(self, path: Path, name: str, formatted: Formatted) -> None:
        """Add the result of `iogate fmt` for a file, and write the file if it changes.

        Raises:
            Refused: the file cannot be written.
        """
        self._files += 1
        self._sources[name] = formatted.reading.source
        self._problems += formatted.problems
        if formatted.text is None or not formatted.changed:
            return
        if self._writes:
            _write(path, name, formatted.raw, formatted.text)
        self._changed.append(name)
        if self._diff and self._session.screen.output is Output.TEXT:
            _show_difference(formatted, name)

    def refuse(self, error: Refused) -> None:
        """Add a file that `iogate fmt` cannot format or write."""
        self._refused.append(error)

    def unreadable(self, error: OSError) -> None:
        """Add a folder that `iogate fmt` cannot list to the report.

        Raises Refused, since its files are unknown.
        """
        raise Refused(f"{error.filename}: cannot read the folder: {error.strerror}")

    def finish(self) -> None:
        """Print the results of `iogate fmt`.

        Raises InvalidFiles and Refused for files with problems, and Exit with 2 for files that would change.
        """
        screen, verb = self._session.screen, "formatted" if self._writes else "would format"
        listed = [] if self._diff else [f"{verb} {name}" for name in self._changed]
        show_problems(self._problems, self._sources, sys.stderr)
        screen.data(
            "fmt",
            {
                "files": self._files,
                "changed": self._changed,
                "written": self._writes,
                "problems": [problem_json(each) for each in self._problems],
                "refused": [each.message for each in self._refused],
            },
            listed,
        )
        if self._files:
            result = f"{verb} {len(self._changed)}" if self._changed else "unchanged"
            screen.note(f"{counted(self._files, 'file')}: {result}")
        for error in self._refused[1:]:
            write_stderr(f"iogate: {error.message} [{error.code}]", style="red")
        if self._problems:
            files = len({each.path for each in self._problems})
            raise InvalidFiles(
                f"{counted(files, 'file')} cannot be formatted", hint="correct the errors, and format again"
            )
        if self._refused:
            raise self._refused[0]
        if self._changed and not self._writes:
            raise typer.Exit(CHANGES)


def _write(path: Path, name: str, before: bytes, text: str) -> None:
    from iogate.atomic_files import write_atomically

    try:
        with path.open("r+b") as file:  # as an editor would: a file without permission to write stays
            mode = path.stat().st_mode & 0o7777
            current = file.read()
        moved = current != before
        if moved and current == text.encode():
            return  # another command has formatted it meanwhile
        if not moved:
            write_atomically(path, text, mode=mode)
    except OSError as error:
        raise Refused(
            f"{name}: cannot be written: {error.strerror}; it stays as it is",
            code=CANNOT_WRITE,
            hint="give yourself the permission to write the file and its folder",
        ) from None
    if moved:
        raise Refused(
            f"{name}: has changed since it was read; it stays as it is",
            code=CANNOT_WRITE,
            hint="format it again",
        )


def _stdin(session: Session, name: str, *, check: bool, diff: bool) -> None:
    """Format stdin to stdout for `iogate fmt -` in editors; print nothing on stdout after an error."""
    from iogate.documents.formatter.file_formatter import format_bytes

    formatted = format_bytes(sys.stdin.buffer.read(), name)
    if formatted.text is None:
        show_problems(formatted.problems, {name: formatted.reading.source}, sys.stderr)
        raise InvalidFiles(f"{name} cannot be formatted", hint="correct the errors, and format again")
    if diff and formatted.changed:
        _show_difference(formatted, name)
    elif not check and not diff:
        if session.screen.output is not Output.TEXT:
            raise Misused("-o: the formatted document is the output of `iogate fmt -`")
        write_bytes(formatted.text.encode())
    if formatted.changed and (check or diff):
        raise typer.Exit(CHANGES)


def _show_difference(formatted: Formatted, name: str) -> None:
    """Print a unified diff for `iogate fmt --diff`, with literal secrets masked."""
    from iogate.documents.yaml.reader import read_text

    assert formatted.text is not None
    before, after = formatted.reading.source, read_text(formatted.text, name).source
    after.sensitive = before.sensitive
    for line in unified_diff(before, after, name):
        write_stdout(line)
