"""Input of a call: read from its body, query or whole request, and validated by the API's schema.

Pure; used on the event loop and in the validation process. Invariant: an input never contains a credential.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from iogate.file_references import MEMBER, PREFIX, FileMetadata
from iogate.gateway.http import decoding
from iogate.gateway.http.responses import invalid, unsupported
from iogate.gateway.validation import input_keys
from iogate.gateway.validation.input_keys import Tokens
from iogate.gateway.validation.schema import IN_PROCESS, Describing, Schema, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iogate.gateway.calls.call_files import Upload
    from iogate.gateway.calls.routing_table import Route
    from iogate.gateway.http.request import RawHeaders, Request

_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="deterministic").encode


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """Parts of a request that the input is built from."""

    method: str
    query: bytes
    content_type: bytes
    body: bytes
    headers: dict[str, str] | None = None
    """Without credentials; None unless the whole request is the input."""
    wrapped: bool = False
    """Whether a form with the only field `payload` has the body in that field."""
    delivery: str = ""
    """Member of the body with the id of the delivery, which is wanted; empty if none is."""
    fields: tuple[tuple[str, str | FileMetadata], ...] | None = None
    """Fields of a form with files, in place of the body."""
    raw: FileMetadata | None = None
    """The body as a file, for the input that has it in addition."""
    files: bool = False
    """Whether the API takes files in forms, also if this call has none."""

    @property
    def decoded(self) -> bytes:
        """Data of the input of a call that decoders of JSON read, without the percent-encoding of forms."""
        query = decoding.without_escapes(self.query)
        if self.fields is None:
            return query + decoding.readable(self.body, self.content_type)
        return query + "".join(found for _, found in self.fields if isinstance(found, str)).encode()

    @property
    def size(self) -> int:
        """Size of the data that the input of a call is built from, in bytes."""
        if self.fields is None:
            return len(self.body) + len(self.query)
        fields = sum(len(name) + (len(f) if isinstance(f, str) else FILE_SIZE) for name, f in self.fields)
        return fields + len(self.query)


class Input(msgspec.Struct, frozen=True, kw_only=True, tag="input"):
    """A valid input as JSON, with the digest that identifies a repeated call."""

    json: bytes
    fingerprint: str
    delivery: str | None = None
    """Id of the delivery, if it was wanted and is a text."""
    keys: tuple[str | None, ...] = ()
    """Texts at the pointers that the API names; None for a place that the input does not have."""
    attributes: tuple[str | None, ...] = ()
    """Texts of the attributes that the API declares; None for one that the input does not have."""


FILE_SIZE: Final = 512
"""Size that the metadata of a file counts for."""
_REFERENCE: Final = f'"{MEMBER}":"{PREFIX}'.encode()
_JSON_LABELS = (b"", b"application/json")


def check_encoding(request: Request) -> None:
    """Raise HTTPError, a 415, for a compressed input: its size does not bound the decompressed size."""
    encoding = request.headers.get(b"content-encoding")
    if encoding is not None and (encoding := encoding.strip().lower()) not in (b"identity", b""):
        name = encoding.decode("latin-1")[:40]
        raise unsupported(f"The content encoding {name} is not supported; expected none")


def sent(route: Route, request: Request, *, delivery: str = "", upload: Upload | None = None) -> Sent:
    """Return the parts of a request that the input of a call of `route` is built from.

    `delivery` is the member of the body with the id of the delivery, if that is wanted; `upload` are the
    files of the request.
    """
    whole = route.api.input_from == "request"
    fields = None if upload is None else upload.fields
    return Sent(
        method=request.method,
        query=request.query,
        content_type=request.headers.get(b"content-type", b""),
        body=request.body if fields is None else b"",
        fields=fields,
        raw=None if upload is None else upload.raw,
        headers=_headers(request.raw_headers, route.authenticator.stripped) if whole else None,
        wrapped=route.wraps,
        delivery=delivery,
        files=route.api.has_files,
    )


def value(given: Sent, schema: Schema | None, *, describing: Describing = IN_PROCESS) -> Any:
    """Return the validated input of a call.

    Raises HTTPError, the 4xx that describes the error, and Undescribed as `Schema.check` does.
    """
    posted = given.method == "POST"
    if given.headers is not None:
        found: Any = {
            "method": given.method,
            "headers": given.headers,
            "query": _fields(schema, decoding.pairs(given.query, "query string"), "query"),
            "body": _body(schema, given, "body") if posted else {},
        }
        if given.raw is not None:
            found["raw"] = given.raw.to_json()
    elif posted:
        found = _body(schema, given, None)
    else:
        found = _fields(schema, decoding.pairs(given.query, "query string"), None)
    if given.files:
        _check_references(given, found)
    if schema is not None:
        schema.check(found, size=given.size, describing=describing)
    return found


def read(
    given: Sent,
    schema: Schema | None,
    *,
    fingerprint: bool,
    pointers: tuple[Tokens, ...] = (),
    attributes: tuple[Tokens, ...] = (),
    describing: Describing = IN_PROCESS,
) -> Input:
    """Return the validated input of a call as JSON; raises as `value` does, and HTTPError for an invalid key.

    The fingerprint excludes headers, since they differ between two attempts of one call. `pointers` are the
    places of keys, `attributes` those of attributes.
    """
    found = value(given, schema, describing=describing)
    digest = ""
    if fingerprint:
        repeated = found
        if given.headers is not None:
            repeated = {name: item for name, item in found.items() if name != "headers"}
        digest = hashlib.sha256(_encode_sorted(repeated)).hexdigest()
    delivery = _delivery(found, given) if given.delivery else None
    keys = tuple(input_keys.text_at(found, tokens) for tokens in pointers)
    return Input(
        json=_encode(found),
        fingerprint=digest,
        delivery=delivery,
        keys=keys,
        attributes=tuple(input_keys.attribute_at(found, tokens) for tokens in attributes),
    )


def _check_references(given: Sent, found: Any) -> None:
    """Raise HTTPError, a 400, if the input of a call has the object of a file that the caller made up.

    Such an object could name a file of the call by another type or size, or thousands of times.
    """
    files = sum(isinstance(each, FileMetadata) for _, each in given.fields or ())
    # The encoder writes no blanks, and escapes every quote in a text.
    if _encode(found).count(_REFERENCE) != files:
        raise invalid(
            f'The input has an object with a "{MEMBER}" to a file, which only the gateway makes; '
            "send the file itself as a part of a multipart body"
        )


def _delivery(found: Any, given: Sent) -> str | None:
    body = found if given.headers is None else found["body"]
    value = body.get(given.delivery) if isinstance(body, dict) else None
    return value if isinstance(value, str) else None


def _body(schema: Schema | None, given: Sent, within: str | None) -> Any:
    label, body = given.content_type, given.body
    if given.fields is not None:
        return _fields(schema, decoding.gather(given.fields), within)
    if given.raw is not None and not decoding.is_decodable(label, body):
        return None
    if given.wrapped:
        body, label = decoding.unwrap(body, label)
    found = decoding.body(body, label)
    # JSON values have types; the fields of a form are all strings.
    if type(found) is dict and label not in _JSON_LABELS and body.lstrip()[:1] != b"{":
        return _fields(schema, found, within)
    return found


def _fields(schema: Schema | None, fields: Mapping[str, Any], within: str | None) -> dict[str, Any]:
    if not fields:
        return {}
    return schema.read(fields, within) if schema is not None else plain(fields)


def _headers(raw: RawHeaders, stripped: frozenset[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in raw:
        if name in stripped:
            continue
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers
