"""Entry point of the `iogate` command: command groups, global options, and exit codes of errors.

Only the module of the named command is imported. Invariant: the class of an IogateError defines its exit
code; a usage error exits with 64, Ctrl-C with 130. A traceback means a bug in iogate.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.main

from iogate import __version__
from iogate.cli.command_examples import add_examples
from iogate.cli.error_output import print_error, wants_json, write_json
from iogate.cli.json_fields import with_empty_lists
from iogate.cli.render import write_stderr, write_stdout
from iogate.cli.session import (
    DirectoryOption,
    EnvironmentOption,
    GlobalOptions,
    OutputOption,
    ProfileOption,
    QuietOption,
    change_directory,
)
from iogate.errors import IogateError, Misused, Unreachable

INTERRUPTED = 130

UsageError: type[Any] = typer.BadParameter.__bases__[0]
"""Base class of typer's errors about arguments, which typer itself does not export."""

_MODULES: Mapping[str, tuple[str, ...]] = {
    "project.project_commands": ("init", "new"),
    "documents.document_commands": ("validate", "schema", "explain"),
    "documents.digests_command": ("digests",),
    "documents.bundle_command": ("bundle",),
    "documents.lint_command": ("lint",),
    "documents.format_command": ("fmt",),
    "project.secret_commands": ("secret",),
    "documents.debug_commands": ("debug", "test"),
    "plans.plan_command": ("plan",),
    "plans.diff_command": ("diff",),
    "plans.rollback_command": ("rollback",),
    "plans.export_command": ("export",),
    "plans.drift_command": ("drift",),
    "revisions.apply_command": ("apply",),
    "revisions.history_commands": ("history", "show"),
    "pull.watch_command": ("watch",),
    "revisions.gate_commands": ("enable", "disable", "override"),
    "apis.api_commands": ("api",),
    "apis.workflow_commands": ("workflow",),
    "apis.schedule_commands": ("schedule",),
    "run.run_command": ("run",),
    "runs.run_commands": ("runs",),
    "batches.batch_commands": ("batches",),
    "processes.process_commands": ("up", "serve", "worker"),
    "revisions.status_command": ("status",),
    "operators.activity_command": ("activity",),
    "system.login_commands": ("login", "logout"),
    "processes.store_commands": ("store",),
    "processes.doctor_command": ("doctor",),
}
"""Modules of the commands, in the order of `--help`, each with the names that it registers."""
_HOMES = {name: module for module, names in _MODULES.items() for name in names}
_WITH_VALUE = frozenset({"-C", "-o", "--output", "--env", "--profile"})
"""Global options before the name of the command."""
_FLAGS = frozenset({"-q", "--quiet"})


def _version(wanted: bool) -> None:
    if wanted:
        write_stdout(f"iogate {__version__}")
        raise typer.Exit


def root(
    ctx: typer.Context,
    directory: DirectoryOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    environment: EnvironmentOption = None,
    profile: ProfileOption = None,
    version: Annotated[  # noqa: ARG001 — used by its callback
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    change_directory(directory)
    ctx.obj = GlobalOptions(output=output, quiet=quiet, environment=environment, profile=profile)
    if ctx.invoked_subcommand is None:
        write_stdout(ctx.get_help())


@cache
def make_app(only: str | None = None) -> typer.Typer:
    """Return the application with all commands, or with those of one Python module."""
    made = typer.Typer(
        name="iogate",
        help="Turns YAML in git into durable, asynchronous HTTP APIs.",
        no_args_is_help=False,
        pretty_exceptions_enable=False,
        # A pipe gets plain help without boxes, which takes half the time.
        rich_markup_mode="rich" if sys.stdout.isatty() else None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback(invoke_without_command=True)(root)
    for name in _MODULES if only is None else (only,):
        import_module(f"iogate.cli.{name}").register(made)
    return made


def _home(arguments: Sequence[str]) -> str | None:
    """Return the Python module that registers a command of the app; None if all are needed, as for help."""
    if "_IOGATE_COMPLETE" in os.environ:
        return None
    rest = iter(arguments)
    for each in rest:
        if each in _WITH_VALUE:
            next(rest, None)
        elif each not in _FLAGS:
            return _HOMES.get(each)
    return None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the `iogate` app for one command line and exit."""
    code = run(sys.argv[1:] if arguments is None else list(arguments))
    # The interpreter would examine all objects before it ends: a tenth of the time of a large project.
    gc.freeze()
    sys.exit(code)


@cache
def _parser(only: str | None) -> Callable[..., Any]:
    """Build the parser of the app once; with all commands, import and parser take 150 ms."""
    made = typer.main.get_command(make_app(only))
    add_examples(made, on_terminal=sys.stdout.isatty())
    return made


def run(arguments: list[str]) -> int:
    """Run the `iogate` app for one command line and return its exit code."""
    try:
        parse = _parser(_home(arguments))
        result = parse(with_empty_lists(arguments, parse), prog_name="iogate", standalone_mode=False)
    except KeyboardInterrupt:
        return INTERRUPTED
    except typer.Abort:
        write_stderr("aborted")
        return INTERRUPTED
    except IogateError as error:
        print_error(error, as_json=wants_json(arguments))
        return error.exit_code
    except UsageError as error:
        message = error.format_message().replace("Value error, ", "")
        if message.startswith("Usage:"):  # a group without a command
            write_stderr(message)
            return Misused.exit_code
        hint = f'try "{error.ctx.command_path} --help"' if error.ctx is not None else ""
        print_error(Misused(message, hint=hint), as_json=wants_json(arguments))
        return Misused.exit_code
    except Exception as error:  # noqa: BLE001 — last resort: report and exit
        if (refusal := _refusal_of_store(error)) is not None:
            print_error(refusal, as_json=wants_json(arguments))
            return refusal.exit_code
        write_stderr(traceback.format_exc().rstrip())
        unexpected = "unexpected error: this is a bug in iogate, please report it"
        write_stderr(f"iogate: {unexpected}", style="red")
        if wants_json(arguments):
            write_json(unexpected, 1)
        return 1
    return result if isinstance(result, int) else 0


def _refusal_of_store(error: Exception) -> Unreachable | None:
    """Return the error of the `iogate` app for a command that the store refused; None for any other error."""
    from iogate.store.connection.failures import CommandFailed

    if not isinstance(error, CommandFailed):
        return None
    return Unreachable(
        f"the store refused a command: {error}",
        code="IOG612",
        hint="`iogate doctor` checks the store, its settings and the rights of the user in redis_url",
    )
