"""Supervisor of child processes: starts, monitors, restarts and stops them.

Called by `up`, `serve`, `worker` and the worker pool. It knows command lines only, neither store nor HTTP.
Invariants: no child outlives its parent, and a child that hangs is replaced.

    waiting ──spawn──▶ running ──exit──▶ callback ──backoff──▶ waiting
                          │  no tick for `tick_s`: SIGKILL
                          └──stop──▶ SIGTERM ──`grace_s`──▶ SIGKILL

Each child leads its own process group: Ctrl-C on the terminal reaches only the parent, which forwards it once
as SIGTERM, and processes that a dead child leaves behind are killed with the group. A shim between fork and
the child's program sets `PR_SET_PDEATHSIG`: code between fork and exec in a process with threads may
deadlock, and a child that sets it for itself may be too late, after the death of its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from iogate.supervision import child_start, handover
from iogate.supervision.heartbeat import IDENTITY, new_identity
from iogate.supervision.termination import Termination
from iogate.timing.backoff import Backoff

log = logging.getLogger(__name__)

_FIRST_BACKOFF_S = 0.1
_LONGEST_BACKOFF_S = 10.0
_LONGEST_BACKOFF_OF_WORKING_S = 1.0
"""Longest backoff of a child that had ticked before it died, since clients wait for it."""
_STABLE_S = 10.0
"""A child that lived this long restarts with the shortest backoff."""

# `-I -S`: Python reads no project files and no environment before exec. It takes 15 ms.
_SHIM = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None, use_errno=True).prctl(1, 9)
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, kw_only=True)
class Child:
    """Command line of a child process, and how to supervise it."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the variables that every process needs; the child gets no others of the parent."""
    handover: Mapping[str, str] = field(default_factory=dict)
    """Variables that the child holds in memory only, where `/proc` does not show them."""
    directory: str | None = None
    """Working directory; None: that of the parent."""
    files: tuple[int, ...] = ()
    """File descriptors that the child inherits under the same numbers, such as a listening socket."""
    ticks: bool = False
    """The child calls `heartbeat.tick` at least once per second; otherwise it hangs."""
    tick_s: float = 10.0
    start_s: float = 30.0
    """Time until the first tick."""
    grace_s: float = 25.0
    """Time between SIGTERM and SIGKILL."""
    restart: bool = True
    """False: a child that exits with code 0 is not restarted; one that dies is."""
    once: bool = False
    """True: the child is never restarted."""
    stage: int = 0
    """Children of higher stages are stopped first."""


@dataclass(frozen=True, kw_only=True)
class Exit:
    """Exit of a child process, with its reason."""

    name: str
    identity: str
    pid: int
    code: int
    """Exit status; a negative one is a signal."""
    reason: Literal["exited", "stopped", "hung"]
    """`stopped`: on request of the supervisor."""
    lived_s: float
    silent_s: float = 0.0
    """Seconds without a tick after which a hung child was killed."""


