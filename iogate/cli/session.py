"""Session of a command: working directory, output, settings and store.

`command` registers a function as a command and adds the global options. Invariant: a command that changes
live state names the store on stderr first.
"""

from __future__ import annotations

import functools
import inspect
import os
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iogate import settings as settings_module
from iogate.cli import completion
from iogate.cli.json_fields import read_selection
from iogate.cli.render import COMMON_FORMATS, Output, Screen, write_stderr
from iogate.cli.settings_files import read_files
from iogate.cli.store_address import store_url
from iogate.errors import Misused, Unreachable
from iogate.messages import listed
from iogate.security.redaction_patterns import redact_url
from iogate.settings import Settings, project_environments

if TYPE_CHECKING:
    from iogate.cli.system.server_choice import Server
    from iogate.cli.system.system import System
    from iogate.operators.activity import Record
    from iogate.store.store import Store

CHANGES = 2
"""Exit code of changes: `drift`, and `--exit-code`, `--fail-on`, `--check` or `--diff` of other commands."""
GLOBAL_OPTIONS = "Global options"

DirectoryOption = Annotated[
    Path | None,
    typer.Option(
        "-C", metavar="DIR", help="Run as if started in this folder.", rich_help_panel=GLOBAL_OPTIONS
    ),
]


def output_option(formats: tuple[Output, ...] = (), metavar: str = "") -> Any:
    """Return the option `-o` of a session's command that accepts `formats` beyond the common ones."""
    return Annotated[
        Output | None,
        typer.Option(
            "-o",
            "--output",
            metavar=metavar or "|".join((*COMMON_FORMATS, *formats)),
            help="Format of the result; default: text.",
            rich_help_panel=GLOBAL_OPTIONS,
        ),
    ]


OutputOption = output_option(metavar="FORMAT")
QuietOption = Annotated[
    bool,
    typer.Option("-q", "--quiet", help="Print no notes on stderr.", rich_help_panel=GLOBAL_OPTIONS),
]
EnvironmentOption = Annotated[
    str | None,
    typer.Option(
        "--env",
        metavar="NAME",
        help="Environment: read iogate.NAME.yaml on top of iogate.yaml.",
        autocompletion=completion.environment_names,
        rich_help_panel=GLOBAL_OPTIONS,
    ),
]


ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="Login at a server: work there over HTTP.",
        autocompletion=completion.profiles,
        rich_help_panel=GLOBAL_OPTIONS,
    ),
]
FieldsOption = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FIELDS",
        help="Print these fields as JSON, separated by commas; without a value, list the fields.",
        rich_help_panel=GLOBAL_OPTIONS,
    ),
]
ProgramOption = Annotated[
    str | None,
    typer.Option(
        "--jq",
        metavar="EXPR",
        help="Filter the JSON with a jq expression; print texts as they are.",
        rich_help_panel=GLOBAL_OPTIONS,
    ),
]


