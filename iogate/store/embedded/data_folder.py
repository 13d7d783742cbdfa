"""Files of the embedded store: record of the server, checks before the start, and backup.

Used by `server` while it holds the lock of the folder. Invariant: a folder is opened only by a server that
can read its files: the same kind and at least as new, or Valkey for files of Redis up to 7.2, from which
Valkey was forked. Any other server would start empty. The files are copied before a newer server opens them.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote

from iogate.atomic_files import write_atomically
from iogate.errors import Unreachable, WrongStore
from iogate.store.embedded import binaries as servers
from iogate.store.embedded.binaries import Server

log = logging.getLogger(__name__)

RECORD = "server.json"
LOGS = "appendonlydir"
"""Append-only files and their manifest, since Redis 7."""
MANIFEST = "appendonly.aof.manifest"
OLD_LOG = "appendonly.aof"
"""The append-only file of Redis 6.2."""
LOG_BYTES = 64 * 1024
ZEROS_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Record:
    """Last server of a folder; `opened` is set once it has served from there."""

    server: Server
    opened: bool


def make(folder: Path) -> None:
    """Create the data folder, which only this user can read.

    Raises Unreachable if it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except NotADirectoryError as error:
        # A parent is a file. The error names the folder below it, but the user needs the name of the file.
        file = next(parent for parent in folder.parents if parent.exists())
        raise _unwritable(file, error.errno or 0) from None
    except OSError as error:
        raise _unwritable(error.filename or folder, error.errno or 0) from None
    for path in (folder, folder / "lock"):
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            read_only = os.statvfs(path).f_flag & os.ST_RDONLY
            raise _unwritable(path, errno.EROFS if read_only else errno.EACCES)


def has_store(data_dir: Path) -> bool:
    """Tell whether a data folder has an embedded store, running or not; True if this user may not look."""
    try:
        return stat.S_ISDIR((data_dir / "redis").stat().st_mode)
    except PermissionError:
        return True
    except OSError:
        return False


