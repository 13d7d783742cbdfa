"""Redaction: replaces known secrets in text that people read, in every usual encoding and letter case.

Called by the log formatters, by the effects for the output of processes, and by the worker for journals and
errors. Pure. Invariant: text is redacted before it is cut, and text that lacks its beginning loses as many
characters as the longest secret has, so that no part of a secret remains at the edge of a cut.
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

HIDDEN: Final = "[redacted]"

SHORTEST: Final = 4
"""Bytes below which a text is no secret, but a port or a flag beside one: to hide each "1" would
make errors and logs unreadable and hide nothing."""
SHORTEST_LINE: Final = 12
"""Characters from which a line of a multi-line secret is a secret of its own."""
_SHORTEST_CORE: Final = 6
"""Characters of base64 below which a match says nothing."""
_WRAPPED: Final = 12
"""Characters from which a form is also searched for across line breaks, as `base64` and PEM wrap it."""

_LONGEST_DUMPED: Final = 1024
"""Bytes of a secret up to which its dumps are searched for: they are up to four times as long."""

_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_SAFE: Final = ("", "/", "!'()*", "@:/!$&'()*+,;=~", "?/:@!$'()*,~")
"""Characters that percent-encoders leave alone: jq, most, JavaScript, the HTTP client (paths, queries)."""
_ESCAPED: Final = re.compile(r"[^A-Za-z0-9_@%+=:,./-]")
_CONTROL: Final = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\"}
_INTERPRETED: Final = re.compile(r"\\([ntrabfv\\])")
"""Escapes that `echo` of some shells and `printf` act on."""
_BREAKS: Final = re.compile(r"[\r\n]+")


class Redactor:
    """Set of secrets in all their forms; without any secret it costs nothing."""

    def __init__(self, secrets: Iterable[Any] = ()) -> None:
        self._forms: tuple[str, ...] = ()
        self._lengths: tuple[int, ...] = ()
        self.add_forms(disguises(secrets))

    def add_forms(self, forms: Iterable[str]) -> None:
        """Hide these exact texts, too, in any letter case."""
        folded = {form.translate(_LOWER) for form in forms if form}
        self._forms = tuple(sorted({*self._forms, *folded}, key=lambda form: (len(form), form)))
        self._lengths = tuple(map(len, self._forms))

    @property
    def idle(self) -> bool:
        """True if there is nothing to hide."""
        return not self._forms

    @property
    def longest(self) -> int:
        """Characters of the longest form."""
        return self._lengths[-1] if self._lengths else 0

    def text(self, text: str) -> str:
        """Return the text with `[redacted]` in place of each secret."""
        return self._without(text, self.spans(text))

    def tail(self, text: str, keep: int, *, partial: bool = False) -> str:
        """Return the last `keep` characters of the redacted text; `partial`: the text lacks its beginning.

        A text that was shortened starts with an ellipsis.
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
        """Return start and end of each secret in the text, in order; overlapping ones are joined."""
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
            parts += (text[at:begin], HIDDEN)
            at = end
        return "".join((*parts, text[at:]))


def leaves(value: Any) -> Iterable[str]:
    """Yield the texts in a secret, which may be a whole JSON object."""
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
    """Return every form in which these secrets, and the longer lines of each, may stand in a text."""
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
    with contextlib.suppress(UnicodeError):  # else it cannot be a host
        yield secret.encode("idna").decode("ascii")
    yield from _base64_cores(_bytes(secret))
    if len(_bytes(secret)) <= _LONGEST_DUMPED:
        yield from _dumps(_bytes(secret))


def _dumps(raw: bytes) -> Iterable[str]:
    """Yield the secret as dumps of bytes show it: `od -tx1`, `xxd`, fingerprints, escapes of each byte."""
    for separator in (" ", ":"):
        yield raw.hex(separator)
    for escape in ("%", "\\x"):
        yield escape + raw.hex("%").replace("%", escape)
    # `xxd` groups two bytes; in a longer text the secret starts in the middle of a group or at its start.
    yield raw.hex(" ", -2)
    yield raw[:1].hex() + " " + raw[1:].hex(" ", -2)


def _base64_cores(raw: bytes) -> Iterable[str]:
    # Inside of a longer text ("user:secret") three bytes make four characters, so that a secret has
    # three images; the characters at their ends are shared with the neighbours.
    for before in range(3):
        image = base64.b64encode(b"\0" * before + raw).rstrip(b"=").decode("ascii")
        start = (0, 2, 3)[before]
        whole = (before + len(raw)) % 3 == 0
        core = image[start:] if whole else image[start:-1]
        if len(core) >= _SHORTEST_CORE:
            yield core
            yield core.replace("+", "-").replace("/", "_")
