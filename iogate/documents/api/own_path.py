"""The keys `path` and `mode` of a method: an additional URL of an API."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, WithJsonSchema

from iogate.documents.base_model import rule_error
from iogate.documents.field_types import Text
from iogate.messages import quoted
from iogate.url_paths import MAX_PATH, is_plain, reserved_for


def _path(value: str) -> str:
    if not is_plain(value):
        raise rule_error(
            f"{quoted(value)} is no path of a URL",
            code=56,
            hint=_correction(value),
        )
    owner = reserved_for(value)
    if owner:
        raise rule_error(
            f"{quoted(value)} belongs to {owner}",
            code=57,
            hint="choose another path, for example one below /hooks",
        )
    return value


def _correction(value: str) -> str:
    """Return a hint for an invalid own path of an API."""
    if "://" in value:
        return "leave out scheme and host: /hooks/orders"
    if "{" in value or "*" in value:
        return "a path is exact and has no parameters: send them in the query or in the body"
    if "%" in value:
        return "write the path without percent-encoding: the gateway refuses encoded paths"
    if len(value) > 1 and value.endswith("/"):
        return f"write {value.rstrip('/') or '/hooks/orders'}: the gateway refuses a slash at the end"
    if not value.startswith("/"):
        return "begin with a slash: /hooks/orders"
    return f"write segments of letters, digits and -._~!$&'()*+,;=:@, at most {MAX_PATH} characters"


_SCHEMA: Final = {"type": "string", "pattern": "^/", "maxLength": MAX_PATH}

OwnPath = Annotated[Text, AfterValidator(_path), WithJsonSchema(_SCHEMA)]
"""Absolute path outside those of iogate, exact and case-sensitive."""
