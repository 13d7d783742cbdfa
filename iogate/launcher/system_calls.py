"""System calls that Python's standard library lacks; Linux only.

Used by `confinement`, `keeper` and `server`. Each raises OSError with the name of the call as file name.
"""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Any, Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38

NEWNS: Final = 0x00020000
NEWIPC: Final = 0x08000000
NEWUSER: Final = 0x10000000
NEWPID: Final = 0x20000000
NEWNET: Final = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18

_MNT_DETACH: Final = 2
_AT_RECURSIVE: Final = 0x8000
_AT_FDCWD: Final = -100
_ATTR_RDONLY, _ATTR_NOSUID = 1, 2
_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR: Final = 442

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(name: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def prctl(option: int, value: int) -> None:
    """Call the kernel to set an attribute of this process (prctl(2))."""
    _checked("prctl", _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def unshare(flags: int) -> None:
    """Call the kernel to move this process or its children to new namespaces (unshare(2))."""
    _checked("unshare", _libc.unshare(flags))


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """Call the kernel to mount a file system (mount(2))."""

    def encoded(text: str | None) -> bytes | None:
        return None if text is None else os.fsencode(text)

    arguments: tuple[Any, ...] = (encoded(source), encoded(target), encoded(kind), ctypes.c_ulong(flags))
    _checked(f"mount of {target}", _libc.mount(*arguments, encoded(data)))


def set_read_only(path: str) -> None:
    """Call the kernel to make mounts at and below a path read-only, without set-user-id bits."""
    attributes = (ctypes.c_uint64 * 4)(_ATTR_RDONLY | _ATTR_NOSUID, 0, 0, 0)
    result = _libc.syscall(
        _MOUNT_SETATTR, _AT_FDCWD, os.fsencode(path), _AT_RECURSIVE, ctypes.byref(attributes), 32
    )
    _checked("mount_setattr", result)


def enter_root(path: str) -> None:
    """Call the kernel to make a mount the root, and unmount the old one. Raises OSError."""
    number = _PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise OSError(38, f"not known on {platform.machine()}", "pivot_root")
    os.chdir(path)
    _checked("pivot_root", _libc.syscall(number, b".", b"."))
    _checked("umount2", _libc.umount2(b".", _MNT_DETACH))
    os.chdir("/")
