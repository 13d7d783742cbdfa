"""`iogate login` and `logout`: save and remove the token for the HTTP API of operators of a server."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from iogate.cli import panels
from iogate.cli.session import Session, command
from iogate.errors import Misused


def register(app: typer.Typer) -> None:
    command(app, "login", over_http=True, rich_help_panel=panels.LIVE)(login)
    command(app, "logout", over_http=True, rich_help_panel=panels.LIVE)(logout)


async def login(
    session: Session,
    url: Annotated[str, typer.Argument(metavar="URL", help="Address of a gateway: https://HOST.")],
    token_file: Annotated[
        str | None,
        typer.Option(
            "--token-file", metavar="FILE|-", help="File with the token, or - for stdin; default: ask for it."
        ),
    ] = None,
) -> None:
    """Save the token of an operator, so that commands work on the system of a server over HTTP.

    With several servers, --profile names the login.

    Raises:
        Misused: the URL or the token is invalid, or the token is neither in a file nor on a terminal.
        Refused, Unreachable: the server refuses the token, or cannot be used.
    """
    from iogate.cli.system import logins, server_choice
    from iogate.cli.system.logins import Login, Logins
    from iogate.cli.system.operator_client import operator_client
    from iogate.cli.system.server_choice import Server

    name = session.profile or logins.DEFAULT
    logins.check_name(name)
    checked = server_choice.check_url(url, "URL")
    text, place = _read_token(checked, token_file)
    token = server_choice.check_token(text, place)
    server = Server(url=checked, token=token, chosen_by="URL", token_from=place)
    async with operator_client(server) as client:
        found = await client.get("/v1/operator")
    login = Login(server=checked, token=token, operator=found["operator"], role=found["role"])
    saved = Logins(os.environ)
    saved.save(name, login)
    value = {"profile": name, "server": checked, "operator": login.operator, "role": login.role}
    shown = f"logged in at {checked} as {login.operator}, with the role {login.role}"
    session.screen.data("login", value, [shown])
    session.screen.note(f"saved as profile {name} in {saved.path}")


def _read_token(server: str, file: str | None) -> tuple[str, str]:
    """Return the token for `iogate login`, and its place: a file, stdin, or an answer on the terminal.

    Raises Misused if the file cannot be read.
    """
    if file is None and sys.stdin.isatty():
        # It turns the echo off before it asks, so that a token that is pasted early is not shown.
        return getpass.getpass(f"Token for {server}: "), "the answer"
    if file in (None, "-"):
        return sys.stdin.readline(), "stdin"
    try:
        return Path(str(file)).read_text(encoding="utf-8"), f"--token-file {file}"
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise Misused(f"--token-file {file}: cannot be read: {reason}") from None


async def logout(session: Session) -> None:
    """Remove the token that `login` saved, by default that of the last login.

    The token stays valid: the setting `operators` of the gateway has it.

    Raises NotFound if there is no such login.
    """
    from iogate.cli.system.logins import Logins

    name, login = Logins(os.environ).remove(session.profile)
    value = {"profile": name, "server": login.server}
    session.screen.data("logout", value, [f"removed the login at {login.server} (profile {name})"])
