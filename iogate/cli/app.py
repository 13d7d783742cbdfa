"""Entry point of the `iogate` command: command groups, global options, and exit codes of errors.

Invariant: the class of an IogateError defines its exit code; a usage error exits with 64, Ctrl-C with 130.
A traceback means a bug in iogate.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any

import typer
import typer.main

from iogate import __version__
from iogate.cli.apis import api_commands, workflow_commands
from iogate.cli.documents import (
    debug_commands,
    digests_command,
    document_commands,
    format_command,
    lint_command,
)
from iogate.cli.plans import diff_command, drift_command, export_command, plan_command, rollback_command
from iogate.cli.processes import doctor_command, process_commands, store_commands
from iogate.cli.project import project_commands, secret_commands
from iogate.cli.pull import watch_command
from iogate.cli.render import write_stderr, write_stdout
from iogate.cli.revisions import gate_commands, history_commands, revision_commands, status_command
from iogate.cli.run import run_command
from iogate.cli.runs import run_commands
from iogate.cli.session import (
    DirectoryOption,
    EnvironmentOption,
    GlobalOptions,
    OutputOption,
    QuietOption,
    change_directory,
)
from iogate.errors import IogateError, Misused

INTERRUPTED = 130

UsageError: type[Any] = typer.BadParameter.__bases__[0]
"""Base class of typer's errors about arguments, which typer itself does not export."""

app = typer.Typer(
    name="iogate",
    help="Turns YAML in git into durable, asynchronous HTTP APIs.",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    # A pipe gets plain help without boxes, which takes half the time.
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        write_stdout(f"iogate {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    directory: DirectoryOption = None,
    output: OutputOption = None,
    quiet: QuietOption = False,
    environment: EnvironmentOption = None,
    version: Annotated[  # noqa: ARG001 — used by its callback
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    change_directory(directory)
    ctx.obj = GlobalOptions(output=output, quiet=quiet, environment=environment)
    if ctx.invoked_subcommand is None:
        write_stdout(ctx.get_help())


for module in (
    project_commands,
    document_commands,
    digests_command,
    lint_command,
    format_command,
    secret_commands,
    debug_commands,
    plan_command,
    diff_command,
    rollback_command,
    export_command,
    drift_command,
    revision_commands,
    history_commands,
    watch_command,
    gate_commands,
    api_commands,
    workflow_commands,
    run_command,
    run_commands,
    process_commands,
    status_command,
    store_commands,
    doctor_command,
):
    module.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command line and exit."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


@cache
def _parser() -> Callable[..., Any]:
    """Build the parser of the command line once; that takes 30 ms."""
    return typer.main.get_command(app)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        result = _parser()(arguments, prog_name="iogate", standalone_mode=False)
    except KeyboardInterrupt:
        return INTERRUPTED
    except typer.Abort:
        write_stderr("aborted")
        return INTERRUPTED
    except IogateError as error:
        print_error(error)
        return error.exit_code
    except UsageError as error:
        message = error.format_message().replace("Value error, ", "")
        if message.startswith("Usage:"):  # a group without a command
            write_stderr(message)
            return Misused.exit_code
        write_stderr(f"iogate: {message}", style="red")
        if error.ctx is not None:
            write_stderr(f'  try "{error.ctx.command_path} --help"')
        return Misused.exit_code
    except Exception:  # noqa: BLE001 — last resort: report and exit
        write_stderr(traceback.format_exc().rstrip())
        write_stderr("iogate: unexpected error: this is a bug in iogate, please report it", style="red")
        return 1
    return result if isinstance(result, int) else 0


def print_error(error: IogateError) -> None:
    """Print an error and its hint on stderr."""
    code = "" if error.code == "IOG600" else f" [{error.code}]"
    first, newline, rest = error.message.partition("\n")
    write_stderr(f"iogate: {first}{code}{newline}{rest}", style="red")
    if error.hint:
        write_stderr(f"  {error.hint}")
