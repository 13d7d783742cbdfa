"""File with the servers and tokens of `iogate login`, in the user's configuration folder.

Used by `login_commands` and `server_choice`. Invariants: only its owner can read the file, from its creation
on; a file that others can read is refused; no message or representation contains a token.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from iogate.atomic_files import write_atomically
from iogate.errors import Misused, NotFound
from iogate.messages import did_you_mean, listed, quoted

DEFAULT: Final = "default"
"""Name of the profile without `--profile`."""
INVALID: Final = "IOG810"
NO_PROFILE: Final = "IOG811"
SCHEMA: Final = "iogate.logins/v1"

_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,62}", re.ASCII)


def check_name(name: str) -> None:
    """Check the name of a profile for a new login. Raises Misused if it is not a plain word."""
    if _NAME.fullmatch(name) is None:
        raise Misused(f"--profile {quoted(name)}: expected a name of letters, digits, -, _ and .")


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Server and token of a profile."""

    server: str
    token: str
    operator: str
    role: str

    def __repr__(self) -> str:
        return f"Login(server={self.server!r}, operator={self.operator!r}, role={self.role!r})"


class _Content(msgspec.Struct, frozen=True, kw_only=True):
    schema: str = SCHEMA
    current: str | None = None
    """Profile of the last login."""
    profiles: dict[str, Login] = {}


class Logins:
    """The logins of the user, read when they are asked for; a user without a home folder has none."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        base = environment.get("XDG_CONFIG_HOME", "")
        self._path: Path | None = None
        with contextlib.suppress(RuntimeError):  # without HOME and without an account, as in some containers
            home = Path(base) if base.startswith("/") else Path.home() / ".config"
            self._path = home / "iogate" / "logins.json"

    @property
    def path(self) -> Path:
        """File of the logins. Raises Misused for a user without a home folder."""
        if self._path is None:
            raise Misused(
                "there is no place for logins: this user has no home folder",
                code=INVALID,
                hint="set HOME or XDG_CONFIG_HOME, or give the server in IOGATE_SERVER and IOGATE_TOKEN",
            )
        return self._path

    def current(self) -> tuple[str, Login] | None:
        """Return name and content of the profile of the last login; None without one.

        Raises Misused if the file is invalid or not private.
        """
        found = self._read()
        login = found.profiles.get(found.current or "")
        return None if login is None else (str(found.current), login)

    def profile(self, name: str) -> Login:
        """Return the login of a profile.

        Raises NotFound if there is none, Misused if the file is invalid or not private, or has no place.
        """
        profiles = self._read().profiles
        if name not in profiles:
            known = f"known: {listed(map(quoted, profiles))}" if profiles else "there is none yet"
            raise NotFound(
                f"no profile {quoted(name)} in {self.path}{did_you_mean(name, profiles)}",
                code=NO_PROFILE,
                hint=f"{known}; iogate login URL --profile {name} saves one",
            )
        return profiles[name]

    def all(self) -> Mapping[str, Login]:
        """Return all logins by their profiles. Raises Misused as `current` does."""
        return self._read().profiles

    def of_server(self, url: str) -> tuple[str, Login] | None:
        """Return name and content of a profile of exactly this server; None without one.

        Raises Misused as `current` does.
        """
        return next((found for found in self._read().profiles.items() if found[1].server == url), None)

    def save(self, name: str, login: Login) -> None:
        """Save a login, and make its profile the current one.

        Raises Misused if the file is invalid, not private, cannot be written, or has no place.
        """
        found = self._read()
        self._write(_Content(current=name, profiles={**found.profiles, name: login}))

    def remove(self, name: str | None) -> tuple[str, Login]:
        """Remove the login of a profile, by default of the current one, and return it.

        Raises NotFound if there is none, Misused as `save` does.
        """
        found = self._read()
        if name is None:
            if found.current is None:
                raise NotFound(f"no login in {self.path}", code=NO_PROFILE, hint="iogate login URL saves one")
            name = found.current
        login = self.profile(name)
        left = {each: known for each, known in found.profiles.items() if each != name}
        self._write(_Content(current=None if found.current == name else found.current, profiles=left))
        return name, login

    def _read(self) -> _Content:
        if self._path is None:
            return _Content()
        try:
            with self.path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                data = file.read()
        except FileNotFoundError:
            return _Content()
        except OSError as error:
            raise Misused(f"{self.path} cannot be read: {error.strerror}", code=INVALID) from None
        if mode & 0o077:
            raise Misused(
                f"{self.path} has tokens, and others may read or write it (mode {mode:o})",
                code=INVALID,
                hint=f"chmod 600 {self.path}, and replace the tokens if others have an account here",
            )
        try:
            found = msgspec.json.decode(data, type=_Content)
        except msgspec.MsgspecError:  # whose message may quote the file
            found = _Content(schema="")
        if found.schema != SCHEMA:
            raise Misused(
                f"{self.path} is not a file of logins of this release",
                code=INVALID,
                hint="delete it, and log in again with iogate login URL",
            )
        return found

    def _write(self, content: _Content) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            before = os.umask(0o077)  # for the file before it has its mode
            try:
                write_atomically(self.path, msgspec.json.encode(content) + b"\n", sync=True, mode=0o600)
            finally:
                os.umask(before)
        except OSError as error:
            raise Misused(f"{self.path} cannot be written: {error.strerror}", code=INVALID) from None