@dataclass(frozen=True, kw_only=True)
class Session:
    """Context of one command in the project folder."""

    screen: Screen = field(default_factory=Screen)
    environment: str | None = None
    """Value of `--env`: the environment whose settings apply."""
    profile: str | None = None
    """Value of `--profile`: the login whose server the command works on."""
    servers: list[str] = field(default_factory=list)
    """URLs of the servers on which the command works over HTTP, once it is connected."""

    def settings(self, flags: dict[str, Any] | None = None, *, needs_environment: bool = True) -> Settings:
        """Read the session's settings, and warn about misspelt environment variables and unusual `vars`.

        With `needs_environment`, the file of the chosen environment has to exist.

        Raises:
            InvalidFiles: a file, the environment variables or the flags have an invalid setting.
            Misused: the environment cannot have this name.
        """
        chosen = self.environment or os.environ.get(project_environments.VARIABLE)
        files = read_files(chosen, required=needs_environment)
        for line in settings_module.misspelt(os.environ):
            self.screen.warn(line)
        settings = settings_module.read(files.values, os.environ, flags, place_of=files.place)
        for line in files.warnings():
            self.screen.warn(line)
        return settings

    def store_url(self, settings: Settings) -> str:
        """Return the URL of the session's store: `redis_url`, else that of a running embedded store.

        Raises NoStore if there is neither, Unreachable if the embedded store does not answer, and Misused if
        a server was chosen.
        """
        from iogate.cli.system import server_choice

        server = server_choice.chosen(self.profile, os.environ)
        if server is not None:
            raise server_choice.store_only("this command", server)
        return store_url(settings)

    def server(self, settings: Settings) -> Server | None:
        """Return the server that the session works on over HTTP; None: it works on the store.

        Raises Misused and NotFound as `server_choice.chosen` does.
        """
        from iogate.cli.system import server_choice

        chosen = server_choice.chosen(self.profile, os.environ)
        return chosen or server_choice.of_last_login(settings, os.environ)

    @asynccontextmanager
    async def system(
        self, settings: Settings | None = None, *, changes: bool = False, publishes: bool = False
    ) -> AsyncIterator[System]:
        """Open the live system: that of a server if one is chosen, else that of the store.

        `settings` are those of the session, if the command has read them; `changes` and `publishes` are as in
        `store`. Raises as `store` does, and Misused and NotFound as `server_choice.chosen` does.
        """
        from iogate.cli.system import server_choice

        settings = settings or self.settings()
        server = self.server(settings)
        if server is None:
            from iogate.cli.system.store_system import StoreSystem
            from iogate.operators.roles import command_actor

            async with self.store(settings, changes=changes, publishes=publishes) as store:
                yield StoreSystem(store, settings, command_actor(author()))
            return
        from iogate.cli.system.http_system import HttpSystem
        from iogate.cli.system.operator_client import operator_client

        if changes:
            by = f" (profile {server.profile})" if server.profile is not None else ""
            write_stderr(f"server: {server.url}{by}", style="bright_black")
        async with operator_client(server, server_choice.project_of(settings)) as client:
            self.servers.append(server.url)
            yield HttpSystem(client)

    @asynccontextmanager
    async def store(
        self, settings: Settings, *, changes: bool = False, publishes: bool = False
    ) -> AsyncIterator[Store]:
        """Open the store of the session; `changes` names it on stderr; `publishes` signs a revision.

        `changes` names the store even with `--quiet`.

        A command that only reads works without the key, but then verifies no signatures. Raises
        Unreachable if there is no store, and WrongStore if its data was signed with another key.
        """
        from iogate.cli.processes import store_opening

        url = self.store_url(settings)
        if changes:
            write_stderr(f"store: {redact_url(url)}", style="bright_black")
        store = await (
            store_opening.open_to_change(settings, url, publishes)
            if changes
            else store_opening.open_to_read(settings, url)
        )
        try:
            yield store
        finally:
            await store.close()


_commands_by_format: dict[Output, dict[str, None]] = {}
"""Names of the commands that accept each format beyond the common ones."""


