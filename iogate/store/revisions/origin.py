"""Origin of a revision: author, git commit, message and action.

Given by the commands that publish, stored and signed with the revision, shown by `history` and `show`.
Invariants: the store knows the time of a revision, so an origin has none; a revision of an earlier release
has no origin.
"""

from __future__ import annotations

import hashlib
from typing import Final, Literal

import msgspec

DEFAULT_PROJECT: Final = "default"


class Origin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Metadata of a revision, stored as JSON."""

    project: str = DEFAULT_PROJECT
    author: str = ""
    """`user@host` of the person or pipeline that published it."""
    commit: str = ""
    """Git commit of the project's folder; empty outside a repository."""
    dirty: bool = False
    """Whether the folder had changes that the commit lacks."""
    message: str = ""
    version: str = ""
    """Release of iogate that compiled it."""
    action: Literal["apply", "rollback"] = "apply"
    restores: int | None = None
    """Revision whose content a rollback published again."""
    changes: str = ""
    """One-line summary of the difference from the revision before."""


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """Entry of the history of revisions."""

    number: int
    digest: str
    published_at_ms: int
    origin: Origin | None = None
    """None for a revision of an earlier release, and if the stored origin is not authentic."""
    fault: str | None = None
    """Reason why the stored origin is not authentic."""


class _SealedOrigin(Origin, frozen=True, kw_only=True, omit_defaults=True):
    """Stored form of the origin of a revision whose publish also sealed the live record."""

    sealed: bool = False


_encode = msgspec.json.Encoder(order="deterministic").encode
_decoder = msgspec.json.Decoder(Origin)
_sealed_decoder = msgspec.json.Decoder(_SealedOrigin)


def encode(origin: Origin) -> bytes:
    """Return the stored form of the origin of a new revision, which says that its live record has a seal."""
    return _encode(_SealedOrigin(**msgspec.structs.asdict(origin), sealed=True))


def is_sealed(data: bytes) -> bool:
    """Tell whether the publish of a revision with this stored origin sealed the live record.

    True for data that iogate did not write.
    """
    try:
        return _sealed_decoder.decode(data).sealed
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return True


def decode(data: bytes) -> Origin:
    """Decode the stored origin of a revision.

    Raises msgspec.ValidationError or msgspec.DecodeError for data that iogate did not write.
    """
    return _decoder.decode(data)


def project_of(packed: bytes | None) -> str:
    """Return the project of a verified revision with this stored origin, or without one."""
    return DEFAULT_PROJECT if packed is None else decode(packed).project


def signed_parts(number: bytes, data: bytes, packed: bytes | None) -> tuple[bytes, ...]:
    """Return the parts of a revision, with its origin, that its signature covers.

    With an origin, the digest stands for the JSON, so that a history is verified without reading all of it.
    """
    if packed is None:
        return number, data
    return number, hashlib.sha256(data).hexdigest().encode(), packed
