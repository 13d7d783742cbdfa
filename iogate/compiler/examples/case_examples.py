"""Examples in the documentation of an API: those of its debug cases that anybody may see.

Called by `compile`. Pure. Invariants: no example contains a header, a literal secret of the API, a value with
the name of a secret, or a text that has the form of a credential, since examples are stored and shown without
credentials; their number and size are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from iogate.auth.model import LiteralSecret
from iogate.compiler.revision import Example, Verb
from iogate.documents.api import DebugCase, Method
from iogate.security.credential_shapes import redact_credentials
from iogate.security.redaction import Redactor
from iogate.security.redaction_patterns import REDACTED, is_secret, redact, redact_text

MOST: Final = 5
"""Examples of one API."""
MAX_BYTES: Final = 4096
"""Of one example."""

_BEARER: Final = re.compile(r"\b(Bearer|(?i:\A\s*bearer))\s+\S+")
_NAMES: Final = frozenset({"name", "key", "header"})
"""Members with the name of a header in lists such as `[{name: Authorization, value: …}]`."""


def examples_of(method: Method) -> tuple[Example, ...] | msgspec.UnsetType:
    """Return the first examples that debug cases of a method give; unset without one."""
    redactor = Redactor(_literals(method.auth) if method.auth is not None else ())
    verbs = method.verbs or ["POST"]
    is_whole = method.input is not None and method.input.from_ == "request"
    found: list[Example] = []
    for case in method.debug or ():
        if case.headers and is_whole:
            continue  # without its headers, an operator who replays it would send another input
        if len(found) < MOST and (example := _example(case, verbs, redactor)) is not None:
            found.append(example)
    return tuple(found) or msgspec.UNSET


def _example(case: DebugCase, verbs: list[Any], redactor: Redactor) -> Example | None:
    """Return the example of a debug case; None if it fails, is hidden, sends a file, or is too large."""
    expect = case.expect
    fails = expect is not None and (
        (expect.http is not None and not 200 <= expect.http < 300)
        or expect.status not in (None, "completed")
        or expect.error is not None
    )
    raw = isinstance(case.body, str) and any(name.lower() == "content-type" for name in case.headers or ())
    if case.example is False or fails or raw or case.body_file is not None or case.multipart is not None:
        return None
    verb: Verb = case.verb or ("POST" if (case.has_body or "GET" not in verbs) and "POST" in verbs else "GET")
    shown = Example(
        name=_text(case.name, redactor)[:100],
        verb=verb,
        query=_public(case.query, redactor) if case.query else msgspec.UNSET,
        body=_public(case.body, redactor) if case.has_body else msgspec.UNSET,
        output=_public(expect.output, redactor) if expect and expect.has_output else msgspec.UNSET,
    )
    try:
        return shown if len(msgspec.json.encode(shown)) <= MAX_BYTES else None
    except (TypeError, msgspec.MsgspecError):
        return None


def _public(value: Any, redactor: Redactor) -> Any:
    """Return a value of a debug case without secrets, for an example in the documentation."""
    return _without(redact(value), redactor)


def _without(value: Any, redactor: Redactor) -> Any:
    match value:
        case str():
            return _text(value, redactor)
        case dict():
            if "value" in value and any(is_secret(str(value.get(name, ""))) for name in _NAMES):
                value = {**value, "value": REDACTED}
            return {_text(name, redactor): _without(item, redactor) for name, item in value.items()}
        case list():
            return [_without(item, redactor) for item in value]
        case _:
            return value


def _text(text: str, redactor: Redactor) -> str:
    """Return a text of an example without literal secrets of the API or texts in the form of a credential."""
    return _BEARER.sub(rf"\1 {REDACTED}", redact_credentials(redact_text(redactor.text(text))))


def _literals(value: Any) -> Iterator[str]:
    """Yield the literal secrets in the `auth` of an API document, which examples must not show."""
    match value:
        case LiteralSecret(text=text):
            yield text
        case msgspec.Struct():
            yield from _literals(msgspec.structs.astuple(value))
        case dict():
            yield from _literals(tuple(value.values()))
        case tuple() | list():
            for each in value:
                yield from _literals(each)
        case _:
            pass
