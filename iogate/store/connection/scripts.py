"""Loader of the Lua scripts: one file each, with the fragments that its `-- include:` lines name.

Called by `connection` when it connects. Invariant: a script's text, and so its SHA-1, depends only on the
installed package; every process of one release calls the same scripts.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from iogate.store import keys

_NAME = re.compile(r"\$([a-z_]+)")
_INCLUDE = re.compile(r"^ *-- include: (.+)$", re.MULTILINE)
"""Also within a function: a fragment that is rarely needed then costs nothing until that call."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """Text of a script with its SHA-1."""

    name: str
    text: str
    sha: str


def _literal(match: re.Match[str]) -> str:
    value = keys.LUA[match[1]]
    return f"'{value}'" if isinstance(value, str) else str(value)


def _read(name: str) -> str:
    return files("iogate.store").joinpath("lua", name).read_text(encoding="utf-8")


def _fragments(match: re.Match[str]) -> str:
    return "\n".join(_read(f"include/{fragment}.lua") for fragment in match[1].split())


@cache
def script(name: str) -> Script:
    """Return the script `lua/NAME.lua` with its fragments and the value of every `$name`."""
    whole = _NAME.sub(_literal, _INCLUDE.sub(_fragments, _read(f"{name}.lua")))
    return Script(name=name, text=whole, sha=hashlib.sha1(whole.encode(), usedforsecurity=False).hexdigest())


@cache
def names() -> tuple[str, ...]:
    """Return the names of all scripts, sorted."""
    folder = files("iogate.store").joinpath("lua")
    return tuple(sorted(f.name.removesuffix(".lua") for f in folder.iterdir() if f.name.endswith(".lua")))
