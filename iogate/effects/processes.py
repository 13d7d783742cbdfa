"""Performs `run: shell` and `run: script`: what is started, in which environment, and what its end means.

Called by `perform`. A process works in the directory where its worker was started, the project's, so that
`./ship.sh` is what one expects. It gets a folder of its own as home and for temporary files, which goes when
it ends, and an environment of PATH, LANG, what the author sets and the IOGATE_ names: nothing of the
worker's own environment, where secrets live.

Output is text exactly as it was written, a final line feed included; bytes that are no UTF-8 become the
replacement character. A script's text never stands on a command line, where other users could read it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from iogate.effects import orphans, process
from iogate.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from iogate.engine.commands import RunProcess

STDERR_SHOWN: Final = 1000
"""Characters of a failed process's standard error that its error quotes."""


class Processes:
    """The processes of one worker."""

    def __init__(self, *, python: str | None, allow_run: Sequence[str]) -> None:
        # A path is meant from where the worker was started, not from a process's own folder.
        self._python = (
            str(Path(python).absolute()) if python and os.sep in python else python or sys.executable
        )
        self._place = Path.cwd()
        self._allow_run = frozenset(allow_run)
        self._instance = uuid4().hex
        self._numbers = count(1)
        self._folder: Path | None = None
        self._watch: subprocess.Popen[bytes] | None = None

    async def run(
        self,
        run: RunProcess,
        *,
        identity: Mapping[str, str],
        load: Callable[[str], Awaitable[bytes]],
    ) -> Any:
        """Run to the end and give the output that `return` asks for.

        Raises WorkflowError; a cancelled one is dead with all its children when CancelledError comes out.
        """
        if run.kind not in self._allow_run:
            raise _configuration(
                f'this worker runs no {run.kind}; add "{run.kind}" to its setting "allow_run"'
            )
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=self._home()))
        try:
            mark = f"{self._instance}.{next(self._numbers)}"
            command = process.Command(
                argv=await self._argv(run, folder, load),
                environment=_environment(run, folder, {**identity, orphans.VARIABLE: mark}),
                folder=self._place,
                stdin=None if run.stdin is None else run.stdin.encode("utf-8", "replace"),
                keep=_KEPT[run.returns],
                mark=mark,
            )
            return _output(run, await self._end_of(run, command))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Let go of the watch and remove the folders; every process has been ended by its cancelled task."""
        if self._watch is not None:
            with suppress(OSError, subprocess.TimeoutExpired):
                self._watch.communicate(b"farewell", timeout=5)
            self._watch = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def _argv(
        self, run: RunProcess, folder: Path, load: Callable[[str], Awaitable[bytes]]
    ) -> list[str]:
        if run.kind == "shell":
            return ["/bin/sh", "-c", "--", run.code, "sh", *run.arguments]
        if run.language.lower() != "python":  # as the compiler reads it
            raise _configuration(f'scripts in "{run.language}" are not executed by this release')
        file = folder / ".script.py"
        file.write_bytes(run.code.encode() if run.source is None else await load(run.source))
        return [self._python, str(file), *run.arguments]

    async def _end_of(self, run: RunProcess, command: process.Command) -> process.Exit:
        try:
            return await process.run(command)
        except process.TooMuchOutput as fault:
            raise WorkflowError(
                "runtime", title="Process wrote too much", detail=f"the {run.kind} {fault}"
            ) from None
        except FileNotFoundError:
            if not command.folder.is_dir():
                raise _configuration(f"the worker's own directory, {command.folder}, is gone") from None
            hint = ' set "python" to an interpreter' if run.kind == "script" else ""
            raise _configuration(
                f'"{command.argv[0]}" is not installed on this worker;{hint}'.rstrip(";")
            ) from None
        except OSError as fault:
            if fault.errno == 7:  # E2BIG
                raise _configuration(
                    f"the {run.kind}'s command, arguments and environment are too long for a process; "
                    'hand large data over in "stdin"'
                ) from None
            raise WorkflowError(
                "runtime", title="Process failed", detail=f"cannot start: {fault.strerror}"
            ) from None
        except ValueError:
            raise _configuration(
                f"the {run.kind}'s command, arguments or environment hold a NUL character or a bad name"
            ) from None

    def _home(self) -> Path:
        """Give the folder of this worker's processes; the first call also starts the watch over them."""
        if self._folder is None or not self._folder.is_dir():
            # A cleaner of temporary files takes folders that have long lain idle.
            self._folder = Path(tempfile.mkdtemp(prefix="iogate-"))
        if self._watch is None or self._watch.poll() is not None:
            self._watch = subprocess.Popen(  # noqa: S603 - our own module, our own arguments
                [sys.executable, "-I", "-S", orphans.__file__, f"{self._instance}.", str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env={},
            )
        return self._folder


_KEPT: Final[Mapping[str, frozenset[process.Stream]]] = {
    "stdout": frozenset({"stdout"}),
    "stderr": frozenset({"stderr"}),
    "all": frozenset({"stdout", "stderr"}),
    "code": frozenset(),
    "none": frozenset(),
}


def _environment(run: RunProcess, folder: Path, identity: Mapping[str, str]) -> dict[str, str]:
    place = str(folder)
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": place,
        "TMPDIR": place,
        **run.environment,
        **identity,
    }


def _output(run: RunProcess, end: process.Exit) -> Any:
    stdout, stderr = (data.decode("utf-8", errors="replace") for data in (end.stdout, end.stderr))
    if end.code != 0 and run.returns not in {"code", "all"}:
        raise WorkflowError("runtime", title="Process failed", detail=_failure(run, end.code, stderr))
    match run.returns:
        case "stdout":
            return stdout
        case "stderr":
            return stderr
        case "code":
            return end.code
        case "all":
            return {"code": end.code, "stdout": stdout, "stderr": stderr}
        case "none":
            return None


def _failure(run: RunProcess, code: int, stderr: str) -> str:
    tail = stderr.strip()
    if len(tail) > STDERR_SHOWN:
        tail = "…" + tail[-STDERR_SHOWN:]
    return f"the {run.kind} ended with code {code}" + (f"; its stderr ends: {tail}" if tail else "")


def _configuration(detail: str) -> WorkflowError:
    return WorkflowError("configuration", title="Process cannot be run", detail=detail)
