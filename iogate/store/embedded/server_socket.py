"""Path of the embedded server's unix socket, and the lock that says whether the server runs.

Used by `server`. The path of a socket is limited: below a long path, the socket is in a private directory of
the runtime directory, and a file in the folder names it. Invariants: every process finds the socket whatever
its environment; a copy of the folder has another one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from pathlib import Path

from iogate.atomic_files import write_atomically
from iogate.errors import Unreachable, WrongStore

SOCKET_BYTES = 100
"""Maximum length of a unix socket path; some systems allow only 104 bytes."""
SOCKET_RECORD = "socket"
"""File that names the socket and its folder, if the socket is not in the folder."""
LOCK = "lock"


class SocketGone(Unreachable):
    """Error of a running server whose runtime directory was deleted, as at the end of a login session."""

    def __init__(self, folder: Path, socket: Path) -> None:
        super().__init__(
            f"the store in {folder} runs without its socket: {socket.parent.parent}, which "
            f"{folder / SOCKET_RECORD} names, was deleted",
            code="IOG623",
            hint=f"end its process, whose id is in {folder / 'server.log'}, and start it again",
        )


def socket_path(folder: Path, *, starts: bool = False) -> Path:
    """Return the path of the server's socket, in a private runtime directory if the folder's is too long.

    `starts`: this process holds the lock of the folder, and chooses another socket if the runtime directory
    of the recorded one was deleted. Raises SocketGone if a server runs without it, WrongStore if other users
    may write to the directory of the socket.
    """
    path = folder / "redis.sock"
    if len(os.fsencode(path)) <= SOCKET_BYTES:
        return path
    socket = _recorded_socket(folder)
    if socket is not None and not socket.parent.parent.is_dir():
        if not starts:
            if is_locked(folder / LOCK):
                raise SocketGone(folder, socket)
            return socket  # no server runs, and the next one records another socket
        socket = None
    socket = socket or _record_socket(folder)
    socket.parent.mkdir(mode=0o700, exist_ok=True)
    status = socket.parent.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise WrongStore(
            f"{socket.parent} is not private: another user could pose as the store",
            code="IOG622",
            hint=f"remove it, or set data_dir to a path of at most {SOCKET_BYTES - 17} bytes",
        )
    return socket


def _recorded_socket(folder: Path) -> Path | None:
    """Return the embedded server's socket by its file; None without it or for another folder."""
    try:
        text = (folder / SOCKET_RECORD).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    path, _, owner = text.strip().partition("\n")
    # Earlier releases recorded the path only; its directory is named after the path of the folder.
    is_own = owner == _identity(folder) if owner else Path(path).parent.name == _directory_name(str(folder))
    return Path(path) if is_own else None


def _record_socket(folder: Path) -> Path:
    """Choose and record a socket of the embedded server: other processes have other environments.

    The record names its folder, so that a copy of the folder does not use the socket of the original.
    """
    socket = _runtime_socket(folder)
    write_atomically(folder / SOCKET_RECORD, f"{socket}\n{_identity(folder)}\n")
    return socket


def _identity(folder: Path) -> str:
    """Return text for the socket of the embedded server that differs for each folder of this machine.

    It also differs after a rename of the folder.
    """
    status = folder.stat()
    return f"{status.st_dev}:{status.st_ino}"


def _directory_name(owner: str) -> str:
    return f"iogate-{os.getuid()}-{hashlib.sha256(os.fsencode(owner)).hexdigest()[:16]}"


def _runtime_socket(folder: Path) -> Path:
    name = _directory_name(f"{folder}\n{_identity(folder)}")
    bases = [os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"]  # noqa: S108 -- made private
    sockets = [Path(base) / name / "redis.sock" for base in bases if base and Path(base).is_dir()]
    return next((socket for socket in sockets if len(os.fsencode(socket)) <= SOCKET_BYTES), sockets[-1])


def is_locked(path: Path) -> bool:
    """Tell whether a server holds the lock; probes share it, and so do not see each other as servers."""
    if not path.exists():
        return False
    with path.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
