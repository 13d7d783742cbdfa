"""A running `iogate up` whose processes can be found, frozen and killed, and whose own exits are noticed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from iogate.supervision.heartbeat import IDENTITY

Kind = Literal["worker", "parent", "gateway", "store"]

MARKS = {"worker": "iogate.worker", "gateway": "iogate.gateway", "store": "-server"}
TAIL = 4_000


def _processes() -> Iterator[tuple[int, int, str]]:
    """(pid, parent's pid, command line) of every process that can be read."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        fields = stat[stat.rindex(")") + 2 :].split()
        if fields[0] != "Z":
            yield int(entry.name), int(fields[1]), command


def identity_of(pid: int) -> str:
    """The name under which a worker or gateway is known to the store; empty where it cannot be read."""
    try:
        pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    mark = f"{IDENTITY}=".encode()
    return next((pair[len(mark) :].decode() for pair in pairs if pair.startswith(mark)), "")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """An `up` that ended without being told to."""

    code: int
    log: str


class Site:
    """One project folder and the `up` that serves it; `up` is started again by `ensure_parent`.

    `server`: binary of the store, instead of the bundled one.
    """

    def __init__(self, folder: Path, port: int, *, server: str | None = None) -> None:
        self.folder = folder
        self.port = port
        self.parent: subprocess.Popen[bytes] | None = None
        self.ended: list[Ended] = []
        self._told_to_end = False
        self._environment = {**os.environ, **({"IOGATE_STORE_SERVER": server} if server else {})}

    @property
    def log(self) -> Path:
        return self.folder / "up.log"

    def ensure_parent(self) -> None:
        """Start `up` where none runs; one that ended by itself is put on record."""
        parent = self.parent
        if parent is not None:
            code = parent.poll()
            if code is None:
                return
            if not self._told_to_end:
                self.ended.append(Ended(code=code, log=self.log.read_text()[-TAIL:]))
        self._told_to_end = False
        with self.log.open("ab") as log:
            self.parent = subprocess.Popen(
                [sys.executable, "-m", "iogate", "-C", str(self.folder), "up"],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self._environment,
            )

    async def keep(self) -> None:
        """What an init system does: start `up` again whenever it is gone, until cancelled."""
        while True:
            self.ensure_parent()
            await asyncio.sleep(0.05)

    def pids(self, kind: Kind) -> list[int]:
        """Live processes of that kind that belong to this site."""
        if kind == "parent":
            return [self.parent.pid] if self.parent is not None and self.parent.poll() is None else []
        return sorted(pid for pid, command in self._ours() if MARKS[kind] in command)

    def left(self) -> list[str]:
        """The command lines of all that runs in the site's folder."""
        return [command for _, command in self._ours()]

    def kill(self, kind: Kind, choose: int, number: signal.Signals = signal.SIGKILL) -> int | None:
        """Send a signal to one process of that kind; its pid, or None where none was alive."""
        found = self.pids(kind)
        if not found:
            return None
        pid = found[choose % len(found)]
        if kind == "parent":
            self._told_to_end = True
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return None
        if kind == "parent" and self.parent is not None:
            self.parent.wait()
        return pid

    async def stop(self) -> None:
        """End `up` as a person would, and what outlived it."""
        self._told_to_end = True
        if self.parent is not None and self.parent.poll() is None:
            self.parent.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(self.parent.wait, 40)
            except subprocess.TimeoutExpired:
                self.parent.kill()
                self.parent.wait()

    def sweep(self) -> None:
        """Kill what is left."""
        for pid, _ in list(self._ours()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _ours(self) -> Iterator[tuple[int, str]]:
        """All but the parent: whoever started them, they work in the site's folder."""
        for pid, _, command in _processes():
            if self.parent is not None and pid == self.parent.pid:
                continue
            try:
                where = Path(f"/proc/{pid}/cwd").readlink()
            except OSError:
                continue
            if where == self.folder or self.folder in where.parents:
                yield pid, command
