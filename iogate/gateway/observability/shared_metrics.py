"""Sums of the metrics of all gateway processes on one port, for a scrape of any of them.

Used by `__main__` and `observability_routes`, with more than one process. Each process writes a snapshot of
its counts to a folder in `data_dir` every second; memory that all of them map would cost each call a few
microseconds instead. Invariants: a process holds a lock on its file for as long as it lives; the counts of
ended processes are added up in one file, so that no counter decreases while a process of the port lives; the
first process of a port starts at zero.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from iogate.atomic_files import write_atomically
from iogate.gateway.observability.metrics import Snapshot

log = logging.getLogger(__name__)

WRITE_S = 1.0
_ENDED = "ended.json"

_decode = msgspec.json.Decoder(Snapshot).decode


class SharedMetrics:
    """Files with the snapshots of this process and of the others on its port."""

    def __init__(self, folder: Path, snapshot: Callable[[], Snapshot]) -> None:
        self._folder = folder
        self._snapshot = snapshot
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._held: int | None = None
        self._written = b""
        self._failed = False

    async def run(self) -> None:
        """Write a metrics file of this process every second until cancelled, then a last one."""
        try:
            while True:
                await self._write()
                await asyncio.sleep(WRITE_S)
        finally:
            with contextlib.suppress(OSError):
                self._save(msgspec.json.encode(self._snapshot()))

    async def others(self) -> Snapshot:
        """Return the sum of the metrics of all other processes; ended processes contribute counters only."""
        try:
            return await asyncio.to_thread(self._others)
        except OSError as error:
            self._report(error)
            return Snapshot()

    async def _write(self) -> None:
        text = msgspec.json.encode(self._snapshot())
        if text == self._written:
            return
        try:
            await asyncio.to_thread(self._save, text)
        except OSError as error:
            self._report(error)
        else:
            self._written, self._failed = text, False

    def _report(self, error: OSError) -> None:
        if not self._failed:
            self._failed = True
            log.warning(
                "metrics of other gateway processes are missing: %s: %s",
                self._folder,
                error.strerror or error,
                extra={"action": "metrics.unshared"},
            )

    def _save(self, text: bytes) -> None:
        if self._held is None:
            self._join()
        write_atomically(self._folder / f"{self._name}.json", text)

    def _join(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if not any(self._is_alive(name) for name in self._names()):
                for path in self._folder.glob("*.*"):
                    path.unlink(missing_ok=True)
            held = os.open(self._folder / f"{self._name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(held, fcntl.LOCK_EX)
            self._held = held

    def _others(self) -> Snapshot:
        with self._alone():
            ended = self._read(_ENDED) or Snapshot()
            live = Snapshot()
            folded = []
            for name in self._names():
                found = self._read(f"{name}.json") or Snapshot()
                if self._is_alive(name):
                    live.add(found)
                else:
                    ended.add(found.counters())
                    folded.append(name)
            if folded:
                write_atomically(self._folder / _ENDED, msgspec.json.encode(ended))
                for name in folded:
                    for ending in ("json", "lock"):
                        (self._folder / f"{name}.{ending}").unlink(missing_ok=True)
        live.add(ended)
        return live

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from joining the port, and from adding up the same metrics file twice."""
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _names(self) -> list[str]:
        return [path.stem for path in self._folder.glob("*.lock") if path.stem != self._name]

    def _is_alive(self, name: str) -> bool:
        try:
            probe = os.open(self._folder / f"{name}.lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(probe)

    def _read(self, name: str) -> Snapshot | None:
        try:
            return _decode((self._folder / name).read_bytes())
        except (FileNotFoundError, msgspec.DecodeError):
            return None
