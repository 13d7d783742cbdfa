"""Reader of the form `jwt` of `auth`: tokens (RFC 7519) that an issuer has signed.

Used by `forms`. Pure. Invariants: an algorithm fits the kind of key, so that a token signed with a public key
as shared secret is never accepted; and no secret stands in clear, since a revision has references only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from iogate.auth.model import JwtAuth, Secret
from iogate.auth.references import references
from iogate.value_types.collection_types import Key, Schema, ValueType, list_of, record
from iogate.value_types.faults import Fault, InvalidValue, broken_rule, collecting, wrong_form, wrong_type
from iogate.value_types.scalar_types import choice, interval, matching_text

SYMMETRIC: Final = ("HS256", "HS384", "HS512")
"""Algorithms with a shared secret."""
ASYMMETRIC: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Algorithms with a public key."""
INSTALL: Final = 'JWTs need the extra jwt of iogate: pip install "iogate[jwt]"'

_FORMS: Final = "{env: NAME} or {file: PATH}"
_URL: Final = r"https?://[^\s/?#@]+[^\s#]*"
_CLAIM_FORMS: Final = "a text, a number, true, false, or a list of these"

_REFERENCES: Final = references(env="The environment variable with the key.", file="The file with the key.")


def _read_reference(value: Any) -> Secret:
    if isinstance(value, Mapping):
        for key, source in _REFERENCES.items():
            if key in value:
                return source.read(value)
    if value is None:
        raise wrong_type(_FORMS, value)
    raise broken_rule("a key of jwt is never written in clear or as a hash", code=8, hint=f"give {_FORMS}")


def _read_keys(value: Any) -> tuple[Secret, ...]:
    if not isinstance(value, list | tuple):
        return (_read_reference(value),)
    if len(value) != 2:
        raise broken_rule("a list of keys holds two: the old one and the new one", code=8)
    found: list[Secret] = []
    faults: list[Fault] = []
    for at, each in enumerate(value):
        with collecting(faults, at):
            found.append(_read_reference(each))
    if faults:
        raise InvalidValue(*faults)
    return tuple(found)


def _keys_schema() -> Schema:
    one = {"anyOf": [each.schema() for each in _REFERENCES.values()]}
    return {"anyOf": [*one["anyOf"], {"type": "array", "items": one, "minItems": 2, "maxItems": 2}]}


def _read_texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    found = tuple(dict.fromkeys(list_of(_NAME).read(value)))
    if not found:
        raise InvalidValue(Fault(kind="empty"))
    return found


def _read_algorithms(value: Any) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(_ALGORITHMS.read(value)))
    if not found:
        raise InvalidValue(Fault(kind="empty"))
    return found


def _read_scopes(value: Any) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(list_of(_SCOPE).read(value)))
    if not found:
        raise InvalidValue(Fault(kind="empty"))
    return found


def _read_claims(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise wrong_type("a mapping", value)
    if not value:
        raise InvalidValue(Fault(kind="empty"))
    found: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, wanted in value.items():
        with collecting(faults, name):
            found[_NAME.read(name)] = _read_claim(wanted)
    if faults:
        raise InvalidValue(*faults)
    return found


def _read_claim(value: Any) -> Any:
    if isinstance(value, list | tuple):
        if not value:
            raise InvalidValue(Fault(kind="empty"))
        if all(isinstance(each, str | int | float) for each in value):
            return list(value)
    elif isinstance(value, str | int | float):
        return value
    raise wrong_form(_CLAIM_FORMS)


_NAME: Final = matching_text("a text that is not empty", r"(?s).+")
_SCOPE: Final = matching_text("a scope without spaces and quotation marks", r"[\x21\x23-\x5b\x5d-\x7e]+")
_ALGORITHMS: Final = list_of(choice(*ASYMMETRIC, *SYMMETRIC))
KEYS: Final = ValueType(read=_read_keys, schema=_keys_schema)
"""References to one key, or to two during a rotation."""


def _build(**given: Any) -> JwtAuth[Secret]:
    """Build the form `jwt` of its keys. Raises InvalidValue for keys that do not fit together."""
    sources = [name for name in ("jwks", "key", "secret") if name in given]
    if len(sources) > 1:
        raise broken_rule(
            f"one source of keys, not {' and '.join(sources)}",
            code=6,
            hint="say {any: [ … ]} to accept the tokens of two issuers",
            path=(sources[1],),
            on_key=True,
        )
    issuer = given.get("issuer", "")
    if not sources and not issuer:
        raise broken_rule(
            "jwt has no source of keys",
            code=6,
            hint="give issuer, whose OpenID configuration names its keys, or jwks, key or secret",
        )
    if not sources and not _is_url(issuer):
        raise broken_rule(
            "the keys of an issuer are found by its OpenID configuration if it is a URL, and it is none",
            code=47,
            hint="give jwks, key or secret, too",
            path=("issuer",),
        )
    allowed = SYMMETRIC if "secret" in given else ASYMMETRIC
    for at, algorithm in enumerate(given.get("algorithms", ())):
        if algorithm not in allowed:
            raise broken_rule(
                f"{algorithm} needs a public key, not a shared secret"
                if "secret" in given
                else f"{algorithm} needs a shared secret: with a public key, everyone could sign",
                code=48,
                hint=f"choose among {', '.join(allowed)}",
                path=("algorithms", at),
            )
    return JwtAuth(**{_FIELDS.get(name, name): value for name, value in given.items()})


def _is_url(text: str) -> bool:
    try:
        return bool(_ISSUER_URL.read(text))
    except InvalidValue:
        return False


_FIELDS: Final = {"leeway": "leeway_s"}
_ISSUER_URL: Final = matching_text("a URL with http:// or https://", _URL)
_ONE_OR_MORE: Final[Schema] = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
}

JWT: Final[ValueType[JwtAuth[Secret]]] = record(
    {
        "issuer": Key(
            type=_NAME,
            required=False,
            description="Value of iss; its OpenID configuration names the keys, unless they are given.",
        ),
        "audience": Key(
            type=ValueType(read=_read_texts, schema=lambda: _ONE_OR_MORE),
            required=False,
            description="Value in aud; one of several.",
        ),
        "jwks": Key(type=_ISSUER_URL, required=False, description="URL of the issuer's key set."),
        "key": Key(type=KEYS, required=False, description="Public key of the issuer: PEM, JWK or key set."),
        "secret": Key(type=KEYS, required=False, description="Shared secret of the HS algorithms."),
        "algorithms": Key(
            type=ValueType(read=_read_algorithms, form="list", schema=_ALGORITHMS.schema),
            required=False,
            description="Algorithms of the signature; default: all that fit the keys.",
        ),
        "claims": Key(
            type=ValueType(read=_read_claims, schema=lambda: {"type": "object", "minProperties": 1}),
            required=False,
            description="Claims that must have this value, or one of these; /a/b is a JSON Pointer.",
        ),
        "scopes": Key(
            type=ValueType(
                read=_read_scopes,
                form="list",
                schema=lambda: {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ),
            required=False,
            description="Scopes that a token must have, all of them.",
        ),
        "caller": Key(
            type=_NAME,
            required=False,
            description="The claim that names the caller; default `sub`.",
        ),
        "leeway": Key(type=interval(), required=False, description="Tolerance for the clocks; default 60s."),
    },
    _build,
)
"""Type of the value of `jwt`."""
