"""Loader of the Lua scripts: one file each, with the fragments that its `-- include:` lines name.

The line `-- needs:` of a fragment names those that it uses; they come before it, each once. Called by
`connection` when it connects. Invariant: a script's text, and so its SHA-1, depends only on the installed
package; every process of one release calls the same scripts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from iogate.store import keys

_NAME = re.compile(r"\$([a-z_]+)")
_INCLUDE = re.compile(r"^( *)-- include: (.+)$", re.MULTILINE)
"""Also within a function: a fragment that is rarely needed then costs nothing until that call."""
_NEEDS = re.compile(r"^-- needs: (.+)$", re.MULTILINE)


class InvalidScript(Exception):
    """A script whose fragments are missing or need each other."""


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


def expand(text: str, read: Callable[[str], str]) -> str:
    """Return a script with its fragments, which `read` returns the texts of.

    Raises InvalidScript for a fragment that does not exist, and for fragments that need each other.
    """
    included: set[str] = set()

    def fragments(match: re.Match[str]) -> str:
        # Within a block, the names of a fragment end with the block, so that a later block includes it again.
        known = set(included) if match[1] else included
        return "\n".join(each for name in match[2].split() for each in _ordered(name, known, (), read))

    return _INCLUDE.sub(fragments, text)


def _ordered(name: str, known: set[str], path: tuple[str, ...], read: Callable[[str], str]) -> Iterator[str]:
    """Yield the texts of a script's fragment and of those that it needs, these first; skip `known` ones."""
    if name in path:
        raise InvalidScript(f"script fragments need each other: {' -> '.join((*path, name))}")
    if name in known:
        return
    try:
        text = read(name)
    except FileNotFoundError:
        by = f", which {path[-1]} needs" if path else ""
        raise InvalidScript(f"no script fragment {name}{by}") from None
    for line in _NEEDS.findall(text):
        for needed in line.split():
            yield from _ordered(needed, known, (*path, name), read)
    known.add(name)
    yield text


@cache
def script(name: str) -> Script:
    """Return the script `lua/NAME.lua` with its fragments and the value of every `$name`."""
    text = expand(_read(f"{name}.lua"), lambda fragment: _read(f"include/{fragment}.lua"))
    whole = _NAME.sub(_literal, text)
    return Script(name=name, text=whole, sha=hashlib.sha1(whole.encode(), usedforsecurity=False).hexdigest())


@cache
def names() -> tuple[str, ...]:
    """Return the names of all Lua scripts, sorted."""
    folder = files("iogate.store").joinpath("lua")
    return tuple(sorted(f.name.removesuffix(".lua") for f in folder.iterdir() if f.name.endswith(".lua")))
