"""Child processes kept alive: spawn, watch, replace, stop in two deadlines.

Called by `up`, `serve` and `worker`, and by whatever else keeps processes. Knows command lines only,
neither store nor HTTP. Invariant: no child outlives its parent, and a child that hangs is replaced.

    waiting ──spawn──▶ running ──exit──▶ callback ──backoff──▶ waiting
                          │  no tick for `tick_s`: SIGKILL
                          └──stop──▶ SIGTERM ──`grace_s`──▶ SIGKILL

A child is a group of its own: Ctrl-C on the terminal reaches the parent alone, which forwards it once
as SIGTERM, and what a dead child leaves behind is killed with its group. `PR_SET_PDEATHSIG` is set
by a shim between fork and the child's program: code between fork and exec in a process with threads
may deadlock, and a child that sets it for itself is too late for a parent that is already dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from iogate.supervision import handover
from iogate.supervision.termination import Termination
from iogate.supervision.ticks import IDENTITY, TICK_FD

log = logging.getLogger(__name__)

_FIRST_BACKOFF_S = 0.1
_LONGEST_BACKOFF_S = 10.0
_LONGEST_BACKOFF_OF_WORKING_S = 1.0
"""Of a child that had started well before it died: it serves others who wait for it."""
_STABLE_S = 10.0
"""A child that lived this long starts again without a backoff."""

# `-I -S`: nothing of the project or of the environment is read before exec. 15 ms.
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
    """What to keep running."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the variables that every process needs; the rest of the parent's stays with the parent."""
    handover: Mapping[str, str] = field(default_factory=dict)
    """Variables that the child has in memory only: `/proc` shows them to nobody."""
    directory: str | None = None
    """Where it runs; None: where the parent does."""
    files: tuple[int, ...] = ()
    """Open file descriptors that it inherits under the same numbers, such as a listening socket."""
    ticks: bool = False
    """The child calls `ticks.tick` at least each second; silence is a hang."""
    tick_s: float = 10.0
    start_s: float = 30.0
    """Time until the first tick."""
    grace_s: float = 25.0
    """Time between SIGTERM and SIGKILL."""
    restart: bool = True
    """False: a child that ends by itself with code 0 is done; one that dies is started again."""
    once: bool = False
    """It has one life, however that ends."""
    stage: int = 0
    """Higher stages are stopped first."""


@dataclass(frozen=True, kw_only=True)
class Exit:
    """A child is gone."""

    name: str
    identity: str
    pid: int
    code: int
    """Exit status; negative: the signal."""
    reason: Literal["exited", "stopped", "hung"]
    """`stopped`: it was asked to."""
    lived_s: float
    silent_s: float = 0.0
    """Of one that hung: after how long without a tick it was killed."""


