"""A running `iogate up` whose processes can be found and killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Kind = Literal["worker", "parent", "gateway", "store"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


class Site:
    """One project folder and the `up` that serves it; `up` is started again by `ensure_parent`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.parent: subprocess.Popen[bytes] | None = None
        self.store_pids: set[int] = set()

    def ensure_parent(self) -> None:
        if self.parent is None or self.parent.poll() is not None:
            with (self.folder / "up.log").open("ab") as log:
                self.parent = subprocess.Popen(
                    [sys.executable, "-m", "iogate", "-C", str(self.folder), "up"],
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                )

    def pids(self, kind: Kind) -> list[int]:
        """Live processes of that kind that belong to this site."""
        if self.parent is None:
            return []
        if kind == "parent":
            return [self.parent.pid] if self.parent.poll() is None else []
        everyone = list(_processes())
        family = {self.parent.pid}
        while True:
            more = {pid for pid, parent, _ in everyone if parent in family} - family
            if not more:
                break
            family |= more
        mark = {"worker": "iogate.worker", "gateway": "iogate.gateway", "store": "redis-server"}[kind]
        found = [
            pid
            for pid, _, command in everyone
            if mark in command and (pid in family or (kind == "store" and self._is_ours(pid)))
        ]
        if kind == "store":
            self.store_pids.update(found)
        return found

    def _is_ours(self, pid: int) -> bool:
        """A store that outlived its parent still works in the site's folder."""
        try:
            return str(self.folder) in str(Path(f"/proc/{pid}/cwd").readlink())
        except OSError:
            return False

    def kill(self, kind: Kind, choose: int) -> int | None:
        """SIGKILL one process of that kind; its pid, or None where none was alive."""
        found = sorted(self.pids(kind))
        if not found:
            return None
        pid = found[choose % len(found)]
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return None
        return pid

    async def stop(self) -> None:
        """End `up` as a person would, and what outlived it."""
        self.pids("store")
        if self.parent is not None and self.parent.poll() is None:
            self.parent.send_signal(signal.SIGTERM)
            deadline = asyncio.get_running_loop().time() + 40
            while self.parent.poll() is None and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.05)
            if self.parent.poll() is None:
                self.parent.kill()
                self.parent.wait()
        for pid in self.store_pids:
            if self._is_ours(pid):
                os.kill(pid, signal.SIGKILL)
