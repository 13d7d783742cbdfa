"""Watcher of a project: applies each new version of its files, once.

    look ──▶ new? ──▶ older than what is live, or rolled back? ──▶ `iogate apply` ──▶ look …
                                │ skipped                            │ failed: reported
                                ▼                                    ▼
                             handled                   handled; retried only if it was killed, or
                                                       store or repository are out of reach

Used by `watch_command`. Each version is applied by a process of its own, because a project may contain Python
modules, and this process would keep those of the version before. Invariants: a version replaces only the
revision that it was compared with, so that of several watchers none puts an older commit in place of a newer
one; an invalid version changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from iogate.cli.error_output import SCHEMA
from iogate.cli.pull.project_sources import Source
from iogate.errors import IogateError, Unreachable
from iogate.store.connection.failures import CommandFailed

if TYPE_CHECKING:
    from iogate.store.revisions.origin import Published
    from iogate.store.store import Store

log = logging.getLogger(__name__)

NOT_EVERYWHERE: Final = 5
UNREACHABLE: Final = 6
"""Exit codes of `iogate apply`, as in docs/reference/commands.md."""
STALE: Final = "IOG613"
"""Error of an apply after another revision went live: the version is compared again."""
ATTEMPTS: Final = 5
ERROR_CHARACTERS: Final = 4_000


@dataclass(kw_only=True)
class ProjectWatcher:
    """Watcher of one source for one store."""

    source: Source
    open_store: Callable[[str], AbstractAsyncContextManager[Store]]
    """Opens the store for a project."""
    project_of: Callable[[Path], str]
    """Returns the project that the files in a folder belong to."""
    options: Sequence[str]
    """Options of `iogate apply`."""
    environment: Callable[[], Mapping[str, str]]
    """Returns the variables of `iogate apply`, which name the store; raises Unreachable without one."""
    repeats: bool = True
    """Whether the caller looks again, as log records say."""
    _handled: str | None = None
    _reported: str = ""
    _failed: str | None = field(default=None, init=False)

    async def run(self, interval_s: float) -> None:
        """Watch the project for a new version every `interval_s` until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(interval_s)

    async def look(self) -> bool:
        """Apply the newest version of the watched project if it is new; return whether it is live.

        Raises nothing for a source or a store that is out of reach, nor for an error of this machine, such as
        a full disk: it is logged, once.
        """
        try:
            version = await asyncio.to_thread(self.source.newest)
            if version != self._handled:
                self._failed = await self._apply(version)
                self._handled = version
        except (Unreachable, CommandFailed, OSError) as error:
            self._report(_text(error))
            return False
        self._reported = ""
        return self._failed is None

    async def _apply(self, version: str) -> str | None:
        """Apply a version of the watched project; return why it is not live, None if it is.

        Raises Unreachable if it must be tried again.
        """
        with self.source.files(version) as folder:
            project = self.project_of(folder)
            for _ in range(ATTEMPTS):
                async with self.open_store(project) as store:
                    history = await store.revisions.history()
                if (reason := self._reason_to_skip(version, history)) is not None:
                    log.warning("%s", reason, extra={"action": "watch.skipped", "version": version})
                    return reason
                expected = history[0].number if history else 0
                done = await self._command(
                    folder, "--keep-rollback", "--expect", str(expected), *self.source.describe(version)
                )
                if done.fault.get("code") != STALE:
                    return self._conclude(version, done)
        raise Unreachable(f"the live revision changed {ATTEMPTS} times while {version[:12]} was applied")

    def _reason_to_skip(self, version: str, history: Sequence[Published]) -> str | None:
        """Return why the watcher does not apply a version, None if it does."""
        live = history[0].origin if history else None
        if live is None:
            return None
        if live.commit and self.source.is_older(version, live.commit):
            return f"commit {version[:12]} is older than the live one, {live.commit[:12]}: not applied"
        return None

    def _conclude(self, version: str, done: Done) -> str | None:
        """Log the result of the watcher's apply; return the reason why the version is not live.

        Raises Unreachable if it must be tried again.
        """
        if done.code == UNREACHABLE:
            raise Unreachable(done.error)
        if done.code < 0:
            # For example by a system without memory: it says nothing about the version.
            raise Unreachable(f"iogate apply was killed by signal {-done.code}")
        if done.code not in {0, NOT_EVERYWHERE}:
            log.error(
                "%s of %s is not applied%s:\n%s",
                version[:12], self.source.shown,
                "; it is tried again after the next change" if self.repeats else "", done.error,
                extra={"action": "watch.failed", "version": version, "exit": done.code},
            )  # fmt: skip
            return done.error
        number = done.value.get("revision")
        if done.value.get("changed"):
            log.info(
                "revision %s is live, from %s",
                number,
                version[:12],
                extra={"action": "watch.applied", "version": version, "revision": number},
            )
        else:
            log.info(
                "%s changes nothing: its content is live as revision %s",
                version[:12],
                number,
                extra={"action": "watch.unchanged", "version": version, "revision": number},
            )
        if done.code == NOT_EVERYWHERE:
            log.warning(
                "%s", done.error, extra={"action": "watch.late", "version": version, "revision": number}
            )
        return None

    async def _command(self, folder: Path, *arguments: str) -> Done:
        """Run `iogate apply` for the watcher; it ends before this coroutine, also if that is cancelled."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "iogate", "apply", "-q", "-o", "json", "--yes",
            *self.options, *arguments,
            cwd=folder,
            env={**os.environ, **self.environment()},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            output, errors = await process.communicate()
        except asyncio.CancelledError:
            # An apply that is killed leaves the old or the new revision, never a mix of both.
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        assert process.returncode is not None
        return Done(
            code=process.returncode,
            errors=errors.decode("utf-8", "replace").strip(),
            output=output,
        )

    def _report(self, text: str) -> None:
        """Log an error of the watcher once, not at each attempt."""
        if text != self._reported:
            self._reported = text
            again = "; trying again" if self.repeats else ""
            log.warning("%s%s", text, again, extra={"action": "watch.unreachable"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Result of an `iogate apply`."""

    code: int
    errors: str
    """Its stderr, the last line of which is the error as JSON if it has failed."""
    output: bytes

    @property
    def value(self) -> Mapping[str, object]:
        """The JSON of the result of the watcher's `iogate apply`; empty if it has none."""
        return _object(self.output)

    @property
    def fault(self) -> Mapping[str, object]:
        """The JSON of the error of the watcher's `iogate apply`; empty if it has none."""
        found = _object(self.errors.rpartition("\n")[2])
        return found if found.get("schema") == SCHEMA else {}

    @property
    def error(self) -> str:
        """Warnings and error of the watcher's `iogate apply` as text."""
        text = self.errors.rpartition("\n")[0] if self.fault else self.errors
        return text[-ERROR_CHARACTERS:]


def _text(error: Exception) -> str:
    """Return an error that ended an attempt of the watcher as text for its log."""
    match error:
        case IogateError():
            return error.message
        case CommandFailed():
            return f"the store refused a command: {error}"
        case TimeoutError():
            return "the store did not respond in time"
        case _:
            return f"this machine cannot apply the project: {error}"


def _object(text: str | bytes) -> Mapping[str, object]:
    """Return the JSON object that the watcher's `iogate apply` printed; empty for any other text."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
