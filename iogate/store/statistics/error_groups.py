"""Groups of equal errors of an API: the identity of a group, and its stored description.

Computed by the worker that commits a fault, and by the parent of a worker that died; counted by
`statistics.lua`. Pure. Invariants: errors that differ only in numbers, ids and quoted values are in one
group; a description shows no more than the error of a run shows to operators, and is short.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import msgspec

from iogate.errors import WorkflowError
from iogate.messages import shorten
from iogate.security.redaction_patterns import redact_text

SHOWN: Final = 200
"""Most characters of a member of a description."""
_READ: Final = 2_000
"""Most characters of a message that are compared."""
GAP: Final = "…"
"""Stands for a value that differs between the errors of a group."""

_TASKS: Final = re.compile(r'(?:(?:task|function) "[^"]*"(?: \(iteration \d+\))?: )+')
"""Beginning of the engine's messages. The group has the task by its reference."""
_VALUES: Final = re.compile(
    r"""(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?P<user>[^\s/?\#@"']*@)?(?P<host>[^\s/?\#"']*)"""
    r"""(?P<path>[^\s?\#"',;)]*)(?P<query>[?\#][^\s"',;)]*)?"""
    r"""|"(?:[^"\\]|\\.)*"|(?<!\w)'[^']*'(?!\w)|`[^`]*`"""
    r"""|[^\s"'@]+@[^\s"'@]+"""
    r"""|[\w.:+/\#%-]*\d[\w.:+/\#%-]*(?<![.:])""",
    re.IGNORECASE | re.VERBOSE,
)
_NUMBERED: Final = re.compile(r"[^/]*\d[^/]*")


class ErrorAbout(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the errors of a group have in common."""

    type: str = ""
    status: int = 500
    task: str = ""
    """Pointer of the task, without iterations."""
    message: str = ""
    """Message with GAP in place of the values that differ."""


_encoder = msgspec.json.Encoder()
about_decoder = msgspec.json.Decoder(ErrorAbout)


def group_of(error: bytes) -> tuple[str, str]:
    """Return id and stored description of the group of a run's error, which is redacted JSON."""
    try:
        found = msgspec.json.decode(error)
    except msgspec.DecodeError:
        found = None
    about = _describe(found if isinstance(found, dict) else {})
    stored = _encoder.encode(about)
    return hashlib.sha256(stored).hexdigest()[:16], stored.decode()


def _describe(error: dict[str, Any]) -> ErrorAbout:
    status = error.get("status")
    message = error.get("message") or error.get("detail") or error.get("title") or ""
    return ErrorAbout(
        type=shorten(str(error.get("type") or WorkflowError("runtime").type), SHOWN),
        status=status if isinstance(status, int) and not isinstance(status, bool) else 500,
        task=shorten(str(error.get("instance") or ""), SHOWN),
        message=generalize(str(message)),
    )


def generalize(message: str) -> str:
    """Return a message on one line with GAP in place of quoted values, numbers, ids and e-mail addresses."""
    text = " ".join(redact_text(message[:_READ]).split())
    text = text[match.end() :] if (match := _TASKS.match(text)) else text
    return shorten(_VALUES.sub(_gap, text), SHOWN)


def _gap(found: re.Match[str]) -> str:
    if found["scheme"] is None:
        return GAP
    path = _NUMBERED.sub(GAP, found["path"])
    return f"{found['scheme']}{found['host']}{path}"
