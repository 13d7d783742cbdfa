"""Recognition of secrets in a document by their position, so that no snippet shows one.

The reader asks for each scalar; a source asks for lines of a file that could not be parsed, and of a file of
settings. A misspelt key counts as secret too: the error of `auth: {tokn: …}` must not show the value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_SECRETS: Final = frozenset({"token", "password", "secret", "assertion"})
_BY_NAME: Final = frozenset({"tokens", "users"})
_SOURCES: Final = frozenset({"env", "file", "hash"})
_FORMS: Final = frozenset({"any", "signature", "jwt"})
_SHOWN: Final = frozenset(
    {
        "user",
        "scheme",
        "tolerance",
        "header",
        "prefix",
        "algorithm",
        "encoding",
        "signed",
        "timestamp",
        "id",
        "issuer",
        "audience",
        "jwks",
        "algorithms",
        "claims",
        "scopes",
        "caller",
        "leeway",
    }
)


def room_below(room: str, key: str) -> str:
    """Return the context, for masking, of the value of `key` in a mapping; "" is not secret."""
    if room in _BY_NAME:
        return "secret"
    if room in _SECRETS:
        return "" if key in _SOURCES else "secret"
    if room == "auth":
        if key in _FORMS:
            return "auth"
        if key in _SHOWN:
            return ""
        return key if key in _SECRETS or key in _BY_NAME else "secret"
    return key


def hides(room: str, value: Any) -> bool:
    """Tell whether a scalar in this context is a secret to mask."""
    if value is None or value == "":
        return False
    return room in _SECRETS or (room == "auth" and value != "none")


_SECRET_KEY = re.compile(r"""(?i)(?:token|password|secret|assertion|tokens|users|auth)["']?\s*:(?:\s|$)""")
_VALUE = re.compile(r"""(["']?[\w.-]+["']?\s*:\s+)?(\S.*)""")
_OWN_SOURCE = re.compile(r"""["']?(?:env|file|hash)["']?\s*:""")


def mask_by_shape(lines: Sequence[str], number: int) -> str:
    """Mask values behind or below secret keys in a line of a file that cannot be parsed."""
    text = lines[number]
    found = _SECRET_KEY.search(text)
    if found:
        return text[: found.end()] + re.sub(r"[^\s{}\[\],]", "*", text[found.end() :])
    indent = _indent(text)
    for above in range(number - 1, max(-1, number - 500), -1):
        line = lines[above]
        if not line.strip() or _indent(line) >= indent:
            continue
        indent = _indent(line)
        if _SECRET_KEY.search(line):
            return _masked(text)
    return text


_SETTING = re.compile(r"""(?<!\w)["']?(\w+)["']?[ \t]*:""")
_KEY = re.compile(r"""(?<!\w)(\w+)["']?[ \t]*:(?=[\s"'\[{]|$)""")
_NO_KEYS = re.compile(r"[\[{]|\s#")
"""Begin of brackets or of a comment."""
_INSIDE: Final = ("", " ", "\t", "-", "#")
"""Begin of a line without a setting: empty, indented, an item of a list, or a comment."""


def mask_setting(text: str, lines: Sequence[str], number: int, sensitive: Mapping[str, bool]) -> str:
    """Mask the values in a line of a file of settings, unless they are of a setting that is not sensitive.

    `text` is the line. It belongs to the last setting that begins in this line or above. A line in which
    another setting may begin, as in braces, behind an error, or with a wrong indentation, is masked.
    """
    if _has_another(lines[number], sensitive):
        return re.sub(r"\S", "*", text)
    for above in range(number, max(-1, number - 500), -1):
        if lines[above][:1] in _INSIDE:
            continue
        found = _SETTING.match(lines[above])
        if found is not None and not sensitive.get(found[1], True):
            return text
        if above != number:
            return _without_value(text)
        start = 0 if found is None else found.end()
        return text[:start] + re.sub(r"\S", "*", text[start:])
    return text if text.startswith("#") else _without_value(text)


def _has_another(line: str, sensitive: Mapping[str, bool]) -> bool:
    """Tell whether a sensitive setting begins in a line, apart from the setting at its begin.

    Behind another setting, a misspelt key counts as one, too, unless it is within brackets or a comment.
    """
    if line[:1] in _INSIDE:
        return any(sensitive.get(found[1]) for found in _SETTING.finditer(line))
    first = _SETTING.match(line)
    start = 0 if first is None else first.end()
    known = any(sensitive.get(found[1]) for found in _SETTING.finditer(line, start))
    plain = _NO_KEYS.split(line[start:], maxsplit=1)[0]
    return known or any(sensitive.get(found[1], True) for found in _KEY.finditer(plain))


def _masked(text: str) -> str:
    """Mask the value in a line below a secret key; the source of a secret stays."""
    lead = len(text) - len(text.lstrip())
    return text if _OWN_SOURCE.match(text, lead) else _without_value(text)


def _without_value(text: str) -> str:
    lead = text[: len(text) - len(text.lstrip())]
    found = _VALUE.match(text, len(lead))
    return text if found is None else f"{lead}{found[1] or ''}{'*' * len(found[2])}"


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" -"))
