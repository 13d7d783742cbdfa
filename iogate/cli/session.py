"""What every command is given: where it works, how it prints, the settings, and the store.

`command` registers a function and gives it the options that stand everywhere. Invariant: a command
that changes live state names the store on stderr before it does.
"""

from __future__ import annotations

import asyncio
import functools
import getpass
import inspect
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iogate import settings as settings_module
from iogate.cli.render import Output, Screen, write_stderr
from iogate.errors import InvalidFiles, Misused, Unreachable
from iogate.settings import FILE_NAME, Settings
from iogate.settings.redis_url import mask

if TYPE_CHECKING:
    from iogate.documents.yaml.reader import Reading
    from iogate.store.store import Store

NO_STORE = 'no store: set redis_url, or start one with "iogate up"'

GLOBAL_OPTIONS = "Everywhere"

DirectoryOption = Annotated[
    Path | None,
    typer.Option("-C", metavar="DIR", help="Work in this folder.", rich_help_panel=GLOBAL_OPTIONS),
]
OutputOption = Annotated[
    Output | None,
    typer.Option("-o", "--output", help="How to print the result: text.", rich_help_panel=GLOBAL_OPTIONS),
]
QuietOption = Annotated[
    bool,
    typer.Option("-q", "--quiet", help="No remarks on stderr.", rich_help_panel=GLOBAL_OPTIONS),
]


@dataclass(frozen=True, kw_only=True)
class Session:
    """One command at work, in the project's folder."""

    screen: Screen = field(default_factory=Screen)

    def settings(self, flags: dict[str, Any] | None = None) -> Settings:
        """The project's settings; faults of file, environment and flags together."""
        for line in settings_module.misspelt(os.environ):
            self.screen.warn(line)
        return read_project_settings(flags)

    def store_url(self, settings: Settings) -> str:
        """The store that exists: the one set, else a live embedded one."""
        if settings.redis_url is not None:
            return settings.redis_url
        from iogate.store.embedded.server import find_embedded

        url = find_embedded(settings.data_dir)
        if url is None:
            raise Unreachable(NO_STORE)
        return url

    @asynccontextmanager
    async def store(
        self, settings: Settings, *, changes: bool = False, publishes: bool = False
    ) -> AsyncIterator[Store]:
        """An open store; `changes` names it first, `--quiet` or not; `publishes` signs a revision.

        A command that only reads works without the key, and verifies nothing then.
        """
        from iogate.cli.processes import keys

        url = self.store_url(settings)
        if changes:
            write_stderr(f"store: {mask(url)}", style="bright_black")
        store = await (
            keys.open_to_change(settings, url, publishes) if changes else keys.open_to_read(settings, url)
        )
        try:
            yield store
        finally:
            await store.close()


def read_project_settings(flags: dict[str, Any] | None = None) -> Settings:
    """Read the settings of the current folder.

    Raises:
        InvalidFiles: file, environment or flags hold what is no setting.
    """
    file, lines = _settings_file(Path(FILE_NAME))
    return settings_module.read(file, os.environ, flags, lines=lines)


def _settings_file(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The mapping in `iogate.yaml` and the line of each key; empty where there is no such file."""
    reading = read_settings_file(path)
    if reading is None:
        return {}, {}
    from iogate.documents.problems import render_all

    problems = [each for each in reading.problems if each.code != "IOG129"]  # an empty file is fine here
    if problems:
        told = render_all(problems, {FILE_NAME: reading.source})
        raise InvalidFiles(told.rstrip("\n"), code=problems[0].code)
    if reading.root is None:
        return {}, {}
    if reading.root.entries is None:
        raise InvalidFiles(f"{FILE_NAME}: expected a map of settings", code=settings_module.WRONG_SETTING)
    return reading.data, {name: span.line for name, (span, _) in reading.root.entries.items()}


def read_settings_file(path: Path) -> Reading | None:
    """The file of settings with its places; None where there is none."""
    if not path.exists():
        return None
    from iogate.documents.yaml.reader import read_file

    return read_file(path, FILE_NAME)


def command(
    group: typer.Typer, name: str, **options: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function whose first parameter is the session; it may be a coroutine function."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(
            ctx: typer.Context,
            directory: Path | None = None,
            output: Output | None = None,
            quiet: bool = False,
            **arguments: Any,
        ) -> None:
            first: GlobalOptions = ctx.find_root().obj or GlobalOptions()
            change_directory(directory)
            screen = Screen(output=output or first.output or Output.TEXT, quiet=quiet or first.quiet)
            result = function(Session(screen=screen), **arguments)
            if inspect.iscoroutine(result):
                asyncio.run(result)

        signature = inspect.signature(function, eval_str=True)
        _, *own = signature.parameters.values()
        run.__signature__ = signature.replace(  # type: ignore[attr-defined]  # what typer reads
            parameters=[
                _parameter("ctx", typer.Context, inspect.Parameter.empty),
                *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own),
                _parameter("directory", DirectoryOption, None),
                _parameter("output", OutputOption, None),
                _parameter("quiet", QuietOption, False),
            ]
        )
        run.__annotations__ = {
            each.name: each.annotation
            for each in run.__signature__.parameters.values()  # type: ignore[attr-defined]  # as above
        }
        group.command(name, **options)(run)
        return function

    return register


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, annotation=annotation, default=default)


def author() -> str:
    """Who works here, for others to see."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        user = "someone"
    return f"{user}@{socket.gethostname()}"


@dataclass(frozen=True, kw_only=True)
class GlobalOptions:
    """Options given before the command's name."""

    output: Output | None = None
    quiet: bool = False


def change_directory(directory: Path | None) -> None:
    """Make a folder the current one, as `make -C` does: relative paths and children then agree."""
    if directory is None:
        return
    try:
        os.chdir(directory)
    except OSError as error:
        raise Misused(f"-C {directory}: {error.strerror}") from None
