"""Strict reading of the query or body of an operator's request, with the types of `value_types`.

Used by `operator_api`. Invariants: an unknown or repeated parameter is an error, with a suggestion; all
errors of a request are in one message; no message repeats a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from iogate.gateway.http import decoding
from iogate.gateway.http.responses import HTTPError, invalid, unsupported
from iogate.gateway.validation import call_input
from iogate.messages import conjoined, listed, nearest
from iogate.operators.activity import REASON_MOST
from iogate.settings.table import PROJECT_NAME
from iogate.timing import moments
from iogate.value_types.collection_types import Key, ValueType, record
from iogate.value_types.faults import Fault, InvalidValue, wrong_form
from iogate.value_types.scalar_types import pattern

if TYPE_CHECKING:
    from iogate.gateway.http.request import Request
    from iogate.gateway.operators.operation import Operation

_FORMS: Final = ("application/x-www-form-urlencoded", "")


def _read_reason(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > REASON_MOST:
        raise wrong_form(f"a text of 1 to {REASON_MOST} characters")
    return value


def _read_moment(value: Any) -> moments.Moment:
    if not isinstance(value, str):
        raise wrong_form(moments.FORMS)
    try:
        return moments.parse_moment(value, UTC)
    except (ValueError, OverflowError):
        raise wrong_form(moments.FORMS) from None


REASON: Final = Key(
    type=ValueType(
        read=_read_reason,
        form="text",
        schema=lambda: {"type": "string", "minLength": 1, "maxLength": REASON_MOST},
    ),
    description="Reason of the change, for the activity.",
)
MOMENT: Final = ValueType(
    read=_read_moment, form="text", schema=lambda: {"type": "string", "examples": ["24h", "2026-01-31"]}
)
"""A date and time, in UTC unless it says otherwise, or how long ago."""
CURSOR: Final = Key(
    type=pattern("a cursor of an earlier page", r"[A-Za-z0-9_.~=-]{1,512}"),
    required=False,
    description="Continue after the page that returned this cursor.",
)

PROJECT: Final = Key(
    type=PROJECT_NAME,
    required=False,
    description="Project; default: the setting `project` of the gateway.",
)


def keys_of(operation: Operation) -> dict[str, Key]:
    """Return the declared parameters of an operation, with the reason if it is a change."""
    declared = operation.body if operation.reads_body else operation.query
    reason = replace(REASON, required=False) if operation.has_dry_run else REASON
    return {**declared, "reason": reason} if operation.changes else dict(declared)


def read(operation: Operation, request: Request) -> dict[str, Any]:
    """Return the parameters of an operator's request, after its body was read.

    Raises HTTPError: a 400 or 415.
    """
    keys = keys_of(operation)
    query = decoding.pairs(request.query, "query string")
    if not operation.reads_body:
        return _values(keys, {name: _from_text(keys, name, text) for name, text in query.items()}, _QUERY)
    if query:
        raise invalid(f"Unknown query parameter {_quoted(next(iter(query)))}; parameters are in the body")
    found = _body(request)
    if not isinstance(found, dict):
        raise invalid("The body must be a JSON object")
    if operation.has_dry_run and found.get("dry_run") is not True:
        keys["reason"] = REASON
    return _values(keys, found, _BODY)


def check_query(
    query: Mapping[str, Sequence[str]], known: Sequence[str], *, lists: Sequence[str] = ()
) -> None:
    """Check that an operator's query has only `known` parameters, each once apart from `lists`.

    Raises HTTPError, a 400, that names the first other one.
    """
    for name, values in query.items():
        if name not in known:
            fault = Fault(kind="unknown", path=(name,), choices=tuple(known))
            raise invalid(_describe(fault, *_QUERY))
        if len(values) > 1 and name not in lists:
            raise _given_twice(name)


def _given_twice(name: str) -> HTTPError:
    return invalid(f"The query parameter {_quoted(name)} is given more than once")


_QUERY: Final = ("query parameter", "The query parameter {}")
_BODY: Final = ("member of the body", "The member {} of the body")


def _body(request: Request) -> Any:
    call_input.check_encoding(request)
    label = request.headers.get(b"content-type", b"").decode("latin-1")
    media = label.partition(";")[0].strip().lower()
    is_json = media == "application/json" or media.endswith("+json")
    if not is_json and (media not in _FORMS or request.body.lstrip()[:1] not in (b"{", b"[", b"")):
        raise unsupported(f"The content type {media[:100]} is not supported; expected application/json")
    if is_json:
        decoding.check_charset(label.partition(";")[2].encode("latin-1"))
    return decoding.json(request.body) if request.body.strip() else {}


def _from_text(keys: Mapping[str, Key], name: str, text: str | list[str]) -> Any:
    """Convert the text of an operator's query parameter to its type in JSON. Raises HTTPError: a 400."""
    form = keys[name].type.form if name in keys else "text"
    if form == "list":
        return [each for part in ([text] if isinstance(text, str) else text) for each in part.split(",")]
    if not isinstance(text, str):
        raise _given_twice(name)
    match form:
        case "number":
            return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text
        case "boolean":
            return {"true": True, "false": False}.get(text, text)
        case _:
            return text


def _values(keys: Mapping[str, Key], given: Mapping[str, Any], words: tuple[str, str]) -> dict[str, Any]:
    try:
        return record(keys, dict, null_is_absent=True).read(given)
    except InvalidValue as error:
        raise _refusal(error, words) from None


def _refusal(error: InvalidValue, words: tuple[str, str]) -> HTTPError:
    return invalid("; ".join(_describe(fault, *words) for fault in error.faults[:5]))


def _describe(fault: Fault, kind: str, subject: str) -> str:
    name = subject.format(".".join(str(step) for step in fault.path))
    match fault.kind:
        case "missing":
            return f"{name} is missing"
        case "unknown":
            meant = nearest(str(fault.path[-1]), fault.choices)
            names = conjoined(fault.choices) if fault.choices else "none"
            hint = f'did you mean "{meant}"?' if meant else f"expected {names}"
            return f"Unknown {kind} {_quoted(str(fault.path[-1]))}; {hint}"
        case "rule":
            return f"{name}: {fault.message}"
        case "choice":
            return f"{name} must be one of {listed(fault.choices)}"
        case "empty":
            return f"{name} must not be empty"
        case _:
            return f"{name} must be {fault.expected or 'of another type'}"


def _quoted(name: str) -> str:
    return json.dumps(name[:80], ensure_ascii=True)