@contextlib.contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Report a data folder that this user may not read. Raises Unreachable in place of PermissionError."""
    try:
        yield
    except PermissionError as error:
        raise Unreachable(
            f"{folder} is not readable: {os.strerror(error.errno or errno.EACCES)}",
            code="IOG628",
            hint="run as the owner of this path, or use another store or a server: redis_url, --profile",
        ) from None


def _unwritable(path: object, reason: int) -> Unreachable:
    return Unreachable(
        f"{path} is not writable: {os.strerror(reason)}",
        code="IOG628",
        hint="run as the owner of this path, or set data_dir",
    )


def read_record(folder: Path) -> Record | None:
    """Return the record of `folder`, None for a new folder.

    Raises WrongStore if the record cannot be read.
    """
    try:
        stored = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        server = Server(kind=stored["kind"], version=stored["version"], path=stored["path"])
        # Earlier releases wrote no flag, and wrote the record only after a successful start.
        return Record(server=server, opened=bool(stored.get("opened", True)))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise WrongStore(
            f"{folder / RECORD}, which names the server of the folder, cannot be read",
            code="IOG621",
            hint="restore it from a backup, or set data_dir to another folder",
        ) from None


def write_record(folder: Path, server: Server, *, opened: bool) -> None:
    """Record that `server` opens the folder; an unchanged record is not written, as the disk may be full."""
    before = read_record(folder)
    after = Record(server=server, opened=opened or (before is not None and before.opened))
    if before == after:
        return
    text = json.dumps({**asdict(server), "opened": after.opened}) + "\n"
    write_atomically(folder / RECORD, text, sync=True)


def choose_for(folder: Path, named: str | None = None) -> Server:
    """Return the first server that reads the files in `folder`; `named` is the setting `store_server`.

    Raises WrongStore if no server of this machine does, Unreachable if there is no server.
    """
    record = read_record(folder)
    if record is None:
        return servers.choose(named)
    writer = record.server
    inspected = [servers.inspect(binary) for binary in servers.candidates(named)]
    there = [server for server in inspected if server is not None]
    fitting = [server for server in there if server.reads(writer)]
    if fitting:
        return fitting[0]
    if not there:
        return servers.choose(named)
    have = ", ".join(str(server) for server in there)
    raise WrongStore(
        f"{folder} was written by {writer}; the servers of this machine are older or different ({have}) "
        "and would open it as empty",
        code="IOG621",
        hint=f"install {writer.kind} {writer.version} or later, or set data_dir to another folder",
    )


def prepare(folder: Path, server: Server) -> None:
    """Check the data files in `folder`, copy them if another release wrote them, then record `server`.

    Raises WrongStore if `server` would start empty, Unreachable if the copy fails.
    """
    record = read_record(folder)
    check_files(folder, record)
    if record is not None and record.server.series != server.series:
        back_up(folder, record.server, server)
    # Before the server writes files, because any server may open a folder without a record.
    write_record(folder, server, opened=False)


def check_files(folder: Path, record: Record | None) -> None:
    """Check that no append-only file is missing, because the server would start without it.

    Raises WrongStore if one is missing.
    """
    if record is not None and not record.opened:
        return  # after an interrupted first start: the server writes files before their manifest
    logs = folder / LOGS
    manifest = logs / MANIFEST
    if any(logs.glob("*.aof")) or any(logs.glob("*.rdb")):
        named = [name for name in _named(manifest) if not (logs / name).exists()]
        if named:
            raise _incomplete(f"{logs} lacks {named[0]}, which {MANIFEST} names")
        if not any(_named(manifest)):
            state = "is empty" if manifest.exists() else "is missing"
            raise _incomplete(f"{manifest} {state}, but append-only files exist beside it")
    elif record is not None and not (folder / OLD_LOG).exists():
        raise _incomplete(f"{folder} was in use, but its append-only files are missing")


def back_up(folder: Path, writer: Server, server: Server) -> Path:
    """Copy the data files of `writer` to a folder beside this one, and return its path.

    Raises Unreachable if the copy fails.
    """
    copy = folder.parent / f"backup-{writer.kind}-{writer.version}"
    unfinished = copy.with_name(f"{copy.name}.new")
    size = sum(path.stat().st_size for path in _files(folder))
    log.info(
        "the store was written by %s: its files are copied to %s before %s opens them",
        writer,
        copy,
        server,
        extra={"action": "store.backup", "bytes": size},
    )
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        for path in _files(folder):
            target = unfinished / path.relative_to(folder)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            shutil.copy2(path, target)
            _sync(target)
        # The record still names the old server, so the folder is newer than an existing copy.
        shutil.rmtree(copy, ignore_errors=True)
        unfinished.replace(copy)
        _sync(folder.parent)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise Unreachable(
            f"the store in {folder} was written by {writer}, and its files ({size} bytes) cannot be copied "
            f"to {copy} before {server} opens them: {error.strerror or error}",
            code="IOG625",
            hint=f"make room there, or name a server of {writer.kind} {writer.release_text} in store_server",
        ) from None
    return copy


def damage(folder: Path, server: Server, begins: int) -> Unreachable | None:
    """Return the error of a damaged data file, if the log of `server` reports one from `begins` on."""
    try:
        with (folder / "server.log").open("rb") as output:
            output.seek(begins)
            logged = output.read(LOG_BYTES).decode(errors="replace")
    except OSError:
        return None
    if "Bad file format reading the append only file" not in logged:
        return None
    logs = [path for path in (folder / OLD_LOG, *sorted((folder / LOGS).glob("*.incr.aof"))) if path.exists()]
    if not logs:
        return None
    last = max(logs, key=lambda path: path.stat().st_mtime)
    zeros = _zeros_at_end(last)
    fault = f"ends in {zeros} zero bytes, probably after a power failure" if zeros else "is damaged"
    # The file, not its manifest, because the tool of Valkey 9.1 does not know Valkey's own base files.
    check = f"(exec -a {server.kind}-check-aof {quote(server.path)} --fix {quote(str(last))})"
    # Zero bytes were never acknowledged; behind another damage there may be calls that were.
    loss = "" if zeros else ", with all calls behind the damaged place; compare with a backup before"
    return Unreachable(
        f"{server} cannot read its append-only file: {last} {fault}",
        code="IOG627",
        hint=f"copy {folder} first, then truncate the damaged end{loss}: {check}",
    )


def _zeros_at_end(path: Path) -> int:
    """Return the number of zero bytes at the end of a data file, up to ZEROS_BYTES."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - ZEROS_BYTES))
        tail = file.read()
    return len(tail) - len(tail.rstrip(b"\0"))


def _files(folder: Path) -> Iterator[Path]:
    """Yield the data files of a folder, and the record of its server."""
    for name in (RECORD, OLD_LOG, "dump.rdb"):
        if (folder / name).is_file():
            yield folder / name
    yield from sorted(path for path in (folder / LOGS).glob("*") if path.is_file())


def _named(manifest: Path) -> Iterator[str]:
    """Yield the data files that a manifest names, base and incremental; history files may be missing."""
    try:
        text = manifest.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        words = line.split()
        # Pairs of a name and a value: newer servers write further ones, such as `startoffset`.
        entry = dict(zip(words[::2], words[1::2], strict=False))
        if "file" in entry and entry.get("type") in {"b", "i"}:
            yield entry["file"]


def _incomplete(fault: str) -> WrongStore:
    return WrongStore(
        f"{fault}: a server would start without their runs",
        code="IOG626",
        hint="restore the folder from a backup; to begin without any run, move it away",
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
