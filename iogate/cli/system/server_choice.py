"""Choice of the server that a command works on, or none: then it works on the store.

In order: `--profile`; the variables IOGATE_SERVER (with IOGATE_TOKEN) or IOGATE_PROFILE; the store of the
project; the last login. Called by `Session`. Invariants: a token goes only to the server that it was given
for, and never over plain HTTP to another machine; no message or representation contains it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from iogate.cli.system.logins import Login, Logins
from iogate.errors import Misused
from iogate.messages import quoted
from iogate.settings.reader import FILE_NAME, PROFILE, SERVER, TOKEN, variable
from iogate.settings.urls import is_loopback

if TYPE_CHECKING:
    from iogate.settings import Settings

WRONG_URL: Final = "IOG812"
UNAUTHENTICATED: Final = "IOG813"
AMBIGUOUS: Final = "IOG814"
NOT_OVER_HTTP: Final = "IOG823"
_TOKEN: Final = re.compile(r"[!-~]{1,4096}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Server:
    """A gateway with the HTTP API of operators, and the token for it."""

    url: str
    token: str = field(repr=False)
    chosen_by: str
    """Option, variable or login that names it, for messages."""
    profile: str | None = None
    """Profile of the token; None if no login has it."""
    token_from: str = TOKEN
    """Place of a token that no profile has, for messages."""


def chosen(profile: str | None, environment: Mapping[str, str]) -> Server | None:
    """Return the server that an option or a variable names; None without one.

    Raises Misused if the variables contradict each other, or a URL or token is invalid; NotFound for an
    unknown profile.
    """
    logins = Logins(environment)
    if profile is not None:
        return _of_login(profile, logins.profile(profile), f"--profile {profile}")
    url, named = environment.get(SERVER, ""), environment.get(PROFILE, "")
    if url and named:
        raise Misused(
            f"{SERVER} and {PROFILE} both choose a server",
            code=AMBIGUOUS,
            hint="unset one of them",
        )
    if named:
        return _of_login(named, logins.profile(named), PROFILE)
    return _of_variables(url, environment, logins) if url else None


def of_last_login(settings: Settings, environment: Mapping[str, str]) -> Server | None:
    """Return the server of the last login; None without one, or if the project has a store of its own.

    An embedded store counts also if it does not run: nobody who forgot to start it should change another
    system. Raises Misused for an invalid file of logins.
    """
    from iogate.store.embedded.data_folder import has_store

    if settings.redis_url is not None or has_store(settings.data_dir):
        return None
    found = Logins(environment).current()
    return None if found is None else _of_login(*found, "the last login")


def store_only(what: str, server: Server) -> Misused:
    """Return the error of a command or an option that works on the store only, with a chosen server."""
    return Misused(
        f"{what} works on the store only, and {server.chosen_by} chooses {server.url}",
        code=NOT_OVER_HTTP,
        hint="run it on a machine that reaches the store, and choose no server there",
    )


def project_of(settings: Settings) -> str | None:
    """Return the project that a server is asked about: that of this folder, if it has settings."""
    named = variable("project") in os.environ
    return settings.project if named or Path(FILE_NAME).exists() else None


def _of_login(name: str, login: Login, chosen_by: str) -> Server:
    return Server(
        url=check_url(login.server, chosen_by),
        token=check_token(login.token, f"profile {name}"),
        chosen_by=chosen_by,
        profile=name,
    )


def _of_variables(url: str, environment: Mapping[str, str], logins: Logins) -> Server:
    checked = check_url(url, SERVER)
    if token := environment.get(TOKEN, ""):
        return Server(url=checked, token=check_token(token, TOKEN), chosen_by=SERVER)
    found = logins.of_server(checked)
    if found is None:
        raise Misused(
            f"{SERVER}: no token for {checked}",
            code=UNAUTHENTICATED,
            hint=f"set {TOKEN}, or save one with iogate login {checked}",
        )
    return _of_login(*found, SERVER)


def check_url(text: str, where: str) -> str:
    """Return the URL of a chosen server without a slash at its end; `where` is its place.

    Raises Misused for another form, for user and password in it, and for plain HTTP to another machine.
    """
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, valid = urlsplit(""), False
    if not valid or parts.query or parts.fragment or "@" in parts.netloc or not text.isprintable():
        shown = "" if "@" in text else f" {quoted(text)}"
        raise Misused(
            f"{where}:{shown} is not the URL of a gateway",
            code=WRONG_URL,
            hint="expected https://HOST[:PORT], without user, query and fragment",
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise Misused(
            f"{where}: {text} is not encrypted: others could read the token",
            code=WRONG_URL,
            hint="use https://; a gateway without TLS is reached through a tunnel to its loopback address, "
            f"such as ssh -L {parts.port or 80}:127.0.0.1:{parts.port or 80} {parts.hostname}",
        )
    return text.rstrip("/")


def check_token(text: str, where: str) -> str:
    """Return the token for a chosen server without blanks around it; `where` is its place.

    Raises Misused for one that no header can have.
    """
    token = text.strip()
    if _TOKEN.fullmatch(token) is None:
        problem = "is empty" if not token else "is not one line of ASCII characters without blanks"
        raise Misused(f"{where}: the token {problem}", code=UNAUTHENTICATED)
    return token