@dataclass(kw_only=True)
class _Kept:
    child: Child
    task: asyncio.Task[None] | None = None
    process: asyncio.subprocess.Process | None = None
    identity: str = ""
    ticked_at: float | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    hung_s: float = 0.0
    """For how long it did not tick, once that was too long."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Keeps children while its context is open; leaving it stops them all.

    Use it in the main thread: Linux ties the parent-death signal to the thread that spawned.
    `exited` runs after each exit and before the replacement starts; what it raises is logged.
    """

    def __init__(self, *, exited: Callable[[Exit], Awaitable[None]] | None = None) -> None:
        self._exited = exited
        self._kept: dict[str, _Kept] = {}
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
        """Start a child and keep it. A name that is kept already stays as it is; none starts at the end."""
        if child.name in self._kept or self._ending:
            return
        kept = _Kept(child=child)
        self._kept[child.name] = kept
        kept.task = asyncio.create_task(self._keep(kept), name=f"keep {child.name}")

    async def scale(self, children: tuple[Child, ...], *, prefix: str) -> None:
        """Keep exactly these among the children whose name starts with `prefix`."""
        wanted = {child.name for child in children}
        surplus = [name for name in self._kept if name.startswith(prefix) and name not in wanted]
        for child in children:
            self.add(child)
        await asyncio.gather(*(self.remove(name) for name in surplus))

    async def remove(self, name: str) -> None:
        """Stop one child: SIGTERM, then SIGKILL after its grace."""
        kept = self._kept.get(name)
        if kept is None or kept.task is None:
            return
        if not kept.stopping.is_set():
            kept.stopping.set()
            _send(kept.process, signal.SIGTERM)
        done, _ = await asyncio.wait({kept.task}, timeout=kept.child.grace_s)
        if not done:
            log.warning(
                "%s did not end within %g s of SIGTERM, killed",
                name,
                kept.child.grace_s,
                extra={"action": "child.killed", "child": name},
            )
            _kill_group(kept.process)
            await asyncio.wait({kept.task})

    async def stop(self) -> None:
        """Stop every child, highest stage first; another signal, a second later or more, kills at once."""
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
        """Wait for SIGTERM or SIGINT, and return which. The next one kills without grace."""
        return await self._termination.request()

    async def ready(self, timeout_s: float) -> bool:
        """Whether every ticking child has ticked, once, within the time."""
        waits = [asyncio.create_task(k.ready.wait()) for k in self._kept.values() if k.child.ticks]
        if not waits:
            return True
        _, pending = await asyncio.wait(waits, timeout=timeout_s)
        for wait in pending:
            wait.cancel()
        return not pending

    def pids(self) -> dict[str, int]:
        """The live process of each child."""
        return {name: kept.process.pid for name, kept in self._kept.items() if kept.process is not None}

    def identities(self) -> dict[str, str]:
        """Return the identity of each child's current process, by the child's name."""
        return {name: kept.identity for name, kept in self._kept.items() if kept.process is not None}

    def silences(self) -> dict[str, float | None]:
        """For how long each ticking child has not ticked; None: it is starting. Who is to end is left out."""
        now = asyncio.get_running_loop().time()
        return {
            name: None if kept.process is None or kept.ticked_at is None else now - kept.ticked_at
            for name, kept in self._kept.items()
            if kept.child.ticks and not kept.stopping.is_set()
        }

    async def _hurry(self) -> None:
        await self._termination.second_request()
        log.warning("second signal: children are killed", extra={"action": "children.killed"})
        for kept in self._kept.values():
            kept.stopping.set()
            _kill_group(kept.process)

    async def _keep(self, kept: _Kept) -> None:
        child = kept.child
        backoff_s = 0.0
        try:
            while not kept.stopping.is_set():
                gone = await self._live(kept)
                _report(gone, replaced=not child.once)
                if self._exited is not None:
                    try:
                        await self._exited(gone)
                    except Exception:
                        log.exception(
                            "what follows the exit of %s failed",
                            child.name,
                            extra={"action": "child.exit_failed"},
                        )
                done = gone.code == 0 and gone.reason == "exited"
                if child.once or (done and not child.restart):
                    return
                stable = gone.lived_s >= _STABLE_S
                longest_s = _LONGEST_BACKOFF_S if kept.ticked_at is None else _LONGEST_BACKOFF_OF_WORKING_S
                backoff_s = min(longest_s, backoff_s * 2) if backoff_s and not stable else _FIRST_BACKOFF_S
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(kept.stopping.wait(), backoff_s)
        finally:
            self._kept.pop(child.name, None)

    async def _live(self, kept: _Kept) -> Exit:
        """One life of a child, from its spawn to its exit."""
        child = kept.child
        started = time.monotonic()
        kept.identity = f"{socket.gethostname()}.{child.name}.{secrets.token_hex(4)}"
        kept.hung_s, kept.ticked_at = 0.0, None
        environment = {**handover.minimal(os.environ), **child.environment, IDENTITY: kept.identity}
        read_fd, write_fd = os.pipe() if child.ticks else (-1, -1)
        if child.ticks:
            environment[TICK_FD] = str(write_fd)
        ours, theirs = socket.socketpair()
        environment[handover.SOCKET_FD] = str(theirs.fileno())
        try:
            kept.process = process = await asyncio.create_subprocess_exec(
                *tied(*child.command),
                env=environment,
                cwd=child.directory,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(*child.files, theirs.fileno(), *((write_fd,) if child.ticks else ())),
                process_group=0,
            )
        except OSError as error:
            log.error(  # noqa: TRY400 - the message says all; a traceback of ours helps nobody
                "%s cannot be started: %s",
                child.name,
                error,
                extra={"action": "child.unstartable", "child": child.name},
            )
            ours.close()
            if child.ticks:
                os.close(read_fd)
            return Exit(
                name=child.name, identity=kept.identity, pid=0, code=127, reason="exited", lived_s=0.0
            )
        finally:
            theirs.close()
            if child.ticks:
                os.close(write_fd)
        giving = asyncio.create_task(handover.send(ours, child.handover))
        if kept.stopping.is_set():
            _send(process, signal.SIGTERM)
        watch = asyncio.create_task(self._watch(kept, read_fd)) if child.ticks else None
        try:
            code = await process.wait()
        finally:
            giving.cancel()
            beside = [giving] if watch is None else [giving, watch]
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
            lived_s=time.monotonic() - started,
            silent_s=kept.hung_s,
        )

    async def _watch(self, kept: _Kept, read_fd: int) -> None:
        """Read ticks; kill the child once they stop."""
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
                left = limit - loop.time()
                if left <= 0:
                    break
                await asyncio.sleep(min(left, child.tick_s / 4))
            kept.hung_s = child.tick_s if kept.ticked_at is not None else child.start_s
            log.error(
                "%s has not ticked for %g s, killed",
                child.name,
                kept.hung_s,
                extra={"action": "child.hung", "child": child.name},
            )
            _kill_group(kept.process)
        finally:
            loop.remove_reader(read_fd)
            os.close(read_fd)


def tied(*command: str) -> tuple[str, ...]:
    """The command line that runs `command` in a process that dies with this one, where the system can.

    Spawn it in the main thread: Linux means the thread that spawned when it says parent.
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


def _report(gone: Exit, *, replaced: bool) -> None:
    facts = {"action": "child.exited", "child": gone.name, "pid": gone.pid, "code": gone.code}
    if gone.reason == "stopped" or gone.code == 0:
        log.info("%s ended", gone.name, extra=facts)
    elif gone.reason == "exited":
        how = f"by signal {-gone.code}" if gone.code < 0 else f"with code {gone.code}"
        what = "%s ended %s, it is replaced" if replaced else "%s ended %s"
        log.warning(what, gone.name, how, extra=facts)
