"""Redaction of known secrets in text for people, in all usual encodings and letter cases.

Called by the log formatters, by the effects for the output of processes, and by the worker for journals and
errors. Pure. Invariant: text is redacted before it is cut, and text whose beginning is missing loses as many
characters as the longest secret has, so that no part of a secret remains at a cut.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shlex
import string
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

from iogate.security.redaction_patterns import REDACTED

SHORTEST: Final = 4
"""Minimum bytes of a secret. A shorter text is a port or a flag beside one: redacting each "1" would make
errors and logs unreadable."""
SHORTEST_LINE: Final = 12
"""Minimum characters of a line of a multi-line secret to be redacted on its own."""
_SHORTEST_CORE: Final = 6
"""Minimum characters of base64 for a meaningful match."""
_WRAPPED: Final = 12
"""Minimum characters of a form to be searched for across line breaks, as `base64` and PEM insert."""

_LONGEST_DUMPED: Final = 1024
"""Maximum bytes of a secret whose dumps are searched for, which are up to four times as long."""

_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_SAFE: Final = ("", "/", "!'()*", "@:/!$&'()*+,;=~", "?/:@!$'()*,~")
"""Characters that percent-encoders keep: jq, most, JavaScript, the HTTP client (paths, queries)."""
_ESCAPED: Final = re.compile(r"[^A-Za-z0-9_@%+=:,./-]")
_CONTROL: Final = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\"}
_INTERPRETED: Final = re.compile(r"\\([ntrabfv\\])")
"""Escapes that `printf` and the `echo` of some shells interpret."""
_BREAKS: Final = re.compile(r"[\r\n]+")


class Redactor:
    """Set of secrets to redact, in all their forms; without secrets it takes no time."""

    def __init__(self, secrets: Iterable[Any] = ()) -> None:
        self._forms: tuple[str, ...] = ()
        self._lengths: tuple[int, ...] = ()
        self.add_forms(disguises(secrets))

    def add_forms(self, forms: Iterable[str]) -> None:
        """Add exact forms of secrets to redact in any letter case."""
        folded = {form.translate(_LOWER) for form in forms if form}
        self._forms = tuple(sorted({*self._forms, *folded}, key=lambda form: (len(form), form)))
        self._lengths = tuple(map(len, self._forms))

    @property
    def idle(self) -> bool:
        """True if the redactor knows no secret."""
        return not self._forms

    @property
    def longest(self) -> int:
        """Characters of the longest form of a secret that the redactor knows."""
        return self._lengths[-1] if self._lengths else 0

    def text(self, text: str) -> str:
        """Return the text with `[redacted]` in place of each known secret, in all its forms."""
        return self._without(text, self.spans(text))

    def tail(self, text: str, keep: int, *, partial: bool = False) -> str:
        """Return the last `keep` characters of the redacted text; `partial`: its beginning is missing.

        A shortened text starts with an ellipsis.
        """
        spans = self.spans(text)
        start = 0
        if partial and self.longest:
            start = min(len(text), self.longest - 1)
            start = next((end for begin, end in spans if begin < start < end), start)
        clean = self._without(text[start:], [(b - start, e - start) for b, e in spans if b >= start])
        if len(clean) > keep:
            return "…" + clean[-keep:]
        return "…" + clean if partial and clean else clean

    def split(self, text: str, at: int) -> tuple[str, str]:
        """Return the redacted text before `at` and the raw rest; a cut in a secret moves to its end."""
        spans = self.spans(text)
        at = next((end for begin, end in spans if begin < at < end), at)
        return self._without(text[:at], [span for span in spans if span[1] <= at]), text[at:]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return start and end of each known secret in a text, in order; overlapping ones are joined."""
        if not self._lengths or len(text) < self._lengths[0]:
            return []
        found = self._occurrences(text.translate(_LOWER), 0)
        if "\n" in text:
            places = [place for place, character in enumerate(text) if character not in "\r\n"]
            joined = text.translate(_LOWER).replace("\r", "").replace("\n", "")
            found += [
                (places[begin], places[end - 1] + 1) for begin, end in self._occurrences(joined, _WRAPPED)
            ]
        if not found:
            return found
        found.sort()
        spans = [found[0]]
        for begin, end in found[1:]:
            last_begin, last_end = spans[-1]
            if begin < last_end:
                spans[-1] = (last_begin, max(last_end, end))
            else:
                spans.append((begin, end))
        return spans

    def _occurrences(self, folded: str, least: int) -> list[tuple[int, int]]:
        found = []
        for form in self._forms[: bisect_right(self._lengths, len(folded))]:
            if len(form) < least:
                continue
            at = folded.find(form)
            while at >= 0:
                found.append((at, at + len(form)))
                at = folded.find(form, at + 1)
        return found

    @staticmethod
    def _without(text: str, spans: list[tuple[int, int]]) -> str:
        if not spans:
            return text
        parts: list[str] = []
        at = 0
        for begin, end in spans:
            parts += (text[at:begin], REDACTED)
            at = end
        return "".join((*parts, text[at:]))


