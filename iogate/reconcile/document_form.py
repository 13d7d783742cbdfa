"""Compiled APIs in the form of API documents: with the keys and the units that an author writes.

Used by plan for its fields and by export for its files. Pure. Invariant: a document with this form compiles
to the same API, also if it has every default written out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, assert_never

import msgspec

from iogate.auth.allow_ips import AllowedAddresses
from iogate.auth.model import (
    TOLERANCE_S,
    AnyAuth,
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
)
from iogate.compiler.revision import ENDS, PRIORITY, Api, Callback, Coalesce, FaultHandler, Files
from iogate.timing.durations import format_seconds

_RATE_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_UNITS: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
_SIZES: Final = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def api_form(api: Api) -> dict[str, Any]:
    """Return the value of a method as API documents have it; keys without a value are left out."""
    limits = api.limits
    path, mode = api.own_path or (None, None)
    members: dict[str, Any] = {
        "description": api.description or None,
        "verbs": list(api.verbs),
        "path": path,
        "mode": mode,
        "workflow": api.workflow,
        "enabled": api.enabled,
        "auth": auth_form(api.auth),
        "allow_ips": addresses_form(api.allow_ips),
        "input": _present(
            {
                "from": api.input_from,
                "raw": api.has_raw or None,
                "files": files_form(api.files),
                "schema": api.input_schema,
            }
        ),
        "limits": _present(
            {
                "body": size_text(limits.body),
                "rate": None if limits.rate is None else rate_text(limits.rate),
                "burst": limits.burst,
                "per": None if limits.counted_by == "api" else limits.counted_by,
                "queued": limits.queued,
                "running": limits.running,
                "concurrency": None
                if limits.of_key is None
                else {"key": limits.of_key.key, "limit": limits.of_key.limit},
                "on_full": "replace" if limits.replaces else None,
                "priority": None if limits.rank == PRIORITY else limits.rank,
            }
        ),
        "idempotency": _present(
            {
                "header": api.idempotency.header,
                "pointer": api.idempotency.key_pointer,
                "ttl": format_seconds(api.idempotency.ttl_s),
                "required": api.idempotency.is_required or None,
            }
        ),
        "coalesce": _coalesce(api.coalesces),
        "attributes": dict(api.indexed) or None,
        "timeout": None if api.timeout_s is None else format_seconds(api.timeout_s),
        "retention": format_seconds(api.retention_s),
        "record": api.records,
        "callback": callback_form(api.callback),
        "on_fault": api.on_fault.workflow if isinstance(api.on_fault, FaultHandler) else None,
        "protect": api.protect,
        "tags": list(api.tags),
        "metadata": api.metadata,
        "debug": _cases(api),
    }
    return _present(members)


def addresses_form(allowed: AllowedAddresses | msgspec.UnsetType) -> list[Any] | None:
    """Return the value of `allow_ips` as documents have it; None if every address may call."""
    if isinstance(allowed, msgspec.UnsetType):
        return None
    return [*allowed.networks, *({"file": path} for path in allowed.files)]


def files_form(files: Files | msgspec.UnsetType) -> dict[str, Any] | None:
    """Return the value of `input.files` as documents have it; None if files are not stored."""
    if isinstance(files, msgspec.UnsetType):
        return None
    return {"size": size_text(files.size), "total": size_text(files.total), "count": files.count}


def _cases(api: Api) -> list[dict[str, Any]] | None:
    """Return debug cases in document form that give the examples of an API; None without examples."""
    if isinstance(api.examples, msgspec.UnsetType):
        return None
    cases = []
    for example in api.examples:
        members = msgspec.to_builtins(example)
        output = members.pop("output", msgspec.UNSET)
        cases.append(members if output is msgspec.UNSET else {**members, "expect": {"output": output}})
    return cases


def _coalesce(rules: Coalesce | None) -> dict[str, Any] | None:
    if rules is None:
        return None
    return {
        "key": rules.key,
        "window": format_seconds(rules.window_s),
        "max": format_seconds(rules.max_s),
    }


def callback_form(callback: Callback | msgspec.UnsetType) -> dict[str, Any] | None:
    """Return the value of `callback` as documents have it; None without one."""
    if isinstance(callback, msgspec.UnsetType):
        return None
    return _present(
        {
            "url": callback.url or None,
            "allow": list(callback.allow) or None,
            "secret": _secret(callback.secret),
            "on": list(callback.on) if callback.on != ENDS else None,
        }
    )


def auth_form(auth: StoredAuth) -> Any:
    """Return the value of `auth` as documents have it."""
    if isinstance(auth, AnyAuth):
        return {"any": [_form(form) for form in auth.any]}
    return _form(auth)


def _form(form: Form[StoredSecret]) -> Any:
    match form:
        case NoAuth():
            return "none"
        case TokenAuth(tokens=tokens):
            if tokens.keys() == {"token"}:
                return {"token": _secrets(tokens["token"])}
            return {"tokens": {name: _secrets(given) for name, given in tokens.items()}}
        case UserAuth(users=users):
            return {"users": {name: _secrets(given) for name, given in users.items()}}
        case SignatureAuth():
            return {"signature": _signature(form)}
        case JwtAuth():
            return {"jwt": jwt_form(form)}
        case _:
            assert_never(form)


def _signature(form: SignatureAuth[StoredSecret]) -> dict[str, Any]:
    declared = form.declared
    format_: dict[str, Any] = {}
    if declared is not None:
        moment = {
            "header": declared.timestamp or None,
            "prefix": declared.timestamp_prefix or None,
            "unit": declared.unit if declared.timestamp else None,
        }
        format_ = {
            "header": declared.header,
            "prefix": declared.prefix or None,
            "algorithm": declared.algorithm,
            "encoding": declared.encoding,
            "signed": declared.signed,
            "timestamp": _present(moment) or None,
            "id": declared.id or None,
        }
    return _present(
        {
            "scheme": form.scheme,
            "secret": _secrets(form.secrets),
            "verify_token": _secrets(form.verify_token) if form.verify_token else None,
            "caller": None if form.caller == form.scheme else form.caller,
            "tolerance": None if form.tolerance_s == TOLERANCE_S else format_seconds(form.tolerance_s),
            **format_,
        }
    )


def jwt_form(form: JwtAuth[StoredSecret]) -> dict[str, Any]:
    """Return the value of `jwt` as documents have it; keys without a value are left out."""
    members: dict[str, Any] = {
        "issuer": form.issuer,
        "audience": form.audience[0] if len(form.audience) == 1 else list(form.audience),
        "jwks": form.jwks,
        "key": _secrets(form.key) if form.key else None,
        "secret": _secrets(form.secret) if form.secret else None,
        "algorithms": list(form.algorithms),
        "claims": form.claims,
        "scopes": list(form.scopes),
        "caller": form.caller,
        "leeway": format_seconds(form.leeway_s),
    }
    return {name: value for name, value in members.items() if value not in (None, [], {})}


def _secrets(given: Sequence[StoredSecret]) -> Any:
    forms = [_secret(each) for each in given]
    return forms[0] if len(forms) == 1 else forms


def _secret(secret: StoredSecret) -> dict[str, str]:
    match secret:
        case EnvSecret(name=name):
            return {"env": name}
        case FileSecret(path=path):
            return {"file": path}
        case HashedSecret(value=value):
            return {"hash": value}
        case _:
            assert_never(secret)


def rate_text(rate: float) -> str:
    """Return a rate as documents have it, which reads as the same number: `50/s`, `100/m`."""
    for unit, seconds in _RATE_S.items():
        for digits in (0, 1, 2, 3, 6):
            text = f"{rate * seconds:.{digits}f}"
            if digits:
                text = text.rstrip("0").rstrip(".")
            if float(text) / seconds == rate:
                return f"{text}/{unit}"
    return f"{rate:.6f}/s"


def rate_words(*rates: float) -> list[str]:
    """Return rates of an API document for people, all in one unit: `100 per minute`.

    It is the shortest unit in which all are whole numbers, else the shortest in which all are at least 1.
    """
    fitting = [unit for unit, length in _RATE_S.items() if min(rates) * length >= 1] or ["d"]
    whole = (unit for unit in fitting if all(_is_whole(rate * _RATE_S[unit]) for rate in rates))
    unit = next(whole, fitting[0])
    shown = (f"{rate * _RATE_S[unit]:,.2f}".rstrip("0").rstrip(".") for rate in rates)
    return [f"{number} per {_UNITS[unit]}" for number in shown]


def _is_whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-6 * max(1.0, number)


def size_text(size: int) -> str | int:
    """Return a size as documents have it, with the largest unit that divides it: `1MiB`."""
    return next((f"{size // unit}{name}" for name, unit in _SIZES if size % unit == 0), size)


def _present(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
