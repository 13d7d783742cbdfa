"""Real primaries, replicas and sentinels on loopback, and a TCP proxy that can be cut off in silence."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from redis import Redis, RedisError

from iogate.store.embedded import binaries as servers
from iogate.supervision.supervisor import tied
from tests.ports import free_port

START_S = 30.0
NAME = "orders"


def poll(condition: Callable[[], Any], limit_s: float = START_S) -> Any:
    """Return the first true value of a condition."""
    until = time.monotonic() + limit_s
    while True:
        with contextlib.suppress(RedisError, OSError):
            if found := condition():
                return found
        assert time.monotonic() < until, "the condition did not become true in time"
        time.sleep(0.02)


class Server:
    """A server in its own process; it ends with the test, or before by `kill`."""

    def __init__(self, folder: Path, *options: str, password: str | None = None) -> None:
        self.port = free_port()
        self.password = password
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._options = options
        self.process: subprocess.Popen[bytes] = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                tied(
                    servers.choose().path, *self._options, "--port", str(self.port), "--bind", "127.0.0.1",
                    "--dir", str(self.folder), "--daemonize", "no",
                ),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
            )  # fmt: skip

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def client(self) -> Redis:
        return Redis(port=self.port, password=self.password, socket_timeout=15, decode_responses=True)

    def ask(self, *command: str | int) -> Any:
        with self.client() as client:
            return client.execute_command(*command)

    def role(self) -> str:
        return str(self.ask("ROLE")[0])

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()


@contextmanager
def server(*options: str, password: str | None = None) -> Iterator[Server]:
    """A server that keeps nothing, ready."""
    folder = Path(tempfile.mkdtemp(prefix="iogate-"))
    guarded = ("--requirepass", password, "--masterauth", password) if password else ()
    started = Server(folder, "--save", "", *guarded, *options, password=password)
    try:
        poll(lambda: started.ask("PING"))
        yield started
    finally:
        started.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def pair(*, password: str | None = None) -> Iterator[tuple[Server, Server]]:
    """A primary and its replica, in step."""
    with ExitStack() as stack:
        primary = stack.enter_context(server("--repl-diskless-sync-delay", "0", password=password))
        following = ("--replicaof", "127.0.0.1", str(primary.port))
        replica = stack.enter_context(server(*following, password=password))
        in_step(primary)
        yield primary, replica


def in_step(primary: Server, replicas: int = 1) -> None:
    """Wait until replicas are connected and have everything."""

    def connected() -> bool:
        with primary.client() as client:
            client.set("step", "1")
            return int(client.execute_command("WAIT", replicas, 100)) >= replicas

    poll(connected)


class Sentinels:
    """Three sentinels that watch a primary; quorum two."""

    def __init__(
        self,
        folder: Path,
        primary: int,
        *,
        down_ms: int = 500,
        password: str | None = None,
        own: str | None = None,
    ) -> None:
        """Start them: `password` is the store's, `own` that of the sentinels."""
        self.servers: list[Server] = []
        self._credentials = (f":{password}@" if password else "", f"?sentinel_password={own}" if own else "")
        for number in range(3):
            at = folder / f"sentinel-{number}"
            at.mkdir(parents=True)
            (at / "sentinel.conf").write_text(
                f"sentinel monitor {NAME} 127.0.0.1 {primary} 2\n"
                f"sentinel down-after-milliseconds {NAME} {down_ms}\n"
                f"sentinel failover-timeout {NAME} 2000\n"
                + (f"sentinel auth-pass {NAME} {password}\n" if password else "")
                + (f"requirepass {own}\nsentinel sentinel-pass {own}\n" if own else "")
            )
            self.servers.append(Server(at, str(at / "sentinel.conf"), "--sentinel", password=own))

    def ready(self, replicas: int = 1) -> None:
        """Wait until each knows the others and the replicas."""
        poll(lambda: all(self._knows(each, replicas) for each in self.servers))

    @staticmethod
    def _knows(sentinel: Server, wanted: int) -> bool:
        reply = sentinel.ask("SENTINEL", "MASTER", NAME)
        told = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=False))
        replicas, others = told.get("num-slaves"), told.get("num-other-sentinels")
        return int(replicas or 0) >= wanted and int(others or 0) >= 2

    def url(self, ports: list[int] | None = None) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports or [each.port for each in self.servers])
        user, query = self._credentials
        return f"redis+sentinel://{user}{hosts}/{NAME}{query}"

    def stop(self) -> None:
        for each in self.servers:
            each.kill()


@contextmanager
def watched_pair(
    *, down_ms: int = 500, password: str | None = None, own: str | None = None
) -> Iterator[tuple[Server, Server, Sentinels]]:
    """A primary, its replica and three sentinels."""
    folder = Path(tempfile.mkdtemp(prefix="iogate-"))
    with pair(password=password) as (primary, replica):
        sentinels = Sentinels(folder, primary.port, down_ms=down_ms, password=password, own=own)
        try:
            sentinels.ready()
            yield primary, replica, sentinels
        finally:
            sentinels.stop()
            shutil.rmtree(folder, ignore_errors=True)


class Proxy:
    """A TCP proxy. `forget` swallows what existing connections send, as a middlebox does that lost its state.

    `blocks`: decides by the first bytes of a connection whether it belongs to those that `cut` cuts off.
    """

    def __init__(self, target: int, *, blocks: Callable[[bytes], bool] = lambda _: True) -> None:
        self.target = target
        self.accepted = 0
        self._blocks = blocks
        self._forgotten: set[int] = set()
        self._kinds: dict[int, bool] = {}
        self._cut = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()

    def forget(self) -> None:
        """Drop what goes over the connections of this moment, without a word to either side."""
        self._forgotten |= set(range(1, self.accepted + 1))

    def cut(self) -> None:
        """Hold up the connections that `blocks` chooses, new ones too, until `heal`, as a network does."""
        self._cut = True

    def heal(self) -> None:
        self._cut = False

    async def _passes(self, number: int) -> bool:
        """Tell whether the connection is remembered, once it is not held up."""
        while self._cut and self._kinds.get(number, False):
            await asyncio.sleep(0.02)
        return number not in self._forgotten

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        number = self.accepted
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            first = await reader.read(1 << 16)
            self._kinds[number] = self._blocks(first)
            await self._passes(number)
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(back)
            back.write(first)
            both = [self._pump(number, reader, back), self._pump(number, there, writer)]
            pumps = [asyncio.create_task(each) for each in both]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
                back.close()
        except (OSError, asyncio.CancelledError):
            pass  # the stream's own callback reports a task that was cancelled
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _pump(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if await self._passes(number):
                    writer.write(data)
                    await writer.drain()
