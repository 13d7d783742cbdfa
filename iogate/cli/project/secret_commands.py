"""`iogate secret`: generate tokens and key pairs, and hash secrets for documents in git."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated

import typer

from iogate.cli import panels
from iogate.cli.session import Session, command
from iogate.errors import Misused

group = typer.Typer(help="Generate secrets, and hashes that are safe in git.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="secret", rich_help_panel=panels.DOCUMENTS)


@command(group, "new")
def new(session: Session) -> None:
    """Generate a token, and its hash for an API document."""
    from iogate.security.secrets import generate_token, hash_token

    token = generate_token()
    hashed = hash_token(token)
    session.screen.data(
        "secret.new",
        {"token": token, "hash": hashed},
        [f"token  {token}", f"hash   {hashed}"],
    )
    session.screen.note(
        "\nGive the token to the caller, and put the hash into the document:  "
        f'auth: {{token: {{hash: "{hashed}"}}}}'
    )


@command(group, "pair")
def pair(session: Session) -> None:
    """Generate a key pair for the settings publish_key and publishers."""
    from iogate.security.keyring import generate_pair

    private, public = generate_pair()
    session.screen.data(
        "secret.pair",
        {"private": private, "public": public},
        [f"private  {private}", f"public   {public}"],
    )
    session.screen.note(
        "\nThe private key is for the machine that applies (publish_key: {env: NAME}), the public one for "
        f"gateways and workers:  publishers: [{public}]"
    )


@command(group, "hash")
def hash_(
    session: Session,
    password: Annotated[
        bool, typer.Option("--password", help="Hash a password (Argon2id), not a token (SHA-256).")
    ] = False,
) -> None:
    """Hash a secret, read from the terminal without echo, or from stdin.

    Raises:
        Misused: the secret is empty.
    """
    from iogate.security.secrets import hash_password, hash_token

    text = getpass.getpass("Secret: ") if sys.stdin.isatty() else sys.stdin.read().removesuffix("\n")
    if not text:
        raise Misused("no secret on stdin", hint="printf %s SECRET | iogate secret hash")
    hashed = hash_password(text) if password else hash_token(text)
    session.screen.data("secret.hash", {"hash": hashed}, [hashed])