def leaves(value: Any) -> Iterable[str]:
    """Yield the texts to redact in a secret, which may be a whole JSON object."""
    match value:
        case str():
            yield value
        case Mapping():
            for member in value.values():
                yield from leaves(member)
        case list() | tuple():
            for member in value:
                yield from leaves(member)
        case bool() | None:
            pass
        case _:
            yield str(value)


def disguises(secrets: Iterable[Any]) -> set[str]:
    """Return all forms to redact in which these secrets, and their longer lines, may appear in a text."""
    return {
        form
        for secret in secrets
        for text in leaves(secret)
        for part in _parts(text)
        if len(_bytes(part)) >= SHORTEST
        for form in _forms(part)
    }


def _parts(text: str) -> Iterable[str]:
    yield text
    lines = [line.strip() for line in _BREAKS.split(text)]
    if len(lines) > 1:
        yield text.strip()
        yield from (line for line in lines if len(line) >= SHORTEST_LINE)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _forms(secret: str) -> Iterable[str]:
    yield secret
    yield secret.lower()
    yield secret.upper()
    for safe in _SAFE:
        yield quote(_bytes(secret), safe=safe)
        yield quote_plus(_bytes(secret), safe=safe)
    yield _bytes(secret).hex()
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield _INTERPRETED.sub(lambda found: _CONTROL[found[1]], secret)
    yield shlex.quote(secret)[1:-1] if shlex.quote(secret) != secret else secret
    yield secret.replace("'", r"'\''")
    yield _ESCAPED.sub(lambda found: "\\" + found[0], secret)
    with contextlib.suppress(UnicodeError):  # not a valid host name
        yield secret.encode("idna").decode("ascii")
    yield from _base64_cores(_bytes(secret))
    if len(_bytes(secret)) <= _LONGEST_DUMPED:
        yield from _dumps(_bytes(secret))


def _dumps(raw: bytes) -> Iterable[str]:
    """Yield a known secret as byte dumps show it: `od -tx1`, `xxd`, fingerprints, escapes of each byte."""
    for separator in (" ", ":"):
        yield raw.hex(separator)
    for escape in ("%", "\\x"):
        yield escape + raw.hex("%").replace("%", escape)
    # `xxd` groups two bytes; in a longer text the secret starts in the middle of a group or at its start.
    yield raw.hex(" ", -2)
    yield raw[:1].hex() + " " + raw[1:].hex(" ", -2)


def _base64_cores(raw: bytes) -> Iterable[str]:
    # In a longer text ("user:secret") base64 encodes three bytes as four characters, so that a secret has
    # three forms, whose first and last characters also depend on the adjacent bytes.
    for before in range(3):
        image = base64.b64encode(b"\0" * before + raw).rstrip(b"=").decode("ascii")
        start = (0, 2, 3)[before]
        whole = (before + len(raw)) % 3 == 0
        core = image[start:] if whole else image[start:-1]
        if len(core) >= _SHORTEST_CORE:
            yield core
            yield core.replace("+", "-").replace("/", "_")