@dataclass(kw_only=True)
class _Supervised:
    """State of a supervised child."""

    child: Child
    task: asyncio.Task[None] | None = None
    process: asyncio.subprocess.Process | None = None
    identity: str = ""
    ticked_at: float | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    hung_s: float = 0.0
    """Seconds without a tick if the child hangs, else 0."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Supervisor of child processes; leaving its context stops all of them.

    Use it in the main thread: Linux ties the parent-death signal to the thread that spawned the child.
    `exited` runs after each exit, before the restart; its exceptions are logged.
    """

    def __init__(self, *, exited: Callable[[Exit], Awaitable[None]] | None = None) -> None:
        self._exited = exited
        self._kept: dict[str, _Supervised] = {}
        self._termination = Termination()
        self._ending = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def add(self, child: Child) -> None:
        """Start a child and supervise it; does nothing for a known name or after `stop`."""
        if child.name in self._kept or self._ending:
            return
        kept = _Supervised(child=child)
        self._kept[child.name] = kept
        kept.task = asyncio.create_task(self._keep(kept), name=f"keep {child.name}")

    async def scale(self, children: tuple[Child, ...], *, prefix: str) -> None:
        """Start and stop supervised children until those with this prefix are exactly `children`."""
        wanted = {child.name for child in children}
        surplus = [name for name in self._kept if name.startswith(prefix) and name not in wanted]
        for child in children:
            self.add(child)
        await asyncio.gather(*(self.remove(name) for name in surplus))

    async def remove(self, name: str) -> None:
        """Stop one child of the supervisor: SIGTERM, then SIGKILL after `grace_s`."""
        kept = self._kept.get(name)
        if kept is None or kept.task is None:
            return
        if not kept.stopping.is_set():
            kept.stopping.set()
            _send(kept.process, signal.SIGTERM)
        done, _ = await asyncio.wait({kept.task}, timeout=kept.child.grace_s)
        if not done:
            log.warning(
                "%s did not exit within %g s of SIGTERM and was killed",
                name,
                kept.child.grace_s,
                extra={"action": "child.killed", "child": name},
            )
            _kill_group(kept.process)
            await asyncio.wait({kept.task})

    async def stop(self) -> None:
        """Stop all children of the supervisor, highest stage first; another signal kills them.

        The other signal has to come at least a second later.
        """
        self._ending = True
        hurry = asyncio.create_task(self._hurry())
        try:
            while stages := {kept.child.stage for kept in self._kept.values()}:
                last = max(stages)
                names = [name for name, kept in self._kept.items() if kept.child.stage == last]
                await asyncio.gather(*(self.remove(name) for name in names))
        finally:
            hurry.cancel()
            await asyncio.gather(hurry, return_exceptions=True)
            self._termination.release()

    async def until_signal(self) -> int:
        """Wait in the supervisor for SIGTERM or SIGINT; return its number; the next kills the children."""
        return await self._termination.request()

    async def ready(self, timeout_s: float) -> bool:
        """Wait until each supervised child that sends heartbeats has done so; False after `timeout_s`."""
        waits = [asyncio.create_task(k.ready.wait()) for k in self._kept.values() if k.child.ticks]
        if not waits:
            return True
        _, pending = await asyncio.wait(waits, timeout=timeout_s)
        for wait in pending:
            wait.cancel()
        return not pending

    def pids(self) -> dict[str, int]:
        """Return the process id of each child that the supervisor runs, by the child's name."""
        return {name: kept.process.pid for name, kept in self._kept.items() if kept.process is not None}

    def identities(self) -> dict[str, str]:
        """Return the identity that the supervisor gave to each child's process, by the child's name."""
        return {name: kept.identity for name, kept in self._kept.items() if kept.process is not None}

    def silences(self) -> dict[str, float | None]:
        """Return the seconds since each supervised child's last heartbeat, None before it.

        Stopping children are omitted.
        """
        now = asyncio.get_running_loop().time()
        return {
            name: None if kept.process is None or kept.ticked_at is None else now - kept.ticked_at
            for name, kept in self._kept.items()
            if kept.child.ticks and not kept.stopping.is_set()
        }

    async def _hurry(self) -> None:
        await self._termination.second_request()
        log.warning("second signal: killing all children", extra={"action": "children.killed"})
        for kept in self._kept.values():
            kept.stopping.set()
            _kill_group(kept.process)

    async def _keep(self, kept: _Supervised) -> None:
        """Run a supervised child, and again after each exit unless it must not be restarted."""
        child = kept.child
        backoff = Backoff(_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S)
        try:
            while not kept.stopping.is_set():
                gone = await self._live(kept)
                if gone.pid:
                    _log_exit(gone, replaced=not child.once)
                if self._exited is not None:
                    try:
                        await self._exited(gone)
                    except Exception:
                        log.exception(
                            "exit callback of %s failed",
                            child.name,
                            extra={"action": "child.exit_failed"},
                        )
                done = gone.code == 0 and gone.reason == "exited"
                if child.once or (done and not child.restart):
                    return
                if gone.lived_s >= _STABLE_S:
                    backoff.reset()
                longest_s = _LONGEST_BACKOFF_S if kept.ticked_at is None else _LONGEST_BACKOFF_OF_WORKING_S
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(kept.stopping.wait(), backoff.next_s(longest_s))
        finally:
            self._kept.pop(child.name, None)

    async def _live(self, kept: _Supervised) -> Exit:
        """Run a supervised child once, from its start to its exit."""
        child = kept.child
        began_s = time.monotonic()
        kept.identity = new_identity(child.name)
        kept.hung_s, kept.ticked_at = 0.0, None
        try:
            started = await child_start.start(
                tied(*child.command),
                environment={**handover.minimal(os.environ), **child.environment, IDENTITY: kept.identity},
                directory=child.directory,
                files=child.files,
                ticks=child.ticks,
            )
        except OSError as error:
            log.error(  # noqa: TRY400 - the message suffices
                "cannot start %s: %s",
                child.name,
                error,
                extra={"action": "child.unstartable", "child": child.name},
            )
            return Exit(
                name=child.name, identity=kept.identity, pid=0, code=127, reason="exited", lived_s=0.0
            )
        kept.process = process = started.process
        sending = asyncio.create_task(handover.send(started.handover, child.handover))
        if kept.stopping.is_set():
            _send(process, signal.SIGTERM)
        watch = asyncio.create_task(self._watch(kept, started.ticks)) if child.ticks else None
        try:
            code = await process.wait()
        finally:
            sending.cancel()
            beside = [sending] if watch is None else [sending, watch]
            if watch is not None:
                watch.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            _kill_group(process)
            kept.process = None
        reason: Literal["exited", "stopped", "hung"] = "hung" if kept.hung_s else "exited"
        if kept.stopping.is_set():
            reason = "stopped"
        return Exit(
            name=child.name,
            identity=kept.identity,
            pid=process.pid,
            code=code,
            reason=reason,
            lived_s=time.monotonic() - began_s,
            silent_s=kept.hung_s,
        )

    async def _watch(self, kept: _Supervised, read_fd: int) -> None:
        """Read the ticks of a supervised child, and kill it when they stop.

        Time in which this process did not run either, as in a frozen container, does not count.
        """
        loop = asyncio.get_running_loop()
        os.set_blocking(read_fd, False)

        def on_ticks() -> None:
            with contextlib.suppress(BlockingIOError):
                if os.read(read_fd, 4096):
                    kept.ticked_at = loop.time()
                    kept.ready.set()
                else:
                    loop.remove_reader(read_fd)

        child = kept.child
        started = loop.time()
        loop.add_reader(read_fd, on_ticks)
        try:
            while True:
                limit = started + child.start_s if kept.ticked_at is None else kept.ticked_at + child.tick_s
                asleep_at = loop.time()
                if limit <= asleep_at:
                    break
                pause_s = min(limit - asleep_at, child.tick_s / 4)
                await asyncio.sleep(pause_s)
                if (now := loop.time()) - asleep_at > pause_s + child.tick_s / 2:
                    started = now
                    kept.ticked_at = None if kept.ticked_at is None else now
            kept.hung_s = child.tick_s if kept.ticked_at is not None else child.start_s
            log.error(
                "%s sent no heartbeat for %g s and was killed",
                child.name,
                kept.hung_s,
                extra={"action": "child.hung", "child": child.name},
            )
            _kill_group(kept.process)
        finally:
            loop.remove_reader(read_fd)
            os.close(read_fd)


def tied(*command: str) -> tuple[str, ...]:
    """Return the command line that runs a supervised command in a process that dies with this one (on Linux).

    Spawn it in the main thread: for Linux the parent is the thread that spawned the process.
    """
    return (sys.executable, "-I", "-S", "-c", _SHIM, str(os.getpid()), *command)


def _send(process: asyncio.subprocess.Process | None, number: signal.Signals) -> None:
    if process is not None and process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)


def _kill_group(process: asyncio.subprocess.Process | None) -> None:
    if process is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _log_exit(gone: Exit, *, replaced: bool) -> None:
    facts = {"action": "child.exited", "child": gone.name, "pid": gone.pid, "code": gone.code}
    if gone.reason == "stopped" or gone.code == 0:
        log.info("%s exited", gone.name, extra=facts)
    elif gone.reason == "exited":
        how = f"was killed by signal {-gone.code}" if gone.code < 0 else f"exited with code {gone.code}"
        message = "%s %s and is restarted" if replaced else "%s %s"
        log.warning(message, gone.name, how, extra=facts)
