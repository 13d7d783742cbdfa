"""Redaction by pattern: values with names of secrets, such as `password`, and passwords in URLs.

Called for inputs of runs, bodies of error responses, requests in outputs, and the URL of the store. Pure. The
redaction of members is a second line of defence: credentials of iogate itself are never stored. Known secrets
are redacted by `redaction`, and literal secrets in lines of documents by `documents.yaml.masking`, which
keeps the columns.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote_plus

REDACTED: Final = "[redacted]"
"""The placeholder of each secret in logs, errors, outputs and responses."""

_SECRET: Final = re.compile(
    r"pass(?:word|wd|phrase|code)?|pwd|secrets?|.*tokens?|api_?keys?|.*_secret|.*_password|access_?keys?"
    r"|private_?keys?|client_?secret|authorization|proxy_?authorization|(?:set_)?cookies?|credentials?"
    r"|signature|x_hub_signature.*|session(?:_?id)?|sid|jwt|bearer|otp|pin|cvv|cvc|.*_api_?key|.*_key_secret",
    re.IGNORECASE,
)
_PAIR: Final = re.compile(
    r"""(?<![\w.-])(?P<start>(?P<name>[A-Za-z][\w.-]{1,63})["']?\s{0,8}[:=]\s{0,8})"""
    r"""(?:"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\n&;,<>}]+)"""
)
"""A member and its value, in text such as a form, a header or incomplete JSON."""
_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[-.\s]+")
_SECRET_PART: Final = re.compile(
    r"auth|cookie|token|secret|passw|signature|credential|session|api.?key", re.IGNORECASE
)
_URL_PASSWORD: Final = re.compile(r"(//[^/@:\s]*:)[^/\s]*(?=@)|(password=)[^&]*", re.IGNORECASE)
"""A password ends at the last `@` before the path, as clients read it."""


_LINK: Final = re.compile(r"(/v1/links/[0-9]{1,19}\.[\w-]{1,40}\.[0-9]{1,11}\.)[A-Za-z0-9_-]{22}", re.ASCII)
"""A one-time link, which is valid for everyone who knows its signature."""


def is_secret(name: str) -> bool:
    """Tell whether a name matches the pattern by which redaction takes a member for a secret."""
    return _SECRET.fullmatch(_WORDS.sub("_", name)) is not None


def may_be_secret(name: str) -> bool:
    """Tell whether a header or query parameter matches a pattern of redaction stricter than `is_secret`.

    Requests are shown for diagnosis only, so one value too many may be missing.
    """
    return _SECRET_PART.search(name) is not None


def redact(value: Any) -> Any:
    """Return a copy with `[redacted]` as the value of each member that is named like a secret, at any depth.

    The signatures of one-time links in all texts are redacted, too.
    """
    match value:
        case dict():
            return {
                name: REDACTED if item not in (None, "") and is_secret(name) else redact(item)
                for name, item in value.items()
            }
        case list():
            return [redact(item) for item in value]
        case str():
            return redact_links(value)
        case _:
            return value


def redact_text(text: str) -> str:
    """Return a text with `[redacted]` as the value of each member that is named like a secret."""
    text = _PAIR.sub(lambda found: found["start"] + REDACTED if is_secret(found["name"]) else found[0], text)
    return redact_links(text)


def redact_links(text: str) -> str:
    """Redact by a pattern the signature of each one-time link in a text."""
    return _LINK.sub(rf"\1{REDACTED}", text) if "/v1/links/" in text else text


def redact_query(query: str) -> str:
    """Redact in the encoded query of a URL the value of each parameter that is named like a secret."""
    return "&".join(
        f"{name}={REDACTED}" if value and may_be_secret(unquote_plus(name)) else name + equals + value
        for name, equals, value in (pair.partition("=") for pair in query.split("&"))
    )


def redact_url(url: str, placeholder: str = REDACTED) -> str:
    """Replace by a pattern the password of a URL, and each `password=` in its query, with a placeholder."""
    return _URL_PASSWORD.sub(lambda found: (found[1] or found[2]) + placeholder, url)
