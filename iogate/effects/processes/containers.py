"""Performs `run: container` through the command line of Docker or Podman, the first that PATH has.

Called by `dispatcher`. A container's name is derived from the idempotency key, so that after a crash the
container of the dead worker is found, and awaited instead of started again:

    create ── name taken by another ──► error
      │   └── ours, of an earlier worker: awaited, its logs read; with stdin, never started, or ended by that
      ▼                                                            worker meanwhile: recreated
    start, attached ──► inspect ──► output, by `return`
      │                               │ always: removed; eventually: by the cleanup; never: kept
      ├─ too much output: killed, then the same
      └─ cancelled: renamed, killed, then the same

Invariants: values of the environment are on no command line, where other users could read them. The container
of a cancelled effect does not have the effect's name: its exit code is no result, and the effect may be
repeated, by this worker or, while this one stops, already by another one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from iogate.effects.processes import process_results, process_run
from iogate.effects.processes.container_cleanup import KEEP_LABEL, ContainerCleanup
from iogate.effects.processes.permission import require_allowed
from iogate.effects.processes.process_results import configuration_error
from iogate.effects.processes.workspace import ProcessFolders, Workspace
from iogate.errors import WorkflowError
from iogate.security.redaction import Redactor
from iogate.settings.permissions import allows_kind

if TYPE_CHECKING:
    from iogate.engine.commands import RunContainer
    from iogate.settings.permissions import AllowRun

TOOLS: Final = ("docker", "podman")
TO_INSTALL: Final = "install Docker or Podman where the worker's PATH finds its command"

KEY_LABEL: Final = "iogate.effect"
PULL: Final = {"ifNotPresent": "missing", "always": "always", "never": "never"}
POLL_S: Final = 0.02
COMMAND_TIMEOUT_S: Final = 15.0
"""Timeout in seconds of a command that ends a container."""

NAME_TAKEN: Final = b"already in use"
"""Part of the message of Docker and of Podman about the name of an existing container."""
KEY_SHAPE: Final = '{{index .Config.Labels "' + KEY_LABEL + '"}}'
"""Format of `inspect` that gives the key of the effect that a container belongs to."""
ABANDON: Final = """
key=$("$0" inspect --type container --format "$4" "$1") && [ "$key" != "$3" ] && exit 0
"$0" rename "$1" "$2" && set -- "$2"
exec "$0" {end} "$1"
"""
"""Shell commands that rename a container, unless it has another key than `$3`, and then end it; under its own
name if it cannot be renamed."""

_OWN: Final = ("PATH", "HOME", "XDG_RUNTIME_DIR")
_OWN_PREFIXES: Final = ("DOCKER_", "CONTAINER", "PODMAN_")
"""Variables of the worker that the command line needs to find its daemon and its registries."""

VARIABLES: Final = (*_OWN, *(f"{prefix}*" for prefix in _OWN_PREFIXES))
"""The same as names and prefixes with an asterisk."""

_TOOL_VARIABLES: Final = re.compile(r"LD_|DYLD_|GO|.*_PROXY\Z", re.IGNORECASE)
"""Variables that would change the behaviour of the tool itself."""

_UNFIT_FOR_FILE: Final = re.compile(r"[\r\n]|\A[\"'`]|\\\Z")
MAX_FILE_VALUE: Final = 60_000

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")

log = logging.getLogger("iogate.effects")


def find_tool() -> str | None:
    """Return the path of the container runtime, Docker or Podman; None if neither is installed."""
    return next((found for name in TOOLS if (found := shutil.which(name)) is not None), None)


class Containers:
    """The containers of one worker."""

    def __init__(
        self,
        workspace: Workspace,
        *,
        allow_run: AllowRun,
        redactor: Callable[[], Redactor] = Redactor,
    ) -> None:
        self._workspace = workspace
        self._allow_run = allow_run
        self._redactor = redactor
        self._cleanup = ContainerCleanup(self._query)
        self._end_commands: set[subprocess.Popen[bytes]] = set()
        """Commands that end containers."""

    def start_cleanup(self) -> None:
        """Prepare for `run: container`: schedule the removal of expired containers of earlier workers."""
        if allows_kind(self._allow_run, "container") and find_tool() is not None:
            self._cleanup.schedule()

    async def close(self) -> None:
        await self._cleanup.close()
        for command in self._end_commands:
            with suppress(subprocess.TimeoutExpired):
                command.wait(timeout=COMMAND_TIMEOUT_S)

    async def run(
        self, run: RunContainer, *, identity: Mapping[str, str], wrote: process_run.Wrote | None = None
    ) -> Any:
        """Run a container to its end and return the output that `return` asks for.

        Raises WorkflowError, or CancelledError after the container was killed.
        """
        require_allowed(self._allow_run, "container", run.definition, loose=run.loose)
        if find_tool() is None:
            raise configuration_error(f"nothing on this worker runs containers: {TO_INSTALL}")
        with self._workspace.process_folders(owned=False) as folders:
            try:
                end = await self._run_to_end(run, folders, identity, wrote)
            except asyncio.CancelledError:
                await self._abandon(run)
                raise
            except process_run.TooMuchOutput as fault:
                await self._finish(run, kill=True)
                raise process_results.too_much_output_error("container", fault) from None
            await self._finish(run)
            return process_results.to_output("container", end, run.returns, self._redactor())

    async def _run_to_end(
        self,
        run: RunContainer,
        folders: ProcessFolders,
        identity: Mapping[str, str],
        wrote: process_run.Wrote | None,
    ) -> process_run.Exit:
        created = await self._create(run, folders, identity)
        if created.code != 0:
            existing = await self._find_existing(run)
            if existing is None and NAME_TAKEN not in created.stderr:
                raise process_results.process_error(
                    f"the container cannot be created: {_tool_name()} ended with code {created.code}",
                    created,
                    self._redactor(),
                )
            if existing not in {None, "created", "configured", "dead"} and run.stdin is None:
                ended = await self._await_existing(run, folders, wrote)
                if ended is not None:
                    return ended
            elif existing is not None:
                # Its input was lost with the worker that wrote it.
                await self._query("rm", "--force", run.name)
            created = await self._create(run, folders, identity)
            if created.code != 0:
                raise process_results.process_error(
                    "the container cannot be created", created, self._redactor()
                )
        attach = [
            "start",
            "--attach",
            "--sig-proxy=false",
            *(["--interactive"] if run.stdin is not None else []),
        ]
        started = await self._execute(
            folders,
            *attach,
            run.name,
            keep=process_results.KEPT_STREAMS[run.returns],
            stdin=run.stdin,
            wrote=wrote,
        )
        return await self._ended(run, started)

    async def _create(
        self, run: RunContainer, folders: ProcessFolders, identity: Mapping[str, str]
    ) -> process_run.Exit:
        variables = {**run.environment, **identity}
        for name in variables:
            if not _VARIABLE.fullmatch(name):
                raise configuration_error(f'"{name}" is not a valid name of an environment variable')
        file = folders.own / ".environment"
        # Values that an env file cannot represent are passed by name, through the tool's own environment.
        inherited = {name: value for name, value in variables.items() if not _fits_file(value)}
        if taken := next((name for name in inherited if _is_own(name) or _TOOL_VARIABLES.match(name)), None):
            raise configuration_error(
                f"variable {taken} cannot be passed to a container: its value has a line break, or a quote "
                "at its start, or over 60,000 bytes; use another name"
            )
        file.touch(mode=0o600)
        lines = (f"{name}={value}\n" for name, value in variables.items() if name not in inherited)
        file.write_text("".join(lines), encoding="utf-8")
        arguments = ["--name", run.name, "--pull", PULL[run.pull], "--env-file", str(file)]
        arguments += ["--label", f"{KEY_LABEL}={run.key}"]
        if run.keep_s is not None:
            arguments += ["--label", f"{KEEP_LABEL}={run.keep_s:g}"]
        for name in inherited:
            arguments += ["--env", name]
        for host, inside in run.ports.items():
            arguments += ["--publish", f"{host}:{inside}"]
        for host, inside in run.volumes.items():
            arguments += ["--volume", f"{self._absolute_source(host)}:{inside}"]
        if run.stdin is not None:
            arguments.append("--interactive")
        command = [] if run.command is None else ["sh", "-c", run.command, "sh"]
        return await self._execute(
            folders, "create", *arguments, "--", run.image, *command, *run.arguments, more=inherited
        )

    def _absolute_source(self, source: str) -> str:
        """Return the absolute path of a folder of a container; a name without a slash is a volume's."""
        if not source.startswith((".", "/")):
            return source
        return str((self._workspace.working_directory / source).resolve())

    async def _find_existing(self, run: RunContainer) -> str | None:
        """Return the status of an earlier container of this effect; None if there is none.

        Raises WorkflowError if another container has the name.
        """
        shape = "{{.State.Status}} " + KEY_SHAPE
        found = await self._query("inspect", "--type", "container", "--format", shape, run.name)
        if found is None:
            return None
        status, _, key = found.strip().partition(" ")
        if key != run.key:
            raise configuration_error(
                f'container "{run.name}" exists already; remove it, or give this one another name'
            )
        return status

    async def _await_existing(
        self, run: RunContainer, folders: ProcessFolders, wrote: process_run.Wrote | None
    ) -> process_run.Exit | None:
        """Return the end of a container of an earlier worker; None if that worker has ended it meanwhile."""
        await self._execute(folders, "wait", run.name)
        logs = await self._execute(
            folders, "logs", run.name, keep=process_results.KEPT_STREAMS[run.returns], wrote=wrote
        )
        if await self._find_existing(run) is None:
            return None
        return await self._ended(run, logs)

    async def _ended(self, run: RunContainer, written: process_run.Exit) -> process_run.Exit:
        """Return the exit of the container by the container engine; its command may have failed to start."""
        found = await self._query("inspect", "--type", "container", "--format", "{{json .State}}", run.name)
        try:
            state = json.loads(found or "")
            code, status = int(state["ExitCode"]), str(state["Status"])
        except (ValueError, KeyError, TypeError):
            raise process_results.process_error(
                "the container is gone, its exit code is unknown", written, self._redactor()
            ) from None
        if status in {"created", "configured", "initialized"}:
            await self._finish(run, remove=True)
            if not written.stderr:
                written = replace(written, stderr=str(state.get("Error", "")).encode())
            raise process_results.process_error("the container cannot be started", written, self._redactor())
        return replace(written, code=code)

    async def _abandon(self, run: RunContainer) -> None:
        """Free the name of the container, then kill it, and remove it if its lifetime says so.

        A container of another owner that has the name is left alone: it was not yet told apart if the effect
        is cancelled while it creates its own.
        """
        end = "rm --force --volumes" if run.cleanup == "always" else "kill"
        freed = f"{run.name}-killed-{secrets.token_hex(4)}"
        await self._end(run.name, freed, run.key, KEY_SHAPE, script=ABANDON.format(end=end))
        self._start_cleanup(run)

    async def _finish(self, run: RunContainer, *, kill: bool = False, remove: bool = False) -> None:
        """Kill the container if it still runs, and remove it as its lifetime says."""
        if remove or run.cleanup == "always":
            await self._end("rm", "--force", "--volumes", run.name)
        elif kill:
            await self._end("kill", run.name)
        self._start_cleanup(run)

    def _start_cleanup(self, run: RunContainer) -> None:
        if run.cleanup == "eventually":
            self._cleanup.start()

    async def _end(self, *arguments: str, script: str = 'exec "$0" "$@"') -> None:
        """Run a command that ends a container; in `script`, `$0` is the tool and `$1` the first argument.

        It is started at once, outside the event loop, which may be closing: a container must not outlive its
        run because its worker stops.
        """
        found = find_tool()
        if found is None:
            return
        command = subprocess.Popen(  # noqa: S603, ASYNC220 - not waited for here
            ["/bin/sh", "-c", script, found, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"LANG": "C.UTF-8", **_own_environment()},
            start_new_session=True,
        )
        self._end_commands.add(command)
        await _wait_for(command)
        if command.poll() is not None:
            self._end_commands.discard(command)

    async def _query(self, *arguments: str) -> str | None:
        """Run a short command of Docker or Podman about a container; return its output, None if it fails."""
        with self._workspace.process_folders(owned=False) as folders:
            try:
                async with asyncio.timeout(COMMAND_TIMEOUT_S):
                    end = await self._execute(
                        folders, *arguments, keep=process_results.KEPT_STREAMS["stdout"]
                    )
            except (TimeoutError, WorkflowError, process_run.TooMuchOutput) as fault:
                log.warning(
                    "%s %s failed: %s",
                    _tool_name(),
                    arguments[0],
                    str(fault) or "it took too long",
                    extra={"action": "container.query_failed"},
                )
                return None
        return end.stdout.decode("utf-8", "replace") if end.code == 0 else None

    async def _execute(
        self,
        folders: ProcessFolders,
        *arguments: str,
        keep: frozenset[process_run.Stream] = frozenset(),
        stdin: str | None = None,
        more: Mapping[str, str] | None = None,
        wrote: process_run.Wrote | None = None,
    ) -> process_run.Exit:
        found = find_tool()
        if found is None:
            raise configuration_error(f"nothing on this worker runs containers any more: {TO_INSTALL}")
        command = process_run.Command(
            argv=[found, *arguments],
            environment={
                "LANG": "C.UTF-8",
                **_own_environment(),
                **(more or {}),
            },
            folder=self._workspace.working_directory,
            home=folders.shared,
            confinement=process_run.Confinement(tool=True),
            stdin=None if stdin is None else stdin.encode("utf-8", "replace"),
            keep=keep,
            wrote=wrote,
        )
        try:
            return await process_run.run(command, self._workspace.launcher)
        except OSError as fault:
            raise process_results.process_error(
                f"{_tool_name()} cannot be started: {fault.strerror}", None, self._redactor()
            ) from None
        except ValueError:
            raise configuration_error(
                "the container's command, arguments or names hold a NUL character"
            ) from None


def _tool_name() -> str:
    found = find_tool()
    return Path(found).name if found is not None else TOOLS[0]


def _own_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if _is_own(name)}


def _is_own(name: str) -> bool:
    return name in _OWN or name.startswith(_OWN_PREFIXES)


def _fits_file(value: str) -> bool:
    """Tell whether a container gets this value unchanged from a file of variables."""
    return not (_UNFIT_FOR_FILE.search(value) or len(value.encode()) > MAX_FILE_VALUE)


async def _wait_for(command: subprocess.Popen[bytes]) -> None:
    """Wait for a command that ends a container, up to a timeout; `close` waits again."""
    end = time.monotonic() + COMMAND_TIMEOUT_S
    while command.poll() is None and time.monotonic() < end:  # noqa: ASYNC110 - a process tells no event
        await asyncio.sleep(POLL_S)
