"""Rules for the traffic of an API as the accept script applies them to one call, and other rare parts of one.

Made by the gateway for each call of an API that has such rules, or that came with files; packed by `intake`.
Invariant: other calls carry none, so that they cost nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec


class Traffic(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rules for one call, with the keys of the call; keys are hashes of limited length."""

    per: str = ""
    """Caller or address by which `limits.rate` counts; empty: the API."""
    key: str = ""
    """Concurrency key; empty: none."""
    replace: bool = False
    """Whether a full queue cancels its oldest run instead of refusing the call."""
    merge: str = ""
    """Key of the calls that become one run; empty: each is a run of its own."""
    window: int = 0
    """Time without a call after which that run starts, in milliseconds."""
    most: int = 0
    """Time after the first call at which it starts at the latest."""
    files: str = ""
    """Id of the files of the call, which are stored; empty without any."""
    chunks: int = 0
    """Number of their chunks."""


class Repeatable(msgspec.Struct, frozen=True, kw_only=True):
    """Idempotency key of a call."""

    key: str
    """Key of the store for it."""
    ttl: int
    """How long it is kept, in milliseconds."""
    print: str
    """Fingerprint of the call: the same key with another one is refused."""


class Extras(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rare parts of a call, as one argument of the accept script: a new feature adds a field here."""

    traffic: Traffic | None = None
    repeatable: Repeatable | None = None
    ends: str | None = None
    """What follows the end of the run, as `run_ends` packs it."""
    attributes: str | None = None
    """Attributes of the run, as `packed_attributes` returns them."""


_encode = msgspec.msgpack.Encoder().encode


def packed(extras: Extras) -> bytes:
    """Return the extras of a call, such as its rules for traffic, as an argument of the accept script."""
    return _encode(extras)


def packed_attributes(attributes: Mapping[str, str]) -> str:
    """Return the attributes of a call for the accept script: their hashes, for the index, and their JSON."""
    hashes = "".join(attribute_hash(name, value) for name, value in attributes.items())
    return hashes + msgspec.json.encode(attributes).decode()


def attribute_hash(name: str, value: str) -> str:
    """Return the hash of an attribute of a run, by which it is indexed; its length is always the same."""
    text = f"{name}\0{value}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:20]


def key_hash(key: str) -> str:
    """Return the hash of a concurrency or coalescing key, by which the store limits traffic."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:24]
