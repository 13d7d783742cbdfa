"""The setting `events`: credentials of event senders, and sinks for events.

`table` imports this module only if the setting is given: most projects have none. Pure. Invariants:
references to secrets stay references, and reading a result again returns the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from iogate.auth.reader import SENDER_AUTH, literals
from iogate.http_syntax import is_token
from iogate.settings.setting_types import REFERENCE
from iogate.value_types.collection_types import Key, ValueType, map_of, record
from iogate.value_types.faults import InvalidValue, wrong_form
from iogate.value_types.scalar_types import boolean, pattern

if TYPE_CHECKING:
    from iogate.auth.model import StoredAuth

_OWN_HEADERS: Final = frozenset({"content-type", "content-length", "host", "transfer-encoding"})
_HEADER_FORMS: Final = "a text of one line, {env: NAME} or {file: PATH}"


def senders(events: Mapping[str, Any]) -> StoredAuth | None:
    """Return the authentication of event senders in the setting `events`; None if events are not accepted.

    `events` is the setting; the result contains no secret in clear text.
    """
    if events.get("auth") is None:
        return None
    from iogate.auth.stored import stored  # noqa: PLC0415 - only gateways and a few commands need hashes

    return stored(SENDER_AUTH.read(events["auth"]), place="events")


def has_literal(events: Mapping[str, Any]) -> bool:
    """Tell whether the setting `events` has a credential of event senders in clear text."""
    return any(True for _ in literals(events.get("auth")))


def _read_auth(value: Any) -> Any:
    """Validate `auth` of the setting `events`, unchanged: child processes read the setting again."""
    SENDER_AUTH.read(value)
    return value


def _read_header_name(value: Any) -> str:
    if not isinstance(value, str) or not is_token(value) or value.lower() in _OWN_HEADERS:
        raise wrong_form("the name of a header that iogate does not set")
    return value


def _read_header(value: Any) -> Any:
    if isinstance(value, str) and value.isprintable():
        return value
    try:
        return REFERENCE.read(value)
    except InvalidValue:
        raise wrong_form(_HEADER_FORMS) from None


def _read_types(value: Any) -> list[str]:
    if (
        not isinstance(value, list | tuple)
        or not value
        or not all(isinstance(each, str) and each for each in value)
    ):
        raise wrong_form("a list of regular expressions of event types")
    try:
        return [re.compile(each).pattern for each in value]
    except re.error:
        raise wrong_form("regular expressions; one does not compile") from None


def _sink(**given: Any) -> dict[str, Any]:
    return {"headers": {}, "emitted": True, "lifecycle": False} | given


SINK: Final[ValueType[dict[str, Any]]] = record(
    {
        "url": Key(
            type=pattern("a URL with http:// or https://", r"https?://[^\s/?#]+[^\s#]*"),
            description="URL that the events are posted to.",
        ),
        "headers": Key(
            type=map_of(
                ValueType(read=_read_header_name, schema=lambda: {"type": "string"}),
                ValueType(
                    read=_read_header, schema=lambda: {"anyOf": [{"type": "string"}, REFERENCE.schema()]}
                ),
            ),
            required=False,
            description="Headers of each request.",
        ),
        "emitted": Key(type=boolean(), required=False, description="Deliver events that workflows emit."),
        "lifecycle": Key(type=boolean(), required=False, description="Deliver lifecycle events."),
        "types": Key(
            type=ValueType(
                read=_read_types,
                schema=lambda: {"type": "array", "minItems": 1, "items": {"type": "string"}},
            ),
            required=False,
            description="Regular expressions of the types to deliver.",
        ),
    },
    _sink,
    null_is_absent=True,
)
EVENTS: Final[ValueType[dict[str, Any]]] = record(
    {
        "auth": Key(
            type=ValueType(read=_read_auth, schema=SENDER_AUTH.schema),
            required=False,
            description="Who may send events; without it, nobody.",
        ),
        "sinks": Key(
            type=map_of(
                pattern(
                    "up to 64 letters, digits, dots, dashes and underscores",
                    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}",
                ),
                SINK,
                "a map of name to {url: URL}",
            ),
            required=False,
            description="Where events are delivered to, by name.",
        ),
    },
    dict,
    null_is_absent=True,
)
