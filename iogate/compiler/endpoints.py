"""Endpoints of calls and their authentication, as tasks of a program have them.

Made by `reader`, read by the checks and the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from iogate.expressions import Template


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a call goes: parts of an address, each a URI template or an expression."""

    parts: tuple[str | Template, ...]
    computed: bool
    """True where data may choose the host."""
    policy: Policy | None = None
    source: str = ""
    """As the author wrote it."""
    foreign: bool = False
    """True where a function that was fetched from one host names another."""


@dataclass(frozen=True, slots=True)
class Policy:
    """An authentication policy: its members are evaluated, or come whole out of a secret."""

    scheme: str
    members: Template | None
    secret: str = ""
    missing: str = ""
    """The name in `use.authentications` that is not there."""
    authority: Endpoint | None = None
    """Who gives the tokens, of OAuth 2.0 and OpenID Connect."""
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    """Its addresses by their purpose: token, revocation, introspection."""