def command(
    group: typer.Typer,
    name: str,
    *,
    formats: tuple[Output, ...] = (),
    over_http: bool = False,
    fields_of: str = "",
    **options: Any,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function, plain or async, that takes the session as its first argument.

    `formats` names the output formats beyond text, JSON and YAML that the function makes. `over_http`: it
    opens a system only, so that it has the option `--profile`. `fields_of`: schema of its result, whose
    fields `--json` selects. The docstring up to `Raises` is the help text of the command.
    """
    for each in formats:
        _commands_by_format.setdefault(each, {})[name] = None

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(
            ctx: typer.Context,
            directory: Path | None = None,
            output: Output | None = None,
            quiet: bool = False,
            environment: str | None = None,
            server_profile: str | None = None,
            json_fields: str | None = None,
            jq_program: str | None = None,
            **arguments: Any,
        ) -> None:
            first: GlobalOptions = ctx.find_root().obj or GlobalOptions()
            server_profile = server_profile or first.profile
            if server_profile is not None and not over_http:
                raise _not_over_http(ctx.command_path, server_profile)
            change_directory(directory)
            chosen = output or first.output or Output.TEXT
            if chosen not in (*COMMON_FORMATS, *formats):
                raise _unfit_format(chosen, ctx.command_path, formats)
            selection = read_selection(fields_of, json_fields, jq_program)
            if selection is not None and (chosen not in (Output.TEXT, Output.JSON)):
                raise Misused(f"--json and --jq print JSON; they cannot be combined with -o {chosen}")
            screen = Screen(output=chosen, quiet=quiet or first.quiet, selection=selection)
            session = Session(
                screen=screen, environment=environment or first.environment, profile=server_profile
            )
            try:
                result = function(session, **arguments)
                if inspect.iscoroutine(result):
                    import asyncio

                    asyncio.run(result)
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                if not session.servers or isinstance(error, UnicodeEncodeError):
                    raise
                raise _unreadable(session.servers[0], error) from error

        signature = inspect.signature(function, eval_str=True)
        _, *own = signature.parameters.values()
        run.__signature__ = signature.replace(  # type: ignore[attr-defined]  # read by typer
            parameters=[
                _parameter("ctx", typer.Context, inspect.Parameter.empty),
                *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own),
                _parameter("directory", DirectoryOption, None),
                _parameter("output", output_option(formats), None),
                _parameter("quiet", QuietOption, False),
                _parameter("environment", EnvironmentOption, None),
                *([_parameter("server_profile", ProfileOption, None)] if over_http else []),
                *([_parameter("json_fields", FieldsOption, None)] if fields_of else []),
                *([_parameter("jq_program", ProgramOption, None)] if fields_of else []),
            ]
        )
        run.__annotations__ = {
            each.name: each.annotation
            for each in run.__signature__.parameters.values()  # type: ignore[attr-defined]  # as above
        }
        help_text, _, _ = (inspect.getdoc(function) or "").partition("\n\nRaises")
        group.command(name, help=help_text, **options)(run)
        return function

    return register


def _unreadable(url: str, error: Exception) -> Unreachable:
    """Return the error of a command that failed on a result of a server, and where it did."""
    from iogate.cli.system.operator_client import unreadable

    places = traceback.extract_tb(error.__traceback__)
    place = next((each for each in reversed(places) if "iogate" in Path(each.filename).parts), places[-1])
    where = f"{Path(place.filename).name}:{place.lineno}"
    return unreadable(url, defect=f"{type(error).__name__} in {where}")


def _unfit_format(chosen: Output, path: str, formats: tuple[Output, ...]) -> Misused:
    """Return the error of an output format that the command of the session does not have."""
    import_module("iogate.cli.app").make_app()  # registers all commands, of which one was imported
    have = [f'"iogate {each}"' for each in sorted(_commands_by_format.get(chosen, ()))]
    return Misused(
        f'-o {chosen}: "{path}" does not have this format; it has {listed((*COMMON_FORMATS, *formats))}',
        hint=f"commands with -o {chosen}: {', '.join(have)}" if have else "",
    )


def _not_over_http(path: str, profile: str) -> Misused:
    """Return the error of `--profile` with a command that works on this machine only."""
    from iogate.cli.system.server_choice import NOT_OVER_HTTP

    return Misused(
        f'"{path}" works on this machine and its store, and not over --profile {profile}',
        code=NOT_OVER_HTTP,
        hint="run it where the store is, without --profile",
    )


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, annotation=annotation, default=default)


def author() -> str:
    """Return `user@host` of this session, which is recorded as the author of changes."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        user = "someone"
    return f"{user}@{socket.gethostname()}"


@asynccontextmanager
async def recorded_change(
    store: Store, action: str, type_: str, ids: Sequence[str] = (), reason: str = ""
) -> AsyncIterator[Record]:
    """Record a change of objects that a command makes in the block, with its outcome, in the activity.

    Raises Unreachable if it cannot be recorded.
    """
    from iogate.operators.activity import recorded, target
    from iogate.operators.roles import command_actor

    async with recorded(store, command_actor(author()), action, target(type_, ids), reason) as record:
        yield record


@dataclass(frozen=True, kw_only=True)
class GlobalOptions:
    """Values of global options given before the name of the command."""

    output: Output | None = None
    quiet: bool = False
    environment: str | None = None
    profile: str | None = None


def change_directory(directory: Path | None) -> None:
    """Change the working directory of the command and its child processes, as `make -C` does.

    Raises Misused if that fails.
    """
    if directory is None:
        return
    try:
        os.chdir(directory)
    except OSError as error:
        raise Misused(f"-C {directory}: {error.strerror}") from None
