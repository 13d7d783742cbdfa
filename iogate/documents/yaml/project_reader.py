"""Reading of all files of a project, of many files also in other processes.

Called by the loader, and before it by commands, which import the models while other processes read. Each
process takes the number of the next part of the files from a pipe until it is empty, and returns texts and
data. Invariant: the readings are those of this process alone. Files with a fault are read here, and so are
those of a process that has died.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from iogate.documents.yaml.project_files import project_files
from iogate.documents.yaml.reader import Reading, from_data, read_file, read_text
from iogate.documents.yaml.source import Source

FEWEST: Final = 128
"""Files for which a second process is worth its start."""
_FILES_PER_PROCESS: Final = 1_000
_MOST_PROCESSES: Final = 4
_MOST_PARTS: Final = 256
"""The numbers of the parts are bytes."""


class ProjectReader:
    """Reader of a project's files, or of the files and folders given.

    `edited` has texts to read instead of files, by the names of these files in problems.
    """

    def __init__(
        self, root: Path, paths: Sequence[Path] | None = None, edited: Mapping[str, str] | None = None
    ) -> None:
        self.unreadable: list[OSError] = []
        """Errors of folders that cannot be listed."""
        self._files = project_files(root, paths, self.unreadable.append)
        self._edited = edited or {}
        self._size = -(-len(self._files) // _MOST_PARTS)
        """Files of one part."""
        self._parts = -1
        """Pipe with the numbers of the parts that no process has taken; -1 without other processes."""
        self._results: dict[int, int] = {}
        """Pipe of each other process, by its id."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes that still read files; their results are not needed."""
        for process, pipe in self._results.items():
            os.close(pipe)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            _reap(process)
        self._results.clear()
        if self._parts >= 0:
            os.close(self._parts)
            self._parts = -1

    def start(self) -> Self:
        """Start other processes that read files of the project, if there are many files and processors."""
        count = min(_spare_processors(), _MOST_PROCESSES, 1 + len(self._files) // _FILES_PER_PROCESS)
        if len(self._files) < FEWEST or count < 1 or not _may_fork():
            return self
        self._parts, numbers = os.pipe()
        os.write(numbers, bytes(range(-(-len(self._files) // self._size))))
        os.close(numbers)
        for _ in range(count):
            output, results = os.pipe()
            process = os.fork()
            if not process:
                self._serve(results)
            os.close(results)
            self._results[process] = output
        return self

    def readings(self) -> Iterator[Reading]:
        """Yield the reading of each project file, in the order of the files."""
        found: dict[int, Reading] = {}
        if self._parts >= 0:
            for index in self._take():
                found[index] = self._read(index)
            for process, pipe in list(self._results.items()):
                for index, text, data in _received(pipe):
                    found[index] = from_data(Source(path=self._files[index][1], text=text), data)
                del self._results[process]
                _reap(process)
        for index in range(len(self._files)):
            yield found.pop(index) if index in found else self._read(index)

    def _read(self, index: int) -> Reading:
        file, name = self._files[index]
        text = self._edited.get(name)
        return read_file(file, name) if text is None else read_text(text, name)

    def _take(self) -> Iterator[int]:
        """Yield the numbers of the project's files that no other process has taken."""
        while part := os.read(self._parts, 1):
            first = part[0] * self._size
            yield from range(first, min(first + self._size, len(self._files)))

    def _serve(self, results: int) -> None:
        """Read files of the project in a process of their own, which ends here."""
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            gc.disable()
            readings = ((index, self._read(index)) for index in self._take())
            read = [(index, each.source.text, each.data) for index, each in readings if each.has_no_fault]
            with open(results, "wb") as pipe:
                pipe.write(msgspec.msgpack.encode(read))
        finally:
            # Neither buffers of files nor the handlers of this process's end are those of a copy.
            os._exit(0)


def _received(pipe: int) -> list[tuple[int, str, object]]:
    """Return the readings of project files from another process; nothing if it has died."""
    with open(pipe, "rb") as stream:
        raw = stream.read()
    try:
        return msgspec.msgpack.decode(raw, type=list[tuple[int, str, object]])
    except msgspec.DecodeError:
        return []


def _reap(process: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process, 0)


def _spare_processors() -> int:
    return len(os.sched_getaffinity(0)) - 1 if sys.platform == "linux" else 0


def _may_fork() -> bool:
    """Tell whether a fork of this process can read files safely: no other thread may hold a lock."""
    return sys.platform == "linux" and threading.active_count() == 1
