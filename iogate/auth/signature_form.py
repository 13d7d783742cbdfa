"""Declaration of the form `signature`: its keys, and the rules between them.

Used by `forms`, which passes the types of secrets. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from iogate.auth.model import TOLERANCE_S, Secret, SignatureAuth, SignatureFormat
from iogate.auth.signature_schemes import PARTS, SCHEMES, parts_of, scheme_of
from iogate.http_syntax import TOKEN
from iogate.messages import nearest, quoted
from iogate.value_types.collection_types import Key, ValueType, record
from iogate.value_types.faults import broken_rule
from iogate.value_types.scalar_types import choice, interval, matching_text

_HEADER: Final = matching_text("the name of a header", TOKEN)
_PREFIX: Final = matching_text("1 to 32 printable characters without spaces", r"[!-~]{1,32}")
_TIMESTAMP: Final[ValueType[dict[str, Any]]] = record(
    {
        "header": Key(type=_HEADER, description="Header with the time of the signature."),
        "prefix": Key(
            type=_PREFIX,
            required=False,
            description="Text before the time, if the header has several elements, such as t=",
        ),
        "unit": Key(type=choice("s", "ms"), required=False, description="Seconds (default) or milliseconds."),
    },
    dict,
)
_DECLARED: Final[Mapping[str, Key]] = {
    "header": Key(type=_HEADER, required=False, description="Of hmac, required: header with the signatures."),
    "prefix": Key(
        type=_PREFIX, required=False, description="Of hmac: text before a signature, such as sha256="
    ),
    "algorithm": Key(
        type=choice("sha256", "sha1", "sha512"), required=False, description="Of hmac; default sha256."
    ),
    "encoding": Key(type=choice("hex", "base64"), required=False, description="Of hmac; default hex."),
    "signed": Key(
        type=matching_text("a text of at most 200 characters", r"(?s).{1,200}"),
        required=False,
        description="Of hmac: template of the signed text, such as {timestamp}.{body}; default {body}. "
        "Parts: body, timestamp, id, method, path, url.",
    ),
    "timestamp": Key(type=_TIMESTAMP, required=False, description="Of hmac: the time of the signature."),
    "id": Key(type=_HEADER, required=False, description="Of hmac: header with the id of the delivery."),
}
_SCHEMES: Final = (*SCHEMES, "hmac")


def signature(
    clear: ValueType[tuple[Secret, ...]], tokens: ValueType[tuple[Secret, ...]], caller: ValueType[str]
) -> ValueType[SignatureAuth[Secret]]:
    """Return the type of `signature`; `clear` is that of its secrets, `tokens` that of `verify_token`."""
    return record(
        {
            "scheme": Key(
                type=choice(*_SCHEMES),
                description="How the sender signs; hmac: as the other keys declare.",
            ),
            "secret": Key(
                type=clear,
                description="The secret that the sender signs with, or its public key (standard-webhooks).",
            ),
            "tolerance": Key(
                type=interval(),
                required=False,
                description="How far a signed time may be from now; default 5m.",
            ),
            "caller": Key(
                type=caller, required=False, description="Caller of the runs; default: the scheme."
            ),
            "verify_token": Key(
                type=tokens,
                required=False,
                description="Of meta, required: token of the request that registers the URL.",
            ),
            **_DECLARED,
        },
        _build,
        near={
            "key": "secret",
            "secrets": "secret",
            "window": "tolerance",
            "name": "caller",
            "template": "signed",
            "payload": "signed",
            "digest": "algorithm",
        },
    )


def _build(
    *,
    scheme: Any,
    secret: tuple[Secret, ...],
    tolerance: float | None = None,
    caller: str | None = None,
    verify_token: tuple[Secret, ...] = (),
    **declared: Any,
) -> SignatureAuth[Secret]:
    """Build the form `signature` of its keys. Raises InvalidValue if its keys contradict each other."""
    if scheme != "hmac":
        for key in declared:
            raise broken_rule(
                f"the scheme {scheme} determines {quoted(key)}",
                code=37,
                hint=f"remove {key}, or declare all of it with scheme: hmac",
                path=(key,),
                on_key=True,
            )
    if scheme == "meta" and not verify_token:
        raise broken_rule(
            'the scheme meta needs "verify_token"',
            code=37,
            hint="give it the token that you enter where you register the URL, such as {env: VERIFY_TOKEN}",
        )
    if scheme != "meta" and verify_token:
        raise broken_rule(
            '"verify_token" belongs to the scheme meta', code=37, path=("verify_token",), on_key=True
        )
    found = SignatureAuth(
        scheme=scheme,
        secrets=secret,
        caller=caller or scheme,
        tolerance_s=TOLERANCE_S if tolerance is None else tolerance,
        verify_token=verify_token,
        declared=_format(declared) if scheme == "hmac" else None,
    )
    if tolerance is not None and not scheme_of(found).formats[0].timestamp:
        raise broken_rule(
            f"the scheme {scheme} signs no time, so that tolerance has no effect",
            code=37,
            hint='remove it, or declare "timestamp"' if scheme == "hmac" else "remove it",
            path=("tolerance",),
            on_key=True,
        )
    return found


def _format(declared: dict[str, Any]) -> SignatureFormat:
    if "header" not in declared:
        raise broken_rule(
            'the scheme hmac needs "header"', code=37, hint="name the header with the signature"
        )
    moment = declared.pop("timestamp", None) or {}
    found = SignatureFormat(
        **declared,
        timestamp=moment.get("header", ""),
        timestamp_prefix=moment.get("prefix", ""),
        unit=moment.get("unit", "s"),
    )
    _check_template(found)
    return found


def _check_template(format_: SignatureFormat) -> None:
    """Raise InvalidValue if the template of a signature has an unknown part, or omits a required one."""
    try:
        parts = {part for _, part in parts_of(format_.signed)}
    except ValueError as error:
        unknown = str(error)
        meant = nearest(unknown, PARTS)
        raise broken_rule(
            f"unknown part {quoted(unknown)}: expected {', '.join(f'{{{each}}}' for each in PARTS)}",
            code=37,
            hint=f"did you mean {{{meant}}}?" if meant else "",
            path=("signed",),
        ) from None
    if "body" not in parts:
        raise broken_rule(
            "the signed text has no {body}: anyone could change the body",
            code=37,
            hint='write signed: "{timestamp}.{body}", or as the sender does it',
            path=("signed",),
        )
    for part, header in (("timestamp", format_.timestamp), ("id", format_.id)):
        if part in parts and not header:
            raise broken_rule(
                f'the signed text has {{{part}}}, and "{part}" is not declared',
                code=37,
                hint=f"declare the header of it: {part}: "
                + ("{header: NAME}" if part == "timestamp" else "NAME"),
                path=("signed",),
            )
    if format_.timestamp and "timestamp" not in parts:
        raise broken_rule(
            "the signed text has no {timestamp}: anyone could change the time",
            code=37,
            hint='write signed: "{timestamp}.{body}", or as the sender does it',
            path=("timestamp",),
            on_key=True,
        )
