"""Decoding of CloudEvents 1.0 over HTTP, in binary, structured and batched mode.

Pure; used by `validator`. Invariant: each event is one JSON object in the standard's JSON format, with every
required attribute and only attributes that the standard allows.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

from iogate.gateway.http import decoding
from iogate.gateway.http.responses import HTTPError, invalid, unsupported
from iogate.http_syntax import TOKEN
from iogate.security.one_time_links import EVENT

MAX_EVENTS: Final = 1_000
"""Limit of events per batch."""
STRUCTURED: Final = b"application/cloudevents+json"
BATCHED: Final = b"application/cloudevents-batch+json"
_MODES: Final = (
    "application/cloudevents+json, application/cloudevents-batch+json, or the headers ce-id, ce-source, "
    "ce-type and ce-specversion"
)
_REQUIRED: Final = ("specversion", "id", "source", "type")
_FORM: Final = b"application/x-www-form-urlencoded"
_PREFIX: Final = b"ce-"
LONGEST: Final = 2_048
"""Limit of characters per attribute; longer content belongs in `data`."""

_NAME = re.compile(r"[a-z0-9]{1,64}")
_MEDIA = re.compile(rf"{TOKEN}/{TOKEN}(\s*;.*)?", re.DOTALL)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
_LEAP = re.compile(r":60(?=[Z+-])")
_CHARSET = re.compile(rb"charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_encode = msgspec.json.Encoder().encode


def read(headers: Mapping[bytes, bytes], repeated: frozenset[bytes], body: bytes) -> list[bytes]:
    """Decode the CloudEvents of a request to JSON. Raises HTTPError: a 400 or 415.

    The message of a 400 names the attribute.
    """
    label = headers.get(b"content-type", b"")
    media, _, parameters = label.partition(b";")
    media = media.strip().lower()
    if media in (STRUCTURED, BATCHED):
        decoding.check_charset(parameters)
        value = decoding.json(body)
        if media == STRUCTURED:
            return [_encode(_structured(value, "The event"))]
        return [_encode(event) for event in _batch(value)]
    if media.startswith(b"application/cloudevents"):
        raise unsupported(f"Events as {media.decode('latin-1')[:60]} are not supported; expected {_MODES}")
    named = [name for name in headers if name.startswith(_PREFIX)]
    if not named:
        raise unsupported(f"The request is not an event: expected the content type {_MODES}")
    for name in named:
        if name in repeated:
            raise invalid(f"The header {name.decode('latin-1')[:80]} is given more than once")
    return [_encode(_binary({name: headers[name] for name in named}, label, media, body))]


def _batch(value: Any) -> Iterator[dict[str, Any]]:
    if type(value) is not list:
        raise invalid("The batch is not a list of events")
    if len(value) > MAX_EVENTS:
        raise invalid(f"The batch has {len(value)} events; expected at most {MAX_EVENTS}")
    for number, each in enumerate(value):
        yield _structured(each, f"Event {number} of the batch")


def _structured(value: Any, which: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise invalid(f"{which} is not a JSON object")
    event = {}
    for name, given in value.items():
        if name in ("data", "data_base64"):
            if given is not None or name == "data":
                event[name] = given
            continue
        if not _NAME.fullmatch(name):
            raise invalid(
                f"{which} has the attribute {_quoted(name)}; names consist of lower-case letters and digits"
            )
        if given is not None:
            event[name] = _attribute(name, given, which)
    _check(event, which)
    if "data_base64" in event:
        if "data" in event:
            raise invalid(f"{which} has both data and data_base64; expected one of them")
        _check_base64(event["data_base64"], which)
    return event


_TEXTS: Final = frozenset({*_REQUIRED, "subject", "time", "datacontenttype", "dataschema"})


def _attribute(name: str, value: Any, which: str) -> Any:
    if type(value) is str or (name not in _TEXTS and _is_simple(value)):
        return value
    if type(value) is float and name not in _TEXTS and value.is_integer() and _is_simple(int(value)):
        return int(value)  # JSON has one kind of numbers: 3.0 is an integer
    expected = "text" if name in _TEXTS else "text, true, false or an integer of 32 bits"
    raise _wrong(name, which, f"not {expected}")


def _is_simple(value: Any) -> bool:
    return type(value) is bool or (type(value) is int and -(2**31) <= value < 2**31)


def _binary(named: Mapping[bytes, bytes], label: bytes, media: bytes, body: bytes) -> dict[str, Any]:
    event: dict[str, Any] = {}
    for header, raw in named.items():
        text = header.decode("latin-1")
        name = text[len(_PREFIX) :]
        if name == "datacontenttype":
            raise invalid("The header ce-datacontenttype is not allowed; Content-Type says it")
        if name == "data" or not _NAME.fullmatch(name):
            raise invalid(
                f"The header {_quoted(text)} does not name an attribute; names consist of letters and digits"
            )
        event[name] = _header(text, raw)
    _check(event, "The event", _PREFIX.decode())
    if not body:
        return event
    if not media or media == b"application/json" or media.endswith(b"+json"):
        event["datacontenttype"] = _text(label) or "application/json"
        event["data"] = decoding.json(body)
        return event
    if media == _FORM and body.lstrip()[:1] in (b"{", b"["):
        # `curl -d '{…}'` labels JSON as a form.
        event["datacontenttype"] = "application/json"
        event["data"] = decoding.json(body)
        return event
    kind = _text(label)
    if not _MEDIA.fullmatch(kind):
        raise invalid("The header Content-Type is not a media type")
    event["datacontenttype"] = kind
    written = _written(media, label, body)
    if written is None:
        event["data_base64"] = base64.b64encode(body).decode()
    else:
        event["data"] = written
    return event


def _written(media: bytes, label: bytes, body: bytes) -> str | None:
    """Return the data of a CloudEvent of a text type as text, as in JSON; None for other types."""
    if not (media.startswith(b"text/") or media == b"application/xml" or media.endswith(b"+xml")):
        return None
    found = _CHARSET.search(label)
    if found is not None and found[1].lower() not in decoding.UTF8:
        return None
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _header(name: str, raw: bytes) -> str:
    """Decode the attribute of a CloudEvent in a header: remove quotes, then percent-decode UTF-8."""
    value = raw.strip()
    if len(value) > 1 and value[:1] == value[-1:] == b'"':
        value = re.sub(rb"\\(.)", rb"\1", value[1:-1])
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise invalid(f"The header {name[:80]} is not UTF-8 once its percent-encoding is undone") from None


def _check(event: Mapping[str, Any], which: str, prefix: str = "") -> None:
    for name in _REQUIRED:
        if not event.get(name):
            subject = f"The header {prefix}{name}" if prefix else f"The attribute {name} of {_inner(which)}"
            raise invalid(f"{subject} is {'empty' if name in event else 'missing'}")
    if event["specversion"] != "1.0":
        found = _quoted(event["specversion"])
        raise invalid(f"{which} has the specversion {found}; expected 1.0")
    if event["type"].startswith(EVENT):
        raise invalid(f"{which} has a type that begins with {EVENT}; only a link sends such events")
    for name, value in event.items():
        if name in ("data", "data_base64"):
            continue
        if type(value) is str and len(value) > LONGEST:
            raise _wrong(name, which, f"longer than {LONGEST} characters")
        if type(value) is str and _UNPRINTABLE.search(value):
            raise _wrong(name, which, "not printable")
    for name in ("subject", "datacontenttype", "dataschema"):
        if event.get(name) == "":
            raise _wrong(name, which, "empty")
    if any(character.isspace() for character in event["source"]):
        raise _wrong("source", which, "not a URI reference")
    if "dataschema" in event and not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:\S+", event["dataschema"]):
        raise _wrong("dataschema", which, "not an absolute URI")
    if "datacontenttype" in event and not _MEDIA.fullmatch(event["datacontenttype"]):
        raise _wrong("datacontenttype", which, "not a media type")
    if "time" in event and not _is_time(event["time"]):
        raise _wrong("time", which, "not a timestamp of RFC 3339")


def _check_base64(value: Any, which: str) -> None:
    try:
        # Python also decodes a text with one `=` too many.
        if type(value) is str and len(value) % 4 == 0:
            base64.b64decode(value.encode("ascii"), validate=True)
            return
    except (binascii.Error, UnicodeEncodeError):
        pass
    raise invalid(f"The member data_base64 of {_inner(which)} is not base64 text")


def _is_time(text: str) -> bool:
    if not _TIME.fullmatch(text):
        return False
    try:
        # RFC 3339 has leap seconds, Python does not; fractions are cut.
        datetime.fromisoformat(_LEAP.sub(":59", re.sub(r"\.\d+", "", text.upper())))
    except ValueError:
        return False
    return True


def _wrong(name: str, which: str, why: str) -> HTTPError:
    return invalid(f"The attribute {name} of {_inner(which)} is {why}")


def _inner(which: str) -> str:
    return which[:1].lower() + which[1:]


def _quoted(text: str) -> str:
    return _encode(text[:60].encode(errors="replace").decode()).decode()


def _text(label: bytes) -> str:
    return label.decode("latin-1").strip()
