"""Changes of the callers of an API: weakened, strengthened, or another set of callers.

Called by `apis`. Pure. Invariant: no text contains a secret or a hash; a secret is named by its source.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from iogate.auth.model import (
    EnvSecret,
    FileSecret,
    Form,
    HashedSecret,
    JwtAuth,
    NoAuth,
    SignatureAuth,
    StoredAuth,
    StoredSecret,
    TokenAuth,
    UserAuth,
    alternatives,
)
from iogate.messages import quoted
from iogate.reconcile.meanings import jwt
from iogate.reconcile.meanings.change_kinds import Meaning
from iogate.timing.durations import format_seconds

Callers = dict[tuple[str, str], tuple[StoredSecret, ...]]
"""Form and name of each caller to its secrets."""
Signatures = dict[tuple[str, str], SignatureAuth[StoredSecret]]
"""Scheme and caller of each form of signature to the form."""

_POINTER = "/auth"


def meanings(before: StoredAuth, after: StoredAuth) -> Iterator[Meaning]:
    """Yield the meanings of a change of `auth`."""
    if before == after:
        return
    old, new = _forms(before), _forms(after)
    if old != new:
        text = f"({' or '.join(old)} → {' or '.join(new)})"
        if "none" in new:
            yield _meaning("auth.weakened", f"auth weakened {text}")
        elif "none" in old:
            yield _meaning("auth.strengthened", f"auth strengthened {text}")
        elif set(old) < set(new):
            yield _meaning("auth.weakened", f"auth weakened {text}")
        elif set(new) < set(old):
            yield _meaning("auth.strengthened", f"auth strengthened {text}")
        else:
            yield _meaning("auth.changed", f"auth changed {text}")
        return
    yield from _caller_meanings(_callers(before), _callers(after))
    yield from _signature_meanings(_signatures(before), _signatures(after))
    yield from jwt.meanings(before, after)


def _caller_meanings(old: Callers, new: Callers) -> Iterator[Meaning]:
    for form, name in sorted(new.keys() - old.keys()):
        yield _meaning("caller.added", f"{_called(form)} {quoted(name)} added")
    for form, name in sorted(old.keys() - new.keys()):
        yield _meaning("caller.removed", f"{_called(form)} {quoted(name)} removed")
    for form, name in sorted(old.keys() & new.keys()):
        if old[form, name] != new[form, name]:
            before, after = _sources(old[form, name]), _sources(new[form, name])
            change = f"{before} → {after}" if before != after else f"{before}, another value"
            yield _meaning("caller.secret", f"secret of {_called(form)} {quoted(name)} changed ({change})")


def _signature_meanings(old: Signatures, new: Signatures) -> Iterator[Meaning]:
    for key in sorted(old.keys() & new.keys()):
        before, after, sender = old[key], new[key], f"sender {quoted(key[1])}"
        if before.declared != after.declared:
            yield _meaning("auth.changed", f"signature of {sender} has another format")
        if before.tolerance_s != after.tolerance_s:
            word = "weakened" if after.tolerance_s > before.tolerance_s else "strengthened"
            change = f"{format_seconds(before.tolerance_s)} → {format_seconds(after.tolerance_s)}"
            yield _meaning(f"auth.{word}", f"auth {word} (tolerance of {sender} {change})")
        if before.verify_token != after.verify_token:
            change = f"{_sources(before.verify_token)} → {_sources(after.verify_token)}"
            yield _meaning("caller.secret", f"verify token of {sender} changed ({change})")


def _meaning(kind: str, text: str) -> Meaning:
    return Meaning(kind=kind, text=text, pointer=_POINTER)


def _forms(auth: StoredAuth) -> list[str]:
    """Return the distinct forms of authentication of an API, sorted, for the text of a change."""
    return sorted({_form(form) for form in alternatives(auth)})


def _form(form: Form[StoredSecret]) -> str:
    match form:
        case NoAuth():
            return "none"
        case TokenAuth():
            return "token"
        case UserAuth():
            return "user"
        case SignatureAuth(scheme=scheme):
            return f"signature {scheme}"
        case JwtAuth():
            return "jwt"
        case _:
            assert_never(form)


def _signatures(auth: StoredAuth) -> Signatures:
    return {
        (form.scheme, form.caller): form for form in alternatives(auth) if isinstance(form, SignatureAuth)
    }


def _callers(auth: StoredAuth) -> Callers:
    found: Callers = {}
    for form in alternatives(auth):
        match form:
            case NoAuth() | JwtAuth():
                pass
            case TokenAuth(tokens=tokens):
                found |= {("token", name): secrets for name, secrets in tokens.items()}
            case UserAuth(users=users):
                found |= {("user", name): secrets for name, secrets in users.items()}
            case SignatureAuth(caller=name, secrets=secrets):
                found["sender", name] = found.get(("sender", name), ()) + secrets
            case _:
                assert_never(form)
    return found


def _called(form: str) -> str:
    return "caller" if form == "token" else form


def _sources(secrets: tuple[StoredSecret, ...]) -> str:
    """Return the sources of the secrets of `auth`: `env ORDERS_TOKEN`, `file secrets/a`, `hash`."""
    texts = []
    for secret in secrets:
        match secret:
            case EnvSecret(name=name):
                texts.append(f"env {name}")
            case FileSecret(path=path):
                texts.append(f"file {path}")
            case HashedSecret():
                texts.append("hash")
            case _:
                assert_never(secret)
    return " and ".join(texts)
