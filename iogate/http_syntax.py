"""Syntax of HTTP messages that several packages check.

Used by the settings, the gateway and the effects. Pure.
"""

from __future__ import annotations

import re
from typing import Final

TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - the term of the RFC
"""Pattern of a method, the name of a header, or half a media type (RFC 9110, section 5.6.2)."""

_TOKEN: Final = re.compile(TOKEN)


def is_token(text: str) -> bool:
    """Tell whether a text is a `token` of the HTTP syntax (RFC 9110, section 5.6.2)."""
    return _TOKEN.fullmatch(text) is not None


def media_type(content_type: str) -> str:
    """Return the media type by the syntax of a Content-Type, in lower case, without parameters."""
    return content_type.partition(";")[0].strip().lower()
