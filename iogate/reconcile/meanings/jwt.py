"""Changes of the JWTs that an API accepts: more of them, fewer, or those of another issuer.

Called by `auth`. Pure. Invariant: no text contains a key; a key is named by its source.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Final, TypeVar

from iogate import json_values
from iogate.auth.caller_names import CallerNames
from iogate.auth.jwt_form import ASYMMETRIC, SYMMETRIC
from iogate.auth.model import Form, JwtAuth, StoredAuth, StoredSecret, alternatives, source_of
from iogate.messages import quoted
from iogate.reconcile.meanings.change_kinds import Meaning
from iogate.timing.durations import format_seconds

_POINTER: Final = "/auth"

T = TypeVar("T")
Jwt = JwtAuth[StoredSecret]


def meanings(before: Sequence[Form[StoredSecret]], after: Sequence[Form[StoredSecret]]) -> Iterator[Meaning]:
    """Yield the meanings of changes of the forms `jwt`; forms with the same issuer are compared."""
    old, new = _by_issuer(before), _by_issuer(after)
    if _only(old) and _only(new):
        yield from _group_changed("", *old.values(), *new.values())
        return
    for issuer in sorted(new.keys() - old.keys()):
        yield _meaning("jwt.widened", f"tokens of {issuer} accepted")
    for issuer in sorted(old.keys() - new.keys()):
        yield _meaning("jwt.narrowed", f"tokens of {issuer} not accepted any more")
    for issuer in sorted(old.keys() & new.keys()):
        yield from _group_changed(issuer, old[issuer], new[issuer])


def renamed(before: StoredAuth, after: StoredAuth) -> Iterator[Meaning]:
    """Yield the meanings of other names of callers, if a form beside the form `jwt` is added or removed."""
    old, new = (
        {
            form.issuer or _source(form): CallerNames(auth).jwt_prefix(form)
            for form in alternatives(auth)
            if isinstance(form, JwtAuth)
        }
        for auth in (before, after)
    )
    for issuer in sorted(old.keys() & new.keys()):
        if bool(old[issuer]) != bool(new[issuer]):
            change = f"{old[issuer]}NAME → {new[issuer]}NAME"
            yield _meaning("jwt.caller", f"callers with a JWT get another name ({change})")


def unmatched(
    old: Sequence[T], new: Sequence[T], identity: Callable[[T], Hashable]
) -> tuple[list[T], list[T]]:
    """Return the forms of authentication that only `old` has, and those that only `new` has."""
    before, after = ({identity(form): form for form in forms} for forms in (old, new))
    gone = [form for key, form in before.items() if key not in after]
    return gone, [form for key, form in after.items() if key not in before]


def _by_issuer(forms: Sequence[Form[StoredSecret]]) -> dict[str, list[Jwt]]:
    found: dict[str, list[Jwt]] = {}
    for form in forms:
        if isinstance(form, JwtAuth):
            found.setdefault(form.issuer or _source(form), []).append(form)
    return found


def _only(forms: dict[str, list[Jwt]]) -> bool:
    """Tell whether there is exactly one form `jwt`."""
    return [len(each) for each in forms.values()] == [1]


def _group_changed(issuer: str, old: list[Jwt], new: list[Jwt]) -> Iterator[Meaning]:
    """Compare the forms `jwt` of one issuer: a changed one in detail, several as gone or new."""
    gone, come = unmatched(old, new, _identity)
    if len(gone) == len(come) == 1:
        found = list(_changed(gone[0], come[0]))
        yield from found or [_meaning("auth.changed", "auth changed (another form of jwt)")]
        return
    for _ in come:
        yield _meaning("jwt.widened", f"tokens of {issuer} accepted by another form of jwt")
    for _ in gone:
        yield _meaning("jwt.narrowed", f"tokens of {issuer} not accepted any more by a form of jwt")


def _identity(form: Jwt) -> Hashable:
    """Return a value that is equal for forms `jwt` that accept the same tokens for the same callers."""
    claims = {
        name: frozenset(map(json_values.canonical, _values(form, name))) for name in sorted(form.claims)
    }
    return (
        (form.issuer, form.jwks, form.key, form.secret, form.caller, form.leeway_s),
        (frozenset(form.audience), frozenset(_algorithms(form)), frozenset(form.scopes)),
        tuple(claims.items()),
    )


def _changed(old: Jwt, new: Jwt) -> Iterator[Meaning]:
    if old.issuer != new.issuer:
        if new.issuer is None:
            yield _meaning("jwt.widened", f"jwt accepts every issuer (was {old.issuer})")
        elif old.issuer is None:
            yield _meaning("jwt.narrowed", f"jwt accepts only the issuer {new.issuer}")
        else:
            yield _meaning("jwt.issuer", f"issuer of jwt changed ({old.issuer} → {new.issuer})")
    before, after = _source(old), _source(new)
    if before != after:
        yield _meaning("jwt.keys", f"keys of jwt changed ({before} → {after})")
    yield from _choice("audience", set(old.audience), set(new.audience))
    yield from _choice("algorithms", set(_algorithms(old)), set(_algorithms(new)))
    for scope in sorted(set(old.scopes) - set(new.scopes)):
        yield _meaning("jwt.widened", f"scope {scope} of jwt not required any more")
    for scope in sorted(set(new.scopes) - set(old.scopes)):
        yield _meaning("jwt.narrowed", f"scope {scope} of jwt required")
    yield from _claims(old, new)
    if old.caller != new.caller:
        text = f"caller of jwt comes from another claim ({old.caller} → {new.caller})"
        yield _meaning("jwt.caller", text)
    if old.leeway_s != new.leeway_s:
        kind = "jwt.widened" if new.leeway_s > old.leeway_s else "jwt.narrowed"
        text = f"leeway of jwt changed ({format_seconds(old.leeway_s)} → {format_seconds(new.leeway_s)})"
        yield _meaning(kind, text)


def _choice(name: str, old: set[str], new: set[str]) -> Iterator[Meaning]:
    """Compare sets of which a JWT must have one; an empty set means any."""
    if old == new:
        return
    more, fewer = ", ".join(sorted(new - old)), ", ".join(sorted(old - new))
    if not new:
        yield _meaning("jwt.widened", f"{name} of jwt not checked any more (was {fewer})")
    elif not old:
        yield _meaning("jwt.narrowed", f"{name} of jwt must be {more}")
    else:
        if more:
            yield _meaning("jwt.widened", f"{name} of jwt may be {more}, too")
        if fewer:
            yield _meaning("jwt.narrowed", f"{name} of jwt may not be {fewer} any more")


def _claims(old: Jwt, new: Jwt) -> Iterator[Meaning]:
    for name in sorted(old.claims.keys() - new.claims.keys()):
        yield _meaning("jwt.widened", f"claim {quoted(name)} of jwt not required any more")
    for name in sorted(new.claims.keys() - old.claims.keys()):
        yield _meaning("jwt.narrowed", f"claim {quoted(name)} of jwt required")
    for name in sorted(old.claims.keys() & new.claims.keys()):
        before, after = _values(old, name), _values(new, name)
        if any(not _has(before, each) for each in after):
            yield _meaning("jwt.widened", f"claim {quoted(name)} of jwt may have other values")
        if any(not _has(after, each) for each in before):
            yield _meaning("jwt.narrowed", f"claim {quoted(name)} of jwt must have other values")


def _values(form: Jwt, name: str) -> list[object]:
    wanted = form.claims[name]
    return wanted if isinstance(wanted, list) else [wanted]


def _has(values: list[object], wanted: object) -> bool:
    return any(json_values.is_equal(each, wanted) for each in values)


def _algorithms(form: Jwt) -> tuple[str, ...]:
    return form.algorithms or (SYMMETRIC if form.secret else ASYMMETRIC)


def _source(form: Jwt) -> str:
    """Return the source of a JWT form's keys in a change: a URL, `secret env NAME`, `key file PATH`."""
    if form.jwks:
        return form.jwks
    kind, given = ("secret", form.secret) if form.secret else ("key", form.key)
    if given:
        return f"{kind} {' and '.join(map(source_of, given))}"
    return "OpenID configuration"


def _meaning(kind: str, text: str) -> Meaning:
    return Meaning(kind=kind, text=text, pointer=_POINTER)
