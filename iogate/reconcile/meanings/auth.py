"""Changes of the callers of an API: weakened, strengthened, or another set of callers.

Called by `apis`. Pure. Invariant: no text contains a secret or a hash; a secret is named by its source.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import assert_never

import msgspec

from iogate import json_values
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
    simplest,
)
from iogate.messages import quoted
from iogate.reconcile.meanings import jwt
from iogate.reconcile.meanings.change_kinds import Meaning
from iogate.reconcile.meanings.jwt import unmatched
from iogate.timing.durations import format_seconds

Callers = dict[tuple[str, str], tuple[StoredSecret, ...]]
"""Form and name of each caller to its secrets, those of all forms together."""
Signature = SignatureAuth[StoredSecret]
Signatures = dict[tuple[str, str], list[Signature]]
"""Scheme and caller of each form of signature to the forms."""

_POINTER = "/auth"


def meanings(before: StoredAuth, after: StoredAuth) -> Iterator[Meaning]:
    """Yield the meanings of a change of `auth`."""
    old, new = (msgspec.to_builtins(simplest(auth)) for auth in (before, after))
    if json_values.is_equal(old, new):
        return
    found = list(_differences(before, after))
    yield from found or [_meaning("api.changed", "order of the forms of auth changed")]


def _differences(before: StoredAuth, after: StoredAuth) -> Iterator[Meaning]:
    """Yield the meanings of a change that is more than another order."""
    old, new = _kinds(before), _kinds(after)
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
    kept = set(old) & set(new)
    forms_before, forms_after = (
        [form for form in alternatives(auth) if _kind(form) in kept] for auth in (before, after)
    )
    yield from _caller_meanings(_callers(forms_before), _callers(forms_after))
    yield from _signature_meanings(_signatures(forms_before), _signatures(forms_after))
    yield from jwt.meanings(forms_before, forms_after)
    yield from jwt.renamed(before, after)


def _caller_meanings(old: Callers, new: Callers) -> Iterator[Meaning]:
    for form, name in sorted(new.keys() - old.keys()):
        yield _meaning("caller.added", f"{_called(form)} {quoted(name)} added")
    for form, name in sorted(old.keys() - new.keys()):
        yield _meaning("caller.removed", f"{_called(form)} {quoted(name)} removed")
    for form, name in sorted(old.keys() & new.keys()):
        yield from _secret_meanings(
            f"secret of {_called(form)} {quoted(name)}", old[form, name], new[form, name]
        )


def _signature_meanings(old: Signatures, new: Signatures) -> Iterator[Meaning]:
    for _, name in sorted(new.keys() - old.keys()):
        yield _meaning("caller.added", f"sender {quoted(name)} added")
    for _, name in sorted(old.keys() - new.keys()):
        yield _meaning("caller.removed", f"sender {quoted(name)} removed")
    for key in sorted(old.keys() & new.keys()):
        gone, come = unmatched(old[key], new[key], _identity)
        if len(gone) == len(come) == 1:
            yield from _changed_signature(gone[0], come[0])
            continue
        sender = f"sender {quoted(key[1])}"
        for form in come:
            text = f"another signature of {sender} accepted, tolerance {format_seconds(form.tolerance_s)}"
            yield _meaning("auth.weakened", f"auth weakened ({text})")
        for form in gone:
            text = f"a signature of {sender} not accepted any more, tolerance "
            yield _meaning(
                "auth.strengthened", f"auth strengthened ({text}{format_seconds(form.tolerance_s)})"
            )


def _changed_signature(before: Signature, after: Signature) -> Iterator[Meaning]:
    sender = f"sender {quoted(after.caller)}"
    yield from _secret_meanings(f"secret of {sender}", before.secrets, after.secrets)
    if before.declared != after.declared:
        yield _meaning("auth.changed", f"signature of {sender} has another format")
    if before.tolerance_s != after.tolerance_s:
        word = "weakened" if after.tolerance_s > before.tolerance_s else "strengthened"
        change = f"{format_seconds(before.tolerance_s)} → {format_seconds(after.tolerance_s)}"
        yield _meaning(f"auth.{word}", f"auth {word} (tolerance of {sender} {change})")
    yield from _secret_meanings(f"verify token of {sender}", before.verify_token, after.verify_token)


def _secret_meanings(
    name: str, old: tuple[StoredSecret, ...], new: tuple[StoredSecret, ...]
) -> Iterator[Meaning]:
    """Compare secrets of which one is enough: their order has no effect."""
    if set(old) != set(new):
        before, after = _sources(old), _sources(new)
        change = f"{before} → {after}" if before != after else f"{before}, another value"
        yield _meaning("caller.secret", f"{name} changed ({change})")


def _meaning(kind: str, text: str) -> Meaning:
    return Meaning(kind=kind, text=text, pointer=_POINTER)


def _kinds(auth: StoredAuth) -> list[str]:
    """Return the distinct forms of authentication of an API, sorted, for the text of a change."""
    return sorted({_kind(form) for form in alternatives(auth)})


def _kind(form: Form[StoredSecret]) -> str:
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


def _signatures(forms: Sequence[Form[StoredSecret]]) -> Signatures:
    found: Signatures = {}
    for form in forms:
        if isinstance(form, SignatureAuth):
            found.setdefault((form.scheme, form.caller), []).append(form)
    return found


def _identity(form: Signature) -> Hashable:
    """Return a value that is equal for signatures of one sender that accept the same requests."""
    return form.declared, form.tolerance_s, frozenset(form.secrets), frozenset(form.verify_token)


def _callers(forms: Sequence[Form[StoredSecret]]) -> Callers:
    """Return the callers with tokens or passwords; several forms may have secrets of one caller."""
    found: Callers = {}
    for form in forms:
        match form:
            case TokenAuth(tokens=named) | UserAuth(users=named):
                for name, secrets in named.items():
                    key = (_kind(form), name)
                    found[key] = found.get(key, ()) + secrets
            case NoAuth() | JwtAuth() | SignatureAuth():
                pass
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
