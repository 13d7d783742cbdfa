"""Roles of operators, and the author of a change.

Used by all that operators can do, by command, over HTTP or in the console. Pure.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal, TypeAlias

Way: TypeAlias = Literal["http", "console", "cli"]
"""Way by which a change came: the HTTP API, the console in a browser, or a command on the store."""


class Role(enum.IntEnum):
    """Role of an operator; each role may do all that the lower ones may."""

    READ = 1
    OPERATE = 2
    ADMIN = 3

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Role:
        """Return the role with this name in the setting. Raises KeyError for another word."""
        return cls[word.upper()]


@dataclass(frozen=True, kw_only=True)
class Operator:
    """An operator of the setting."""

    name: str
    role: Role


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Author of a request by an operator: name, role, way and origin."""

    name: str
    """Name of the operator; for a command, `user@host`."""
    role: Role
    via: Way
    origin: str
    """Address of the client; for a command, `user@host`."""


def command_actor(author: str) -> Actor:
    """Return the actor of a command that works on the store itself, which may do everything."""
    return Actor(name=author, role=Role.ADMIN, via="cli", origin=author)
