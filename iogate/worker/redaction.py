"""Takes secrets out of what is written for people: journal, errors, details.

Used by `active`, `journal` and `vault`. Outputs are the author's data and stay as they are; a workflow
that copies a secret into its data is warned of when it is compiled. Invariant: no text that went through
`scrub` holds a known secret, in clear, base64, hex or percent-encoded, wherever in a text it stands.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote, quote_plus

from iogate.engine.commands import CallHttp, CallOpenApi, Perform, Performed
from iogate.engine.raising import RaisedError
from iogate.errors import STANDARD_TYPES, WorkflowError

HIDDEN: Final = "[secret]"
SHORTEST: Final = 4
"""Bytes below which a text is no secret, but a port or a flag beside one: to hide each "1" would
make errors and logs unreadable and hide nothing."""
_SHORTEST_CORE: Final = 6
"""Characters of base64 below which a match says nothing."""


def leaves(value: Any) -> Iterable[str]:
    """The texts in a secret, which may be a whole JSON object."""
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
    """Every form in which these secrets may stand in a text."""
    return {
        form
        for secret in secrets
        for text in leaves(secret)
        if len(_bytes(text)) >= SHORTEST
        for form in _forms(text)
    }


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


_SAFE: Final = ("", "/", "!'()*", "@:/!$&'()*+,;=~", "?/:@!$'()*,~")
"""What they leave as it is who percent-encode: jq, most, JavaScript, the HTTP client in paths and queries."""
_ESCAPE: Final = re.compile("%[0-9A-F]{2}")


def _forms(secret: str) -> Iterable[str]:
    yield secret
    for encoded in (encode(secret, safe=safe) for safe in _SAFE for encode in (quote, quote_plus)):
        yield encoded
        yield _ESCAPE.sub(lambda escape: escape[0].lower(), encoded)
    yield _bytes(secret).hex()
    yield _bytes(secret).hex().upper()
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    raw = _bytes(secret)
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


class Redaction:
    """Scrubs a set of secrets; without any it costs nothing."""

    def __init__(self, secrets: Iterable[Any] = ()) -> None:
        ordered = sorted(disguises(secrets), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    @property
    def idle(self) -> bool:
        """There is nothing to hide."""
        return self._pattern is None

    def text(self, text: str) -> str:
        # What `catch` compares must stay what it is: the standard's names hide nothing.
        if self._pattern is None or text in STANDARD_TYPES:
            return text
        return self._pattern.sub(HIDDEN, text)

    def scrub(self, value: Any) -> Any:
        """A JSON value without secrets in its texts and keys."""
        if self._pattern is None:
            return value
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return {self.text(str(key)): self.scrub(member) for key, member in value.items()}
            case list() | tuple():
                return [self.scrub(member) for member in value]
            case _:
                return value

    def outcome(self, perform: Perform, performed: Performed) -> Performed:
        """What an effect gave, clean where it is our word: its error, and the request it shows.

        `output: response` repeats what the author put into headers and query; the answer is data.
        """
        if self._pattern is None:
            return performed
        if performed.error is not None:
            return replace(performed, error=self.error(performed.error))
        match perform.effect, performed.output:
            case CallHttp(output="response") | CallOpenApi(output="response"), {"request": request, **answer}:
                return replace(performed, output={"request": self.scrub(request), **answer})
            case _:
                return performed

    def error(self, error: WorkflowError) -> WorkflowError:
        """An error whose title and detail are clean: it enters frames, and `catch` sees it."""
        if self._pattern is None:
            return error
        kind = RaisedError if isinstance(error, RaisedError) else WorkflowError
        return kind(
            self.text(error.type),
            status=error.status,
            title=None if error.title is None else self.text(error.title),
            detail=None if error.detail is None else self.text(error.detail),
            instance=error.instance,
        )
