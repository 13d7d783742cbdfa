"""Isolation of shell commands and scripts, as configured in the settings.

Used by `dispatcher` and `scripts`. Invariant: if the system does not support the configured isolation, the
worker refuses to start.
"""

from __future__ import annotations

import dataclasses
import os
import pwd
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from iogate.effects.processes import process_run
from iogate.effects.processes.workspace import ProcessFolders, Workspace
from iogate.errors import Misused
from iogate.settings import FILE_NAME, Settings, permissions
from iogate.timing import durations

ROOT: Final = ".root"
"""Empty folder on which sandboxes mount their root."""
CPU_EXCEEDED: Final = 128 + 24
FILE_EXCEEDED: Final = 128 + 25


class Isolation:
    """Limits, user and sandbox of the processes of one worker."""

    def __init__(self, settings: Settings) -> None:
        """Read the settings of the isolation.

        Raises Misused for a user that does not exist, or that needs the superuser.
        """
        self._settings = settings
        self._mode = settings.process_isolation
        limits = settings.process_limits
        self._limits = {
            "memory": limits["memory"],
            "cpu": max(1, int(limits["cpu"])),
            "file": limits["file"],
            "processes": limits["processes"],
        }
        self.user = self._chosen_user()

    def _chosen_user(self) -> tuple[int, int] | None:
        if self._mode == "none" or (self._mode == "sandbox" and os.geteuid() != 0):
            return None
        if os.geteuid() != 0:
            raise Misused(
                "process_isolation: user: only a worker of the superuser can start processes of another user",
                code="IOG681",
                hint='start the worker as root, or set process_isolation to "sandbox"',
            )
        name = self._settings.process_user
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise Misused(
                f'process_user: there is no user "{name}" on this machine',
                code="IOG681",
                hint="create it, or set process_user to one that exists",
            ) from None
        if entry.pw_uid == 0:
            raise Misused(
                "process_user: the superuser is no isolation",
                code="IOG681",
                hint="set process_user to a user without privileges",
            )
        return entry.pw_uid, entry.pw_gid

    def confinement_for(self, folders: ProcessFolders, directory: Path) -> process_run.Confinement:
        """Return the isolation of the process with these folders, as its confinement."""
        sandbox = None
        if self._mode == "sandbox":
            root = folders.shared / ROOT
            root.mkdir(exist_ok=True)
            sandbox = {
                "root": str(root),
                "scratch": str(folders.own),
                "visible": list(self._visible(directory)),
                "hidden": list(self._hidden(directory)),
                "file": self._limits["file"],
            }
        return process_run.Confinement(limits=self._limits, user=self.user, sandbox=sandbox)

    async def verify(self, workspace: Workspace) -> None:
        """Check the isolation by starting a process with it, if the settings allow shells or scripts.

        Raises Misused if the system does not support it.
        """
        if self._mode == "none" or not any(
            permissions.allows_kind(self._settings.allow_run, kind) for kind in ("shell", "script")
        ):
            return
        with workspace.process_folders() as folders:
            command = process_run.Command(
                argv=["/bin/sh", "-c", ":"],
                environment={},
                folder=workspace.working_directory,
                home=folders.shared,
                confinement=self.confinement_for(folders, workspace.working_directory),
            )
            try:
                end = await process_run.run(command, workspace.launcher)
                reason = f"a process ended with code {end.code}" if end.code else ""
            except OSError as fault:
                reason = f"{fault.filename or 'fork'}: {fault.strerror}"
        if reason:
            raise Misused(
                f"process_isolation: {self._mode}: this system cannot isolate processes so: {reason}",
                code="IOG680",
                hint="allow user namespaces to this user, or start the worker with CAP_SYS_ADMIN",
            )

    def exceeded_limit(self, end: process_run.Exit) -> str | None:
        """Return the message for a limit of its isolation that a process exceeded; None without one."""
        limits = self._settings.process_limits
        if end.limit == "processes":
            return f"had more than {limits['processes']} processes (process_limits.processes) and was killed"
        if end.limit == "memory":
            return f"held over {limits['memory']} bytes of memory (process_limits.memory) and was killed"
        if end.code == CPU_EXCEEDED:
            allowed = durations.format_seconds(limits["cpu"])
            return f"used more than {allowed} of processor time (process_limits.cpu) and was killed"
        if end.code == FILE_EXCEEDED:
            return f"wrote a file of over {limits['file']} bytes (process_limits.file) and was killed"
        return None

    def _visible(self, directory: Path) -> Iterable[str]:
        """Yield the folders that isolated programs need beyond the system's: project, interpreters, PATH."""
        yield str(directory)
        prefixes = {sys.prefix, sys.base_prefix}
        if self._settings.python and os.sep in self._settings.python:
            prefixes.add(str(Path(self._settings.python).absolute().parent.parent))
        yield from sorted(prefixes - {"/"})
        for entry in os.environ.get("PATH", "").split(os.pathsep):
            if entry.startswith("/") and entry != "/":
                yield entry

    def _hidden(self, directory: Path) -> Iterable[str]:
        """Yield the paths that no isolated process may see: store, settings, and files that they name."""
        yield str((directory / self._settings.data_dir).resolve())
        yield str(directory / FILE_NAME)
        yield from map(str, sorted(directory.glob("iogate.*.yaml")))
        values = [getattr(self._settings, field.name) for field in dataclasses.fields(self._settings)]
        keys = [] if self._settings.tls is None else [self._settings.tls["key"]]
        for file in [*_referenced_files(values), *keys]:
            yield str((directory / file).resolve())


def _referenced_files(value: Any) -> Iterable[str]:
    """Yield the paths of all `{file: PATH}` in a value, which isolated processes may not see."""
    match value:
        case {"file": str(path)} if len(value) == 1:
            yield path
        case dict():
            yield from _referenced_files(list(value.values()))
        case list() | tuple():
            for each in value:
                yield from _referenced_files(each)
