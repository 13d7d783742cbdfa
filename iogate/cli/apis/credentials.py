"""Credentials of an API as request headers, from the secrets that are available on this machine.

Used by `debug` and `api call`. Works on `auth` in the form of documents, so that a literal secret, of which
a revision keeps only a hash, can be sent too. Secrets go into headers and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iogate.errors import IogateError, Misused

if TYPE_CHECKING:
    from iogate.compiler.revision import Auth, Secret
    from iogate.security.secrets import Unset
    from iogate.settings import Settings


def headers(auth: Any, *, api: str) -> dict[str, str]:
    """Return headers that authenticate as the first caller with an available secret.

    Raises the error of the last caller if no secret is available, and Misused for other kinds of `auth`.
    """
    last_error: IogateError | None = None
    for attempt in _candidates(auth):
        try:
            return {name: _resolve(value, api) for name, value in attempt.items()}
        except IogateError as error:
            last_error = error
    if last_error is not None:
        raise last_error
    raise Misused(
        f"{api}: iogate cannot create credentials for this kind of auth",
        hint="pass them with --header NAME:VALUE",
    )


def _candidates(auth: Any) -> Iterator[dict[str, Any]]:
    """Yield the headers of each caller, with secrets as references."""
    match auth:
        case "none":
            yield {}
        case {"token": secret}:
            yield from ({"token": each} for each in _as_list(secret))
        case {"tokens": Mapping() as tokens}:
            yield from ({"token": each} for secret in tokens.values() for each in _as_list(secret))
        case {"user": user, "password": secret}:
            yield from ({"user": user, "password": each} for each in _as_list(secret))
        case {"users": Mapping() as users}:
            yield from (
                {"user": user, "password": each}
                for user, secret in users.items()
                for each in _as_list(secret)
            )
        case {"any": list() as forms}:
            for form in forms:
                yield from _candidates(form)


def _as_list(secret: Any) -> list[Any]:
    return secret if isinstance(secret, list) else [secret]


def _resolve(value: Any, api: str) -> str:
    from iogate.security.secrets import resolve

    match value:
        case str():
            return value
        case {"env": str(name)}:
            return resolve("env", name, root=Path.cwd())
        case {"file": str(path)}:
            return resolve("file", path, root=Path.cwd())
    raise Misused(
        f"{api}: only a hash of the secret is available, which does not authenticate",
        hint="pass the secret with --header token:… (or user:… and password:…)",
    )


def to_document(auth: Auth) -> Any:
    """Convert a compiled `auth` to the form of documents."""
    from iogate.compiler.revision import AnyAuth, NoAuth, TokenAuth, UserAuth

    match auth:
        case NoAuth():
            return "none"
        case TokenAuth(tokens=tokens):
            return {"tokens": {name: [_reference(each) for each in given] for name, given in tokens.items()}}
        case UserAuth(users=users):
            return {"users": {name: [_reference(each) for each in given] for name, given in users.items()}}
        case AnyAuth(any=forms):
            return {"any": [to_document(form) for form in forms]}


def describe(auth: Auth) -> str:
    """Return the kind of an `auth`, for a table."""
    from iogate.compiler.revision import AnyAuth, NoAuth, TokenAuth, UserAuth

    match auth:
        case NoAuth():
            return "none"
        case TokenAuth():
            return "token"
        case UserAuth():
            return "user/password"
        case AnyAuth(any=forms):
            return " or ".join(dict.fromkeys(describe(form) for form in forms))


def describe_senders(settings: Settings) -> str | None:
    """Describe `auth` of the setting `events` with its unset secrets; None without `auth`."""
    from iogate.gateway.events.senders import auth

    senders = auth(settings.events.get("auth"))
    return (
        None
        if senders is None
        else "; ".join([describe(senders), *(each.message for each in unset_secrets(senders))])
    )


def unset_secrets(auth: Auth) -> list[Unset]:
    """Return an error for each secret of an `auth` that is not set here, without duplicates."""
    from iogate.compiler.revision import AnyAuth, EnvSecret, FileSecret, NoAuth, TokenAuth, UserAuth
    from iogate.security.secrets import Unset, resolve

    missing: list[Unset] = []
    match auth:
        case NoAuth():
            pass
        case AnyAuth(any=forms):
            missing = [each for form in forms for each in unset_secrets(form)]
        case TokenAuth(tokens=callers) | UserAuth(users=callers):
            for given in callers.values():
                for secret in given:
                    try:
                        match secret:
                            case EnvSecret(name=name):
                                resolve("env", name)
                            case FileSecret(path=path):
                                resolve("file", path, root=Path.cwd())
                    except Unset as error:
                        missing.append(error)
    return list({error.message: error for error in missing}.values())


def _reference(secret: Secret) -> dict[str, str]:
    from iogate.compiler.revision import EnvSecret, FileSecret, HashedSecret

    match secret:
        case EnvSecret(name=name):
            return {"env": name}
        case FileSecret(path=path):
            return {"file": path}
        case HashedSecret(value=value):
            return {"hash": value}
