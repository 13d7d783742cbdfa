"""Redaction of members with names of secrets, such as `password`, in inputs and responses.

Called by `store.reading` and `engine.raising`. Pure. It is a second line of defence: credentials of
iogate itself are never stored.
"""

from __future__ import annotations

import re
from typing import Any

REDACTED = "[redacted]"

_SECRET = re.compile(
    r"pass(?:word|wd|phrase|code)?|pwd|secrets?|.*tokens?|api_?keys?|.*_secret|.*_password|access_?keys?"
    r"|private_?keys?|client_?secret|authorization|proxy_?authorization|(?:set_)?cookies?|credentials?"
    r"|signature|x_hub_signature.*|session(?:_?id)?|sid|jwt|bearer|otp|pin|cvv|cvc|.*_api_?key|.*_key_secret",
    re.IGNORECASE,
)
_PAIR = re.compile(
    r"""(?<![\w.-])(?P<start>(?P<name>[A-Za-z][\w.-]{1,63})["']?\s{0,8}[:=]\s{0,8})"""
    r"""(?:"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\n&;,<>}]+)"""
)
"""A member and its value, in text such as a form, a header or incomplete JSON."""
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[-.\s]+")


def is_secret(name: str) -> bool:
    """Tell whether a member of this name probably holds a secret."""
    return _SECRET.fullmatch(_WORDS.sub("_", name)) is not None


def redact(value: Any) -> Any:
    """Return a copy with `[redacted]` as the value of each member that looks like a secret, at any depth."""
    match value:
        case dict():
            return {
                name: REDACTED if item not in (None, "") and is_secret(name) else redact(item)
                for name, item in value.items()
            }
        case list():
            return [redact(item) for item in value]
        case _:
            return value


def redact_text(text: str) -> str:
    """Return the text with `[redacted]` as the value of each member that looks like a secret."""
    return _PAIR.sub(lambda found: found["start"] + REDACTED if is_secret(found["name"]) else found[0], text)
