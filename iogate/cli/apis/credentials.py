"""Credentials of an API as request headers, from the secrets that are available on this machine.

Used by `debug`, `api call` and the banner. Works on `auth` of a local document if there is one, so that a
literal secret, of which a revision keeps only a hash, can be sent too. Secrets go into headers and nowhere
else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from iogate.cli.apis import jwt_tokens, signing
from iogate.errors import IogateError, Misused

if TYPE_CHECKING:
    from iogate.auth.model import Auth, Secret
    from iogate.cli.apis.signing import Outgoing
    from iogate.compiler.revision import Api
    from iogate.security.secrets import Unset
    from iogate.settings import Settings


def headers(auth: Auth[Secret], request: Outgoing, *, api: str, reads_secrets: bool = True) -> dict[str, str]:
    """Return headers with credentials of the first caller with a secret that this machine has.

    `reads_secrets`: whether `auth` may name variables and files of this machine; false if a server sent it.
    Raises the error of the last caller if no secret is available.
    """
    from iogate.auth.model import JwtAuth, SignatureAuth, alternatives

    last_error: IogateError | None = None
    for form in alternatives(auth):
        attempts: Iterable[Mapping[str, str | Secret]] = candidates(form)
        if isinstance(form, SignatureAuth):
            attempts = ({"": each} for each in form.secrets)
        elif isinstance(form, JwtAuth):
            attempts = ({"": each} for each in form.secret)
            last_error = last_error or jwt_tokens.missing_key(api)
        for attempt in attempts:
            try:
                found = {name: _resolve(value, api, reads=reads_secrets) for name, value in attempt.items()}
                if isinstance(form, SignatureAuth):
                    return signing.sign(form, found[""], request, api=api)
                if isinstance(form, JwtAuth):
                    return jwt_tokens.header_of_secret(form, found[""], api=api)
                return found  # noqa: TRY300 - the loop ends at the first that is available
            except IogateError as error:
                last_error = error
    assert last_error is not None  # each form has at least one caller, and each caller a secret
    raise last_error


def candidates(auth: Auth[Secret]) -> Iterator[Mapping[str, str | Secret]]:
    """Yield the credentials of each caller that a command may send, as headers with references to secrets.

    A signature has none, since its header depends on the request, and a JWT has none, since it is signed.
    """
    from iogate.auth.model import JwtAuth, NoAuth, SignatureAuth, TokenAuth, UserAuth, alternatives

    for form in alternatives(auth):
        match form:
            case NoAuth():
                yield {}
            case TokenAuth(tokens=tokens):
                yield from ({"token": each} for given in tokens.values() for each in given)
            case UserAuth(users=users):
                yield from (
                    {"user": user, "password": each} for user, given in users.items() for each in given
                )
            case SignatureAuth() | JwtAuth():
                pass
            case _:
                assert_never(form)


def _resolve(value: str | Secret, api: str, *, reads: bool) -> str:
    from iogate.auth.model import EnvSecret, FileSecret, HashedSecret, LiteralSecret
    from iogate.security.secrets import resolve

    match value:
        case str():
            return value
        case LiteralSecret(text=text):
            return text
        case EnvSecret() | FileSecret() if not reads:
            raise Misused(
                f"{api}: no document in this folder names its credentials, and a server does not choose "
                "which secrets of this machine are sent",
                hint="pass the secret with --header token:… (or user:… and password:…), or run the command "
                "in a clone of the project",
            )
        case EnvSecret(name=name):
            return resolve("env", name, root=Path.cwd())
        case FileSecret(path=path):
            return resolve("file", path, root=Path.cwd())
        case HashedSecret():
            raise Misused(
                f"{api}: only a hash of the secret is available, which does not authenticate",
                hint="pass the secret with --header token:… (or user:… and password:…)",
            )
        case _:
            assert_never(value)


def describe_senders(settings: Settings) -> str | None:
    """Describe the credentials of event senders, and those of their secrets that this machine lacks.

    None without `auth` in the setting `events`.
    """
    if not settings.events:
        return None
    from iogate.auth.description import describe
    from iogate.settings.events import senders

    accepted = senders(settings.events)
    if accepted is None:
        return None
    return "; ".join([describe(accepted), *(each.message for each in unset_secrets(accepted))])


def unset_secrets(auth: Auth[Secret]) -> list[Unset]:
    """Return one error for each secret of an API's credentials that is not set on this machine."""
    from iogate.auth.model import EnvSecret, FileSecret, secrets_of
    from iogate.security.secrets import Unset, resolve

    missing: dict[str, Unset] = {}
    for secret in secrets_of(auth):
        try:
            match secret:
                case EnvSecret(name=name):
                    resolve("env", name)
                case FileSecret(path=path):
                    resolve("file", path, root=Path.cwd())
        except Unset as error:
            missing[error.message] = error
    return list(missing.values())


def resolve_callback(api: Api) -> None:
    """Check for a command that this machine has a valid secret for an API's callback, if it has one.

    Raises Unset if it is missing, and ValueError if it cannot sign.
    """
    from iogate.auth.model import source_of
    from iogate.compiler.revision import Callback
    from iogate.security import standard_webhooks
    from iogate.security.secrets import resolve

    if isinstance(api.callback, Callback):
        kind, _, value = source_of(api.callback.secret).partition(" ")
        standard_webhooks.key(resolve("env" if kind == "env" else "file", value, root=Path.cwd()))
