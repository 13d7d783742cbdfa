"""Embedded server: a Redis server on a unix socket in `data_dir`.

Called by the supervising parents and by `run` and `test`. Invariant: never two servers on one folder. The
server inherits the lock of the folder and holds it until it ends, also after the process that started it
has ended.

    starter: lock free? --yes--> start, wait until it serves --> EmbeddedServer(adopted=False)
                ▲                   └─ killed meanwhile ─┐
                └────────────────────────────────────────┘
                        --no---> a server lives (or is starting): wait until it serves --> adopted=True

A server that does not answer has START_S. A server that loads its files has no timeout.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from redis.exceptions import RedisError

from iogate.errors import NoStore, Unreachable
from iogate.store.embedded import binaries as servers
from iogate.store.embedded import data_folder as folders
from iogate.store.embedded.readiness import (
    FIRST_ASK_S,
    SERVING,
    StartTimeout,
    client,
    silent,
    socket_url,
    state,
)
from iogate.store.embedded.server_socket import SocketGone, is_locked, socket_path
from iogate.supervision import handover
from iogate.supervision.supervisor import tied

START_S = 30.0
STOP_S = 30.0
TERM_S = 5.0
AGAIN_S = 0.1

Fsync = Literal["always", "everysec"]


class _Killed(Unreachable):
    """Error of a server that a signal ended while it was starting; another start may succeed."""


@dataclass(kw_only=True)
class EmbeddedServer:
    """Running server; `adopted`: another process has started it."""

    url: str
    pid: int
    folder: Path
    server: servers.Server
    adopted: bool = False
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def alive(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            return False
        # By the lock, because the process id may be that of a zombie, or reused.
        lock = self.folder / "lock"
        if not lock.exists() or is_locked(lock):
            return True
        if self.process is not None:
            self.process.wait()  # it released the lock by ending: reap it
        return False

    def stop(self, timeout_s: float = STOP_S) -> None:
        """Shut the embedded server down after it has written its data; idempotent.

        Raises Unreachable if it does not stop in time.
        """
        with contextlib.suppress(RedisError, OSError), client(self.url, timeout_s) as plain:
            plain.shutdown()
        _wait_gone(self, timeout_s)
        if self.process is not None:
            self.process.wait()


def start_embedded(
    data_dir: Path,
    *,
    named: str | None = None,
    memory: int | None = None,
    appendfsync: Fsync = "always",
    timeout_s: float = START_S,
    aborted: threading.Event | None = None,
) -> EmbeddedServer:
    """Start the server of `data_dir`, or adopt the running one, and wait until it serves.

    `named` is the setting `store_server`, `memory` the server's limit in bytes, `timeout_s` how long a server
    may be silent. `aborted` ends the wait from another thread.

    Raises WrongStore for a folder that no server of this machine may open, Unreachable if none can run,
    StartAborted after `aborted`.
    """
    folder = data_dir.resolve() / "redis"
    folders.make(folder)
    timeout = StartTimeout(folder, timeout_s, aborted or threading.Event())
    try:
        return _adopt_or_start(folder, timeout, named=named, memory=memory, appendfsync=appendfsync)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Unreachable(
            f"the store in {folder} cannot be started: {where}{error.strerror or error}",
            code="IOG629",
            hint="make room there, run as the owner of this path, or set data_dir",
        ) from None


def _adopt_or_start(
    folder: Path, timeout: StartTimeout, *, named: str | None, memory: int | None, appendfsync: Fsync
) -> EmbeddedServer:
    """Adopt or start the server of `folder`. Raises as `start_embedded` does, and OSError."""
    while True:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            try:
                found = _living(folder, timeout.ask_s)
            except SocketGone:
                # Another process may be starting the server, and has not recorded its socket yet.
                timeout.check()
                if timeout.over:
                    raise
                time.sleep(AGAIN_S)
                continue
            now = None if found is None else state(found.url, timeout.ask_s)
            if found is not None and now is SERVING:
                _limit(found.url, memory)
                return found
            timeout.spend(now)
            continue
        try:
            return _start(folder, lock, timeout, named=named, memory=memory, appendfsync=appendfsync)
        except _Killed:
            if timeout.over:
                raise
            timeout.start_over()
        finally:
            os.close(lock)
        time.sleep(AGAIN_S)


def _limit(url: str, memory: int | None) -> None:
    """Set the current memory limit in an adopted embedded server."""
    if memory is not None:
        with contextlib.suppress(RedisError, OSError), client(url, FIRST_ASK_S) as plain:
            plain.config_set("maxmemory", memory)


def find_embedded(data_dir: Path) -> str | None:
    """Return the URL of the embedded server of a folder, None if none runs or it does not answer.

    Raises SocketGone if it has lost its socket, Unreachable if this user may not read the folder.
    """
    if not folders.has_store(data_dir):
        return None
    folder = data_dir.resolve() / "redis"
    with folders.readable(folder):
        found = _living(folder)
    return None if found is None else found.url


def embedded_url(data_dir: Path) -> str:
    """Return the URL of the embedded server of a folder.

    Raises NoStore if none runs, Unreachable if it does not answer, has lost its socket, or is that of another
    user.
    """
    url = find_embedded(data_dir)
    if url is not None:
        return url
    folder = data_dir.resolve() / "redis"
    with folders.readable(folder):
        runs = is_locked(folder / "lock")
    if runs:
        raise silent(folder)
    raise NoStore('no store: set redis_url, or start one with "iogate up"')


@contextlib.contextmanager
def temporary_server(
    server: servers.Server | None = None, *, named: str | None = None
) -> Iterator[EmbeddedServer]:
    """Start a server without persistence that ends with the context, also if this process is killed."""
    folder = Path(tempfile.mkdtemp(prefix="iogate-"))
    chosen = server or servers.choose(named)
    socket = socket_path(folder, starts=True)
    process = subprocess.Popen(  # noqa: S603 -- the binary that server.choose found
        tied(chosen.path, *_options(socket, folder), "--save", "", "--appendonly", "no"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        cwd=folder,
        env=handover.minimal(os.environ),
        start_new_session=True,
    )
    embedded = EmbeddedServer(
        url=socket_url(socket), pid=process.pid, folder=folder, server=chosen, process=process
    )
    try:
        _wait_ready(embedded, StartTimeout(folder, START_S, threading.Event()))
        yield embedded
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _options(socket: Path, folder: Path) -> list[str]:
    return [
        "--port", "0",
        "--unixsocket", str(socket),
        "--unixsocketperm", "600",
        "--dir", str(folder),
        "--daemonize", "no",
        "--maxmemory-policy", "noeviction",
        # RQ stores each result in a stream with one entry, for which the server allocates a whole node.
        "--stream-node-max-bytes", "512",
        "--tcp-keepalive", "60",
    ]  # fmt: skip


def _start(
    folder: Path,
    lock: int,
    timeout: StartTimeout,
    *,
    named: str | None,
    memory: int | None,
    appendfsync: Fsync,
) -> EmbeddedServer:
    chosen = folders.choose_for(folder, named)
    socket = socket_path(folder, starts=True)
    socket.unlink(missing_ok=True)
    folders.prepare(folder, chosen)
    with (folder / "server.log").open("ab") as output:
        begins = output.tell()
        process = subprocess.Popen(  # noqa: S603 -- the binary that server.choose found
            [
                chosen.path,
                *_options(socket, folder),
                "--appendonly", "yes",
                "--appendfsync", appendfsync,
                "--no-appendfsync-on-rewrite", "no",
                "--save", "",
                "--maxmemory", str(memory or 0),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=handover.minimal(os.environ),
            start_new_session=True,
            pass_fds=(lock,),
        )  # fmt: skip
    embedded = EmbeddedServer(
        url=socket_url(socket), pid=process.pid, folder=folder, server=chosen, process=process
    )
    try:
        _wait_ready(embedded, timeout, begins)
        folders.write_record(folder, chosen, opened=True)
    except BaseException:
        # SIGTERM first: a loading server ends at once, a writing one ends cleanly.
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(TERM_S)
        process.kill()
        process.wait()
        raise
    return embedded


def _living(folder: Path, timeout_s: float = FIRST_ASK_S) -> EmbeddedServer | None:
    """Return the embedded server behind the folder's socket, None if it does not answer.

    Raises SocketGone if it has lost its socket, PermissionError if this user may not read the folder.
    """
    socket = socket_path(folder)
    try:
        socket.stat()  # `exists` hides a denied access since Python 3.14
    except FileNotFoundError:
        return None
    url = socket_url(socket)
    try:
        with client(url, timeout_s) as plain:
            info = plain.info("server")
    except (RedisError, OSError):
        return None
    return EmbeddedServer(
        url=url, pid=int(info["process_id"]), folder=folder, server=servers.describe(info), adopted=True
    )


def _wait_ready(embedded: EmbeddedServer, timeout: StartTimeout, begins: int = 0) -> None:
    """Wait until the server serves; `begins` is the offset of its part of the log."""
    while True:
        code = embedded.process.poll() if embedded.process is not None else None
        if code is not None:
            raise _ended(embedded, code, begins)
        now = state(embedded.url, timeout.ask_s)
        timeout.check()
        if now is SERVING:
            return
        timeout.spend(now)


def _ended(embedded: EmbeddedServer, code: int, begins: int) -> Unreachable:
    damage = folders.damage(embedded.folder, embedded.server, begins) if code > 0 else None
    if damage is not None:
        return damage
    how = f"with exit code {code}" if code >= 0 else f"by signal {-code}"
    return (Unreachable if code >= 0 else _Killed)(
        f"{embedded.server} ended during its start, {how}",
        code="IOG623",
        hint=f"its log is {embedded.folder / 'server.log'}",
    )


def _wait_gone(embedded: EmbeddedServer, timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    while embedded.alive:
        if time.monotonic() > until:
            with contextlib.suppress(ProcessLookupError):
                os.kill(embedded.pid, signal.SIGTERM)
            raise Unreachable(
                f"the store (process {embedded.pid}) did not stop within {timeout_s:g} s", code="IOG624"
            )
        time.sleep(0.01)
