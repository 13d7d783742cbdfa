"""Performs `run: shell` and `run: script`.

Called by `dispatcher`. A process works in the directory where its worker was started, the project's, so that
`./ship.sh` works. It gets its own folder as home and for temporary files, removed at its end, and an
environment of PATH, LANG, the variables of the setting `process_environment`, those of the author and the
IOGATE_ names: nothing else of the worker's own environment.

Output is text exactly as written, a final line feed included; bytes that are not UTF-8 become the
replacement character. A script's text is never on a command line, where other users could read it.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from iogate.compiler.revision import resource_name
from iogate.effects.effect_files import NO_FILES, EffectFiles
from iogate.effects.processes import interpreters, process_results, process_run
from iogate.effects.processes.isolation import Isolation
from iogate.effects.processes.permission import require_allowed
from iogate.effects.processes.process_results import configuration_error
from iogate.effects.processes.workspace import ProcessFolders, Workspace
from iogate.errors import WorkflowError
from iogate.security.redaction import Redactor
from iogate.supervision import handover

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from iogate.engine.commands import RunProcess
    from iogate.settings import Settings

MAX_NAME_CHARACTERS: Final = 100
"""Characters of the name of a script that become the name of its file."""


class Processes:
    """Shell commands and scripts of one worker."""

    def __init__(
        self,
        workspace: Workspace,
        *,
        settings: Settings,
        isolation: Isolation,
        redactor: Callable[[], Redactor] = Redactor,
    ) -> None:
        python = settings.python
        # A path is relative to the directory of the worker, not to a process's own folder.
        self._python = (
            str(Path(python).absolute()) if python and os.sep in python else python or sys.executable
        )
        self._workspace = workspace
        self._allow_run = settings.allow_run
        self._isolation = isolation
        self._redactor = redactor
        self._passed_on = settings.process_environment

    def _environment(
        self, run: RunProcess, folders: ProcessFolders, identity: Mapping[str, str]
    ) -> dict[str, str]:
        place = str(folders.own)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            **handover.selected(os.environ, self._passed_on),
            "HOME": place,
            "TMPDIR": place,
            **run.environment,
            **identity,
        }

    async def run(
        self,
        run: RunProcess,
        *,
        identity: Mapping[str, str],
        load: Callable[[str], Awaitable[bytes]],
        files: EffectFiles = NO_FILES,
        wrote: process_run.Wrote | None = None,
    ) -> Any:
        """Run a shell command or script to its end and return the output that `return` asks for.

        Raises WorkflowError, or CancelledError after the process and its children were killed.
        """
        require_allowed(self._allow_run, run.kind, run.definition, loose=run.loose)
        with self._workspace.process_folders() as folders:
            stdin = None if run.stdin is None else run.stdin.encode("utf-8", "replace")
            if run.files:
                if run.stdin is not None and run.stdin in run.files:
                    stdin = await files.content(run.files[run.stdin])
                run = await _with_paths(run, files, folders.own)
            command = process_run.Command(
                argv=await self._argv(run, folders.own, load),
                environment=self._environment(run, folders, identity),
                folder=self._workspace.working_directory,
                stdin=stdin,
                home=folders.shared,
                keep=process_results.KEPT_STREAMS[run.returns],
                wrote=wrote,
                confinement=self._isolation.confinement_for(folders, self._workspace.working_directory),
            )
            end = await self._end_of(run, command)
            if reason := self._isolation.exceeded_limit(end):
                raise process_results.process_error(f"the {run.kind} {reason}", end, self._redactor())
            return process_results.to_output(run.kind, end, run.returns, self._redactor())

    async def _argv(
        self, run: RunProcess, folder: Path, load: Callable[[str], Awaitable[bytes]]
    ) -> list[str]:
        if run.kind == "shell":
            return ["/bin/sh", "-c", "--", run.code, "sh", *run.arguments]
        code = run.code.encode() if run.source is None else await load(run.source)
        interpreter = interpreters.find_interpreter(
            run.language, code.decode("utf-8", "replace"), python=self._python
        )
        if interpreter is None and run.language.lower() in interpreters.JAVASCRIPT:
            raise configuration_error(f"nothing on this worker runs JavaScript: {interpreters.TO_INSTALL}")
        if interpreter is None:
            raise configuration_error(f'scripts in "{run.language}" are not executed by this release')
        file = folder / _file_name(run.source, interpreter.suffix)
        file.write_bytes(code)
        file.chmod(0o644)  # the process may run as another user
        return [*interpreter.argv, str(file), *run.arguments]

    async def _end_of(self, run: RunProcess, command: process_run.Command) -> process_run.Exit:
        try:
            return await process_run.run(command, self._workspace.launcher)
        except process_run.TooMuchOutput as fault:
            raise process_results.too_much_output_error(run.kind, fault) from None
        except FileNotFoundError:
            if not command.folder.is_dir():
                raise configuration_error(f"the worker's own directory, {command.folder}, is gone") from None
            hint = ' set "python" to an interpreter' if run.kind == "script" else ""
            raise configuration_error(
                f'"{command.argv[0]}" is not installed on this worker;{hint}'.rstrip(";")
            ) from None
        except OSError as fault:
            if fault.errno == 7:  # E2BIG
                raise configuration_error(
                    f"the {run.kind}'s command, arguments and environment are too long for a process; "
                    'hand large data over in "stdin"'
                ) from None
            raise WorkflowError(
                "runtime", title="Process failed", detail=f"cannot start: {fault.strerror}"
            ) from None
        except ValueError:
            raise configuration_error(
                f"the {run.kind}'s command, arguments or environment hold a NUL character or a bad name"
            ) from None


def _file_name(source: str | None, suffix: str) -> str:
    """Return the name of the file of a script, which tracebacks show: `.report.py` for `scripts/report.py`.

    The dot at its beginning prevents that the script imports itself in place of a module with its name.
    """
    name = "" if source is None else resource_name(source) or source
    path = PurePosixPath(re.split("[?#]", name, maxsplit=1)[0])
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", path.stem)[:MAX_NAME_CHARACTERS]
    return f".{stem or 'script'}{suffix}"


async def _with_paths(run: RunProcess, files: EffectFiles, folder: Path) -> RunProcess:
    """Return a shell command or script with the paths of its files, which are written into its folder."""
    given = {*run.arguments, *run.environment.values()}
    paths = {text: await files.write(file, folder) for text, file in run.files.items() if text in given}
    return replace(
        run,
        arguments=tuple(paths.get(text, text) for text in run.arguments),
        environment={name: paths.get(text, text) for name, text in run.environment.items()},
    )
