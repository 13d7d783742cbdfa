"""Limits and confinement of a process, applied between its fork and its exec.

Called by `keeper`. Invariant: if the system refuses a step, OSError is raised and the process is not started:
a confinement is never weaker than requested.

    none       limits, no new privileges
    user       as `none`, as another user
    sandbox    as `none`, in separate namespaces: no network, no other processes, a read-only root with the
               system's programs and the project, and one writable folder
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from iogate.launcher import system_calls

FILES: Final = 1024
USER_PROCESSES: Final = 4096
"""Limit of processes of the whole user: stops a fork bomb, not regular work."""
SLACK: Final = 4
"""Processes of the launcher in the user namespace of a sandbox."""
CPU_GRACE_S: Final = 5

_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix")
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")


def set_limits(limits: dict[str, int], *, alone: bool) -> None:
    """Confine this process by resource limits, except that of processor time.

    `alone`: its user namespace has no other processes.
    """
    processes = limits.get("processes")
    wanted = {
        "RLIMIT_CORE": 0,  # a core file would hold secrets
        "RLIMIT_NOFILE": FILES,
        "RLIMIT_NPROC": processes + SLACK if alone and processes else max(USER_PROCESSES, processes or 0),
        "RLIMIT_DATA": limits.get("memory"),
        "RLIMIT_FSIZE": limits.get("file"),
    }
    for name, value in wanted.items():
        kind = getattr(resource, name, None)
        if kind is None or value is None:
            continue
        hard = resource.getrlimit(kind)[1]
        soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with suppress(OSError, ValueError):  # macOS lacks some of these limits
            resource.setrlimit(kind, (soft, soft))


def limit_processor_time(limits: dict[str, int], pid: int = 0) -> None:
    """Confine a process, by default this one, by a limit of processor time; its later children inherit it."""
    wanted = _processor_time(limits)
    if wanted is None:
        return
    if sys.platform == "linux":
        with suppress(OSError):  # it has ended
            resource.prlimit(pid, resource.RLIMIT_CPU, wanted)
    elif pid == 0:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CPU, wanted)


@contextmanager
def lent_processor_time(limits: dict[str, int]) -> Iterator[None]:
    """Confine a child that is started meanwhile, and not this process, by a soft limit of processor time.

    This process could not raise its hard limit again; `limit_processor_time` sets that of the child. Systems
    other than Linux set no limits of another process: there this process keeps those of its child.
    """
    wanted, own = _processor_time(limits), resource.getrlimit(resource.RLIMIT_CPU)
    if wanted is None:
        yield
    elif sys.platform != "linux":
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CPU, wanted)
        yield
    else:
        resource.setrlimit(resource.RLIMIT_CPU, (wanted[0], own[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_CPU, own)


def _processor_time(limits: dict[str, int]) -> tuple[int, int] | None:
    """Return the soft and the hard limit of processor time in seconds; None without a limit."""
    value, hard = limits.get("cpu"), resource.getrlimit(resource.RLIMIT_CPU)[1]
    if value is None:
        return None
    if hard == resource.RLIM_INFINITY:
        return value, value + CPU_GRACE_S
    return min(value, hard), min(value + CPU_GRACE_S, hard)


def forbid_new_privileges() -> None:
    """Confine this process and its children: no privileges by exec. Raises OSError."""
    if sys.platform == "linux":
        system_calls.prctl(system_calls.PR_SET_NO_NEW_PRIVS, 1)


def switch_user(user: Sequence[int]) -> None:
    """Confine this process irrevocably to a user, given as uid and gid. Raises OSError."""
    uid, gid = user
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def unshare_pids(*, as_user: bool) -> None:
    """Confine the children to a new PID namespace; without `as_user`, also to a user namespace.

    There the user of this process has no capabilities. Raises OSError.
    """
    if as_user:
        system_calls.unshare(system_calls.NEWPID)
        return
    uid, gid = os.geteuid(), os.getegid()
    system_calls.unshare(system_calls.NEWUSER | system_calls.NEWPID)
    inside_uid, inside_gid = uid or 65534, gid or 65534
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside_uid} {uid} 1"),
        ("gid_map", f"{inside_gid} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def enter_sandbox(sandbox: dict[str, Any]) -> None:
    """Confine this process, the first of its PID namespace, to its own root folder without network.

    `root`: an empty folder to mount on; `scratch`: the writable folder; `visible`: further folders in the
    sandbox; `hidden`: files and folders in them that appear empty; `file`: size of /dev/shm in bytes. Raises
    OSError.
    """
    system_calls.unshare(system_calls.NEWNS | system_calls.NEWNET | system_calls.NEWIPC)
    system_calls.mount(None, "/", None, system_calls.MS_REC | system_calls.MS_PRIVATE)
    root = sandbox["root"]
    system_calls.mount(
        "tmpfs", root, "tmpfs", system_calls.MS_NOSUID | system_calls.MS_NODEV, "size=1m,mode=755"
    )
    for path in (*_SYSTEM, *sandbox["visible"]):
        _show(root, path)
    for path in sandbox["hidden"]:
        _hide(root, path)
    os.makedirs(f"{root}/dev/shm")
    for name in _DEVICES:
        if os.path.exists(f"/dev/{name}"):
            _bind(f"/dev/{name}", f"{root}/dev/{name}")
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"{root}/dev/{name}")
    for path in ("/proc", "/tmp", sandbox["scratch"]):
        os.makedirs(root + path, exist_ok=True)
    system_calls.set_read_only(root)
    flags = system_calls.MS_NOSUID | system_calls.MS_NODEV
    system_calls.mount("tmpfs", f"{root}/dev/shm", "tmpfs", flags, f"size={sandbox['file']},mode=1777")
    with suppress(OSError):  # the sandbox has no /proc if that of the system is masked
        system_calls.mount("proc", f"{root}/proc", "proc", flags | system_calls.MS_NOEXEC)
    system_calls.mount(sandbox["scratch"], root + sandbox["scratch"], None, system_calls.MS_BIND)
    system_calls.enter_root(root)


def _show(root: str, path: str) -> None:
    """Bind a folder under the root of a confined process, or copy a link; skip a missing path."""
    target = root + path
    if os.path.lexists(target) or not os.path.lexists(path):
        return
    if os.path.islink(path):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.symlink(os.readlink(path), target)
    elif os.path.isdir(path):
        os.makedirs(target)
        system_calls.mount(path, target, None, system_calls.MS_BIND | system_calls.MS_REC)


def _hide(root: str, path: str) -> None:
    target = root + path
    if os.path.isdir(target):
        system_calls.mount(
            "tmpfs", target, "tmpfs", system_calls.MS_NOSUID | system_calls.MS_NODEV, "size=0,mode=755"
        )
    elif os.path.exists(target):
        system_calls.mount("/dev/null", target, None, system_calls.MS_BIND)


def _bind(source: str, target: str) -> None:
    os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o666))
    system_calls.mount(source, target, None, system_calls.MS_BIND)
