"""The processes that are measured: one Redis with `appendfsync always`, and who uses it."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from redis import Redis

from iogate.store.embedded.server import start_embedded
from tests.keys import LINK_KEY

CHECKOUT = Path(__file__).parent.parent
TOKEN = "iog_benchmark"
BODY = '{"sku":"A-1","quantity":3}'


def arguments_of(name: str, description: str | None) -> argparse.ArgumentParser:
    """Parser of the arguments of `python -m bench NAME`."""
    return argparse.ArgumentParser(
        prog=f"python -m bench {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


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


def status(port: int, path: str) -> int:
    """Status of the response to a GET request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def load(
    port: int,
    path: str,
    *,
    seconds: float,
    requests: int | None = None,
    connections: int = 64,
    headers: Sequence[str] = (f"token: {TOKEN}",),
) -> dict[str, Any]:
    """Call `path` for some time or so often; raises RuntimeError if a response has another status.

    `{number}` in a header is another number in each request.
    """
    command = [
        sys.executable, "-m", "bench.load", "--port", str(port), "--path", path,
        "--body", BODY, "--seconds", str(seconds), "--connections", str(connections),
    ]  # fmt: skip
    command += [f"--header={header}" for header in headers]
    if requests is not None:
        command += ["--requests", str(requests)]
    done = subprocess.run(command, check=True, capture_output=True, cwd=CHECKOUT)
    result: dict[str, Any] = json.loads(done.stdout)
    if result["bad"]:
        raise RuntimeError(f"{path} answered otherwise: {result['bad']}")
    return result


def processor_s(pid: int) -> float:
    """Return the processor time that a process and its children have used, in seconds; Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    return used + sum(processor_s(int(child)) for child in children)


@contextlib.contextmanager
def process(
    command: list[str], environment: Mapping[str, str], log: Path, folder: Path = CHECKOUT
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended, politely first, when the block is left."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
            cwd=folder,
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
    """Both sides on one store; iogate itself runs from `checkout`, this one unless told."""

    def __init__(self, folder: Path, store: Redis, checkout: Path | None = None) -> None:
        self.folder = folder
        self.checkout = checkout or CHECKOUT
        self._python = sys.executable if checkout is None else str(checkout / ".venv" / "bin" / "python")
        self.store = store
        self.gateway_pid = 0
        """Process that has started the last gateway."""
        url = f"unix://{store.connection_pool.connection_kwargs['path']}"
        self.environment = {
            "BENCH_TOKEN": TOKEN,
            "BENCH_REDIS": url,
            "IOGATE_REDIS_URL": url,
            "IOGATE_LINK_KEY": LINK_KEY,
            "IOGATE_DATA_DIR": str(folder / "data"),
        }

    def iogate(self, *arguments: str) -> list[str]:
        return [self._python, "-m", "iogate", "-C", str(self.checkout / "bench" / "project"), *arguments]

    def apply(self) -> None:
        environment = {**os.environ, **self.environment}
        for options in (("--yes",), ()):  # an earlier release does not know the option
            ran = subprocess.run(
                self.iogate("apply", *options),
                check=False,
                env=environment,
                cwd=self.checkout,
                capture_output=True,
            )
            if not ran.returncode:
                return
        ran.check_returncode()

    @contextlib.contextmanager
    def gateway(self) -> Iterator[int]:
        port = free_port()
        environment = {**self.environment, "IOGATE_PORT": str(port)}
        with process(
            self.iogate("serve"), environment, self.folder / "gateway.log", self.checkout
        ) as started:
            wait_for(lambda: status(port, "/health/ready") == 200, "gateway is ready")
            self.gateway_pid = started.pid
            yield port

    def used_s(self, pid: int) -> tuple[float, float]:
        """Return the processor time that the store and the process `pid` have used, in seconds."""
        used = self.store.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"]), processor_s(pid)

    @contextlib.contextmanager
    def endpoint(self) -> Iterator[int]:
        port = free_port()
        command = [
            sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port),
            "--no-access-log", "--log-level", "warning", "bench.peer:app",
        ]  # fmt: skip
        with process(command, self.environment, self.folder / "endpoint.log"):
            wait_for(lambda: status(port, "/noop") == 405, "endpoint responds")
            yield port

    def worker(self) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        return process(self.iogate("worker"), self.environment, self.folder / "worker.log", self.checkout)

    def simple_worker(self) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        command = [
            sys.executable, "-m", "rq.cli", "worker", "--url", self.environment["BENCH_REDIS"],
            "--worker-class", "rq.worker.SimpleWorker", "--quiet", "peer",
        ]  # fmt: skip
        return process(command, self.environment, self.folder / "simple-worker.log")
