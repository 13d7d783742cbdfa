"""The processes that are measured: one Redis with `appendfsync always`, and who uses it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from redis import Redis

from iogate.store.embedded import start_embedded

PROJECT = Path(__file__).parent / "project"
TOKEN = "iog_benchmark"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: object, what: str, limit_s: float = 60.0) -> None:
    """Poll a callable until it is true."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if callable(condition) and condition():
                return
        time.sleep(0.02)
    raise TimeoutError(f"{what} within {limit_s} s")


def listening(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


@contextlib.contextmanager
def process(
    command: list[str], environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended, politely first, when the block is left."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
            cwd=PROJECT.parent.parent,
        )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(40)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[Redis]:
    """The store that `iogate up` starts, `appendfsync always`: both sides write to it."""
    server = start_embedded(folder / "store", appendfsync="always")
    client = Redis.from_url(server.url)
    try:
        yield client
    finally:
        client.close()
        server.stop()


class Site:
    """Both sides on one store."""

    def __init__(self, folder: Path, store: Redis) -> None:
        self.folder = folder
        self.store = store
        url = f"unix://{store.connection_pool.connection_kwargs['path']}"
        self.environment = {
            "BENCH_TOKEN": TOKEN,
            "BENCH_REDIS": url,
            "IOGATE_REDIS_URL": url,
            "IOGATE_DATA_DIR": str(folder / "data"),
        }

    def iogate(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "iogate", "-C", str(PROJECT), *arguments]

    def apply(self) -> None:
        subprocess.run(
            self.iogate("apply"), env={**os.environ, **self.environment}, check=True, capture_output=True
        )

    @contextlib.contextmanager
    def gateway(self) -> Iterator[int]:
        port = free_port()
        environment = {**self.environment, "IOGATE_PORT": str(port)}
        with process(self.iogate("serve"), environment, self.folder / "gateway.log"):
            wait_for(lambda: listening(port), "gateway listens")
            time.sleep(1)
            yield port

    @contextlib.contextmanager
    def endpoint(self) -> Iterator[int]:
        port = free_port()
        command = [
            sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port),
            "--no-access-log", "--log-level", "warning", "bench.peer:app",
        ]  # fmt: skip
        with process(command, self.environment, self.folder / "endpoint.log"):
            wait_for(lambda: listening(port), "endpoint listens")
            time.sleep(1)
            yield port

    def worker(self) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        return process(self.iogate("worker"), self.environment, self.folder / "worker.log")

    def simple_worker(self) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        command = [
            sys.executable, "-m", "rq.cli", "worker", "--url", self.environment["BENCH_REDIS"],
            "--worker-class", "rq.worker.SimpleWorker", "--quiet", "peer",
        ]  # fmt: skip
        return process(command, self.environment, self.folder / "simple-worker.log")
